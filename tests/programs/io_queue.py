# Threads that take work from a queue and ask on bare sockets: io-threads-ok.
import queue
import socket
import sys
import threading
import time

from slow_server import start


def serve(port, jobs):
    connection = socket.create_connection(("127.0.0.1", port))
    while jobs.get() is not None:
        connection.sendall(b"\n")
        connection.recv(4096)


port = start()
jobs = queue.Queue(16)
threads = [threading.Thread(target=serve, args=(port, jobs)) for _ in range(6)]
for thread in threads:
    thread.start()
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    jobs.put(1)
for thread in threads:
    jobs.put(None)
for thread in threads:
    thread.join()
