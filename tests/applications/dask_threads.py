"""Python code in Dask's default scheduler for delayed calls, which is threads: dask_threads.py SECONDS"""

import sys
import time

import dask


@dask.delayed
def words(number):
    return sum(len(str(i).split("7")) for i in range(number, number + 20_000))


until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    total = sum(dask.compute(*[words(i) for i in range(20)], num_workers=4))
print(total)
