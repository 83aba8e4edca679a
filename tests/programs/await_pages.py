# Page after page over one connection that is kept, in an async generator: serial-awaits.
import asyncio
import sys
import time

from slow_server import start


async def pages(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(b"\n")
        for _ in range(3):
            await reader.readline()
        yield await reader.read(2)


async def main(port, until):
    async for _ in pages(port):
        if time.monotonic() > until:
            return


port = start(float((sys.argv + ["0.03"])[2]))
asyncio.run(main(port, time.monotonic() + float(sys.argv[1])))
