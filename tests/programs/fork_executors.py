# Threads of a ThreadPoolExecutor that each start a process by fork: fork-hazard besides its verdict.
import multiprocessing
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def work(until):
    while time.monotonic() < until:
        time.sleep(0.01)


def start(until):
    process = multiprocessing.get_context("fork").Process(target=work, args=(until,))
    time.sleep(0.2)
    process.start()
    process.join()


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with ThreadPoolExecutor(3) as executor:
        list(executor.map(start, [until] * 3))
