# Threads that take work from a queue and ask on bare sockets: io-threads-ok.
import queue
import socket
import subprocess
import sys
import threading
import time

SERVER = """
import socketserver, sys, time
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            if not line.strip():
                time.sleep(0.03)
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def serve(port, jobs):
    connection = socket.create_connection(("127.0.0.1", port))
    while jobs.get() is not None:
        connection.sendall(b"\n")
        connection.recv(4096)


server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
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
server.kill()
