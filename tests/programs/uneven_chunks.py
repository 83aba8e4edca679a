# Pool.map cuts its list in chunks, and all the work is at the list's end: uneven-tasks.
import multiprocessing
import sys
import time


def work(seconds):
    until = time.monotonic() + seconds
    total = 0
    while time.monotonic() < until:
        for i in range(500):
            total += i * i % 7
    return total


if __name__ == "__main__":
    seconds = float(sys.argv[1])
    with multiprocessing.Pool(2) as pool:
        pool.map(work, [seconds / 80] * 10 + [seconds / 10] * 10, chunksize=10)
