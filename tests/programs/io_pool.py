# Requests from a ThreadPoolExecutor, eight at a time: io-threads-ok.
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

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


def fetch(port, until):
    while time.monotonic() < until:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            answer.read()


server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
until = time.monotonic() + float(sys.argv[1])
with ThreadPoolExecutor(8) as executor:
    list(executor.map(fetch, [port] * 8, [until] * 8))
server.kill()
