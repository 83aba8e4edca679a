# executor.map over many small items with the chunksize that it has by itself, 1: tiny-tasks.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def weigh(word):
    return sum(map(ord, word))


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    words = [f"word {n}" for n in range(1000)]
    with ProcessPoolExecutor(2) as executor:
        while time.monotonic() < until:
            total = sum(executor.map(weigh, words))
