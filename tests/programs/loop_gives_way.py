# A coroutine that computes for half a millisecond at a time and lets the others run: no blocked loop, one busy thread.
import asyncio
import sys
import time


def step(rows):
    text = ""
    for i in range(rows):
        text = str(i) + text[:40]
    return text


async def job(until):
    while time.monotonic() < until:
        step(1500)
        await asyncio.sleep(0)


asyncio.run(job(time.monotonic() + float(sys.argv[1])))
