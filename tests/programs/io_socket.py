# A client of a database-like protocol on a bare socket, query after query: io-sequential by `query`.
import socket
import sys
import time

from slow_server import start


def query(connection):
    connection.sendall(b"\n")
    return connection.recv(4096)


port = start(float((sys.argv + ["0.03"])[2]))
connection = socket.create_connection(("127.0.0.1", port))
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    query(connection)
