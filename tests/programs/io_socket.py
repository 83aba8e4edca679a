# A client of a database-like protocol on a bare socket, query after query: io-sequential by `query`.
import socket
import subprocess
import sys
import time

SERVER = """
import socketserver, sys, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if not line.strip():
                time.sleep(float(sys.argv[1]))
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def query(connection):
    connection.sendall(b"\n")
    return connection.recv(4096)


server = subprocess.Popen([sys.executable, "-c", SERVER, (sys.argv + ["0.03"])[2]], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
connection = socket.create_connection(("127.0.0.1", port))
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    query(connection)
server.kill()
