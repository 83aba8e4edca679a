# Processes that each hash in as many threads as there are CPUs, and twice more: oversubscribed.
import hashlib
import multiprocessing
import os
import sys
import threading
import time

DATA = b"x" * (1 << 20)


def hash_on(until):
    while time.monotonic() < until:
        hashlib.sha256(DATA).digest()


def burn(until, count):
    threads = [threading.Thread(target=hash_on, args=(until,)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    cpus = len(os.sched_getaffinity(0))
    until = time.monotonic() + float(sys.argv[1])
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=burn, args=(until, 2 * cpus)) for _ in range(cpus)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
