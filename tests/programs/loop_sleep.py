# time.sleep in one of many coroutines: blocked-event-loop by `handle`.
import asyncio
import sys
import time


async def handle(number):
    await asyncio.sleep(0.001)
    time.sleep(0.02)
    return number


async def main(until):
    while time.monotonic() < until:
        await asyncio.gather(*(handle(number) for number in range(10)))


asyncio.run(main(time.monotonic() + float(sys.argv[1])))
