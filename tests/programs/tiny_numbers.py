# Pool.imap over numbers, whose way there and back costs more than what is done with them: tiny-tasks.
import multiprocessing
import sys
import time


def square(number):
    return number * number


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with multiprocessing.Pool(2) as pool:
        while time.monotonic() < until:
            total = sum(pool.imap(square, range(20_000)))
