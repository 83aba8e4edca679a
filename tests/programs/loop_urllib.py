# A blocking HTTP client in coroutines: blocked-event-loop by `fetch`.
import asyncio
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
                time.sleep(0.03)
                self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        return answer.read()


async def ask(port):
    await asyncio.sleep(0)
    return len(fetch(port))


async def main(port, until):
    while time.monotonic() < until:
        await asyncio.gather(*(ask(port) for _ in range(8)))


server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
asyncio.run(main(port, time.monotonic() + float(sys.argv[1])))
server.kill()
