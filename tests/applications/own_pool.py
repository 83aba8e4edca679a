"""Our own pool, one task at a time, each of which waits for something outside: own_pool.py SECONDS"""

import sys
import time

from allcores import ProcessPoolExecutor


def work(number):
    time.sleep(0.03)
    return number


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with ProcessPoolExecutor(2) as pool:
        while time.monotonic() < until:
            pool.submit(work, 1).result()
