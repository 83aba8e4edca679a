# As many processes as CPUs, all in bytecode: all-cores-busy. Arguments: seconds [processes [seconds to sleep before]].
import multiprocessing
import os
import sys
import time


def burn(until):
    total = 0
    while time.monotonic() < until:
        for i in range(2000):
            total += i * i % 7


if __name__ == "__main__":
    time.sleep(float(sys.argv[3]) if len(sys.argv) > 3 else 0)
    until = time.monotonic() + float(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=burn, args=(until,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
