# Seven short tasks and a long one that starts last: uneven-tasks.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def work(seconds):
    until = time.monotonic() + seconds
    total = 0
    while time.monotonic() < until:
        for i in range(500):
            total += i * i % 7
    return total


if __name__ == "__main__":
    seconds = float(sys.argv[1])
    with ProcessPoolExecutor(2) as executor:
        list(executor.map(work, [seconds / 20] * 7 + [seconds]))
