# submit() and result() in one line of a loop: serial-pool-use.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def work(number):
    total = 0
    for i in range(200_000):
        total += i * number % 7
    return total


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    total = 0
    with ProcessPoolExecutor(2) as executor:
        while time.monotonic() < until:
            total += executor.submit(work, 3).result()
