"""Dask's bag, which makes a pool of processes anew for each compute(): dask_bag.py SECONDS"""

import sys
import time

import dask.bag


def words(number):
    return sum(len(str(i).split("7")) for i in range(number, number + 20_000))


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < until:
        total = dask.bag.from_sequence(range(60), npartitions=12).map(words).sum().compute(num_workers=2)
    print(total)
