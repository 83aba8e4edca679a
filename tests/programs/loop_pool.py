# An event loop that forks a pool and ends while that waits: idle. The workers' stacks begin in the callback that forked
# them, but they keep no loop from its tasks.
import asyncio
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def work(number):
    return sum(i * number % 7 for i in range(20_000))


async def main(executor):
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(executor, work, number) for number in range(2)))


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as executor:
        asyncio.run(main(executor))
        time.sleep(until - time.monotonic())
