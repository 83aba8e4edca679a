# A pool of processes, each of whose tasks compresses in a pool of threads: oversubscribed.
import multiprocessing
import os
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

BLOCK = bytes(i * i % 251 for i in range(200000))


def compress(until):
    while time.monotonic() < until:
        zlib.compress(BLOCK)


def task(until):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(compress, [until] * 4))


if __name__ == "__main__":
    cpus = len(os.sched_getaffinity(0))
    until = time.monotonic() + float(sys.argv[1])
    with ProcessPoolExecutor(2 * cpus, mp_context=multiprocessing.get_context("fork")) as executor:
        list(executor.map(task, [until] * (2 * cpus)))
