"""A local HTTP server that takes 30 ms for each answer, for as long as the program runs that imports this."""

from __future__ import annotations

import atexit
import subprocess
import sys

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

HOST = "127.0.0.1"
server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
atexit.register(server.kill)
assert server.stdout
PORT = int(server.stdout.readline())
URL = f"http://{HOST}:{PORT}"
