# A service whose requests compute for tenths of a second in the loop: blocked-event-loop by `render`.
import asyncio
import sys
import time


def render(rows):
    text = ""
    for i in range(rows):
        text = str(i) + text[:40]
    return text


async def request(number):
    await asyncio.sleep(0.005)
    return render(800_000)


async def heartbeat(until):
    while time.monotonic() < until:
        await asyncio.sleep(0.01)


async def main(until):
    beat = asyncio.ensure_future(heartbeat(until))
    while time.monotonic() < until:
        await asyncio.gather(request(1), request(2))
    await beat


asyncio.run(main(time.monotonic() + float(sys.argv[1])))
