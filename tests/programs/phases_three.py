# A benchmark of itself: a loop, then threads, then processes. Three phases: single-thread-python,
# gil-bound-threads, all-cores-busy.
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor


def work(until):
    total = 0
    while time.monotonic() < until:
        for i in range(2000):
            total += i * i % 7
    return total


if __name__ == "__main__":
    seconds = float(sys.argv[1])
    work(time.monotonic() + seconds)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, [time.monotonic() + seconds] * 4))
    cpus = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cpus) as processes:
        list(processes.map(work, [time.monotonic() + seconds] * cpus))
