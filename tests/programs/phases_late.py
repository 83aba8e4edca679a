# Waits a fifth of its time, then as many processes as CPUs compute: two phases, idle and all-cores-busy.
import multiprocessing
import os
import sys
import time

SECONDS = float(sys.argv[1])


def burn(until):
    total = 0
    while time.monotonic() < until:
        for i in range(2000):
            total += i * i % 7


if __name__ == "__main__":
    time.sleep(0.6 * SECONDS)
    until = time.monotonic() + 2.4 * SECONDS
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=burn, args=(until,)) for _ in os.sched_getaffinity(0)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
