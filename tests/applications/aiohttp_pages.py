# An aiohttp client that awaits page after page in a for loop: serial-awaits.
import asyncio
import sys
import time

import aiohttp
from slow_server import URL


async def main():
    until = time.monotonic() + float(sys.argv[1])
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < until:
            async with session.get(URL) as answer:
                await answer.text()


asyncio.run(main())
