# The blocking call runs in a thread and the loop only waits: idle, no blocked-event-loop.
import asyncio
import sys
import time


async def main(until):
    loop = asyncio.get_running_loop()
    while time.monotonic() < until:
        await asyncio.gather(*(loop.run_in_executor(None, time.sleep, 0.05) for _ in range(3)))


asyncio.run(main(time.monotonic() + float(sys.argv[1])))
