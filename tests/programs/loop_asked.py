# An asyncio server that is asked every 0.6 s, over a new connection each time: idle, no serial-awaits.
import asyncio
import subprocess
import sys

CLIENT = """
import socket, sys, time
for _ in range(int(float(sys.argv[2]) / 0.6)):
    time.sleep(0.6)
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        connection.sendall(b"x")
        connection.recv(1)
"""


async def serve(reader, writer):
    writer.write(await reader.read(1))
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1])
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, port, sys.argv[1])
    await client.wait()
    server.close()


asyncio.run(main())
