# Page after page, and each says where the next one is: looks like serial-awaits, which must not be sure of it.
import asyncio
import sys
import time

from slow_server import start


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


port = start(float((sys.argv + ["0.03"])[2]))
asyncio.run(main(port, time.monotonic() + float(sys.argv[1])))
