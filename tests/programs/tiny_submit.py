# One future an item, each a microsecond of work: tiny-tasks.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def square(number):
    return number * number


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with ProcessPoolExecutor(2) as executor:
        while time.monotonic() < until:
            jobs = [executor.submit(square, number) for number in range(500)]
            total = sum(job.result() for job in jobs)
