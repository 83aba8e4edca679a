"""Local HTTP servers that take a while for each answer, for as long as the program runs that imports this.

PORT and URL are those of one that takes 30 ms, started when first asked for."""

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
                time.sleep(float(sys.argv[1]))
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""

HOST = "127.0.0.1"


def start(seconds: float = 0.03) -> int:
    """One that takes so long for an answer; its port."""
    command = [sys.executable, "-c", SERVER, str(seconds)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    atexit.register(server.kill)
    assert server.stdout
    return int(server.stdout.readline())


def __getattr__(name: str) -> object:
    if name not in ("PORT", "URL"):
        raise AttributeError(name)
    port = start()
    globals().update(PORT=port, URL=f"http://{HOST}:{port}")
    return globals()[name]
