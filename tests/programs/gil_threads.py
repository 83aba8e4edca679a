# N threads of pure bytecode: python 1.0, gil_wait N - 1; gil-bound-threads by `crunch`.
import sys
import threading
import time

SECONDS = float(sys.argv[1])
THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 4


def crunch(until):
    total = 0
    while time.monotonic() < until:
        for i in range(2000):
            total += i * i % 7
    return total


until = time.monotonic() + SECONDS
threads = [threading.Thread(target=crunch, args=(until,)) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
