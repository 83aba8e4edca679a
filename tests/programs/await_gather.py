# Ten requests at a time: idle, no serial-awaits.
import asyncio
import sys
import time

from slow_server import start


async def get(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\n")
    line = await reader.readline()
    writer.close()
    return line


async def main(port, until):
    while time.monotonic() < until:
        await asyncio.gather(*(get(port) for _ in range(10)))


port = start(float((sys.argv + ["0.03"])[2]))
asyncio.run(main(port, time.monotonic() + float(sys.argv[1])))
