# A pool as it should be, tasks of a few milliseconds in chunks, so many that their end does not matter: all-cores-busy.
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def work(number):
    total = 0
    for i in range(60_000):
        total += i * number % 7
    return total


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as executor:
        while time.monotonic() < until:
            total = sum(executor.map(work, range(400), chunksize=4))
