# Page after page, and each says where the next one is: looks like serial-awaits, which must not be sure of it.
import asyncio
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


async def get(port, page):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(page.strip() + b"\n\n")
    line = await reader.readline()
    writer.close()
    return line


async def main(port, until):
    page = b"first"
    while time.monotonic() < until and page:
        page = await get(port, page)


server = subprocess.Popen([sys.executable, "-c", SERVER, (sys.argv + ["0.03"])[2]], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
asyncio.run(main(port, time.monotonic() + float(sys.argv[1])))
server.kill()
