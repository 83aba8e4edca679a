# A blocking HTTP client in coroutines: blocked-event-loop by `fetch`.
import asyncio
import sys
import time
import urllib.request

from slow_server import start


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        return answer.read()


async def ask(port):
    await asyncio.sleep(0)
    return len(fetch(port))


async def main(port, until):
    while time.monotonic() < until:
        await asyncio.gather(*(ask(port) for _ in range(8)))


port = start()
asyncio.run(main(port, time.monotonic() + float(sys.argv[1])))
