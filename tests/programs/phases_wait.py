# Loads for a while, then computes in one thread: two phases, idle and single-thread-python.
import sys
import time

SECONDS = float(sys.argv[1])


def load():
    time.sleep(SECONDS)


def compute(until):
    total = 0
    while time.monotonic() < until:
        for i in range(2000):
            total += i * i % 7
    return total


load()
compute(time.monotonic() + SECONDS)
