# A multiprocessing.Pool that forks while a thread beats: fork-hazard besides its verdict.
import multiprocessing
import sys
import threading
import time

stop = threading.Event()


def work(until):
    total = 0
    while time.monotonic() < until:
        total += 1
    return total


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    threading.Thread(target=stop.wait).start()
    time.sleep(0.1)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        pool.map(work, [until] * 2)
    stop.set()
