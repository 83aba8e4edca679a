# One request after another with urllib, as a script does: io-sequential by `fetch`.
import subprocess
import sys
import time
import urllib.request

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


def fetch(port, number):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}") as answer:
        return answer.read()


def main(port, until):
    number = 0
    while time.monotonic() < until:
        fetch(port, number)
        number += 1


server = subprocess.Popen([sys.executable, "-c", SERVER, (sys.argv + ["0.03"])[2]], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
main(port, time.monotonic() + float(sys.argv[1]))
server.kill()
