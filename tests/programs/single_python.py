# One thread, bytecode: `score` called from a loop in `main`; single-thread-python.
import sys
import time

SECONDS = float(sys.argv[1])


def score(item):
    total = 0
    for i in range(3000):
        total += (item + i) % 11
    return total


def main():
    until = time.monotonic() + SECONDS
    results = []
    item = 0
    while time.monotonic() < until:
        results.append(score(item))
        item += 1


main()
