# A server that answers whoever connects, on a bare socket, and is asked every 0.6 s: idle, no io-sequential.
import socket
import subprocess
import sys
import threading

CLIENT = """
import socket, sys, time
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for _ in range(int(float(sys.argv[2]) / 0.6)):
    time.sleep(0.6)
    connection.sendall(b"x")
    connection.recv(1)
"""


def answer(connection):
    while connection.recv(1):
        connection.sendall(b"y")


server = socket.create_server(("127.0.0.1", 0))
client = subprocess.Popen([sys.executable, "-c", CLIENT, str(server.getsockname()[1]), sys.argv[1]])
server.settimeout(2 + float(sys.argv[1]))
threading.Thread(target=answer, args=server.accept()[:1]).start()
try:
    server.accept()  # nobody else comes
except socket.timeout:
    pass
