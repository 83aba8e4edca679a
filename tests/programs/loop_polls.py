# An asyncio client that asks a quick server over one connection, and sleeps between: idle, no serial-awaits.
import asyncio
import subprocess
import sys
import time

SERVER = """
import socketserver
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


async def main(port, until):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.monotonic() < until:
        writer.write(b"news?\n")
        await reader.readline()
        await asyncio.sleep(0.5)


server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
port = int(server.stdout.readline())
asyncio.run(main(port, time.monotonic() + float(sys.argv[1])))
server.kill()
