# A pool made anew in every turn of a loop, of spawned processes: start-up.
import multiprocessing
import sys
import time


def work(number):
    return sum(range(number))


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    context = multiprocessing.get_context("spawn")
    while time.monotonic() < until:
        with context.Pool(2) as pool:
            pool.map(work, range(100))
