# Pool.map whose tasks return large dicts that cost little to make: pickling.
import multiprocessing
import sys
import time

ROW = {f"key {n}": (n, str(n)) for n in range(30_000)}


def fetch(number):
    return ROW if number else None


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with multiprocessing.Pool(2) as pool:
        while time.monotonic() < until:
            rows = pool.map(fetch, range(1, 9))
