# requests in coroutines: blocked-event-loop by `fetch`.
import asyncio
import sys
import time

import requests
from slow_server import URL


async def fetch(until):
    while time.monotonic() < until:
        requests.get(URL)
        await asyncio.sleep(0)


async def main():
    until = time.monotonic() + float(sys.argv[1])
    await asyncio.gather(*(fetch(until) for _ in range(4)))


asyncio.run(main())
