# The parent merges each result before it submits the next two tasks: starved-pool by `merge`.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def work(number):
    return [number * i % 7 for i in range(5_000)]


def merge(counts, numbers):
    for _ in range(12):
        for number in numbers:
            counts[number] = counts.get(number, 0) + 1


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    counts = {}
    with ProcessPoolExecutor(2) as executor:
        while time.monotonic() < until:
            for job in [executor.submit(work, 1), executor.submit(work, 2)]:
                merge(counts, job.result())
