# Pool.apply waits for each call: serial-pool-use.
import multiprocessing
import sys
import time


def work(number):
    text = ""
    for i in range(50_000):
        text = str(i + number) + text[:20]
    return text


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with multiprocessing.Pool(3) as pool:
        while time.monotonic() < until:
            pool.apply(work, (5,))
