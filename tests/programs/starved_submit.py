# The parent computes what each task is given, and takes longer than the tasks: starved-pool by `prepare`.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def prepare(number):
    text = ""
    for i in range(40_000):
        text = str(i + number) + text[:20]
    return text


def work(text):
    return sum(len(text) * i % 7 for i in range(20_000))


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    number = 0
    with ProcessPoolExecutor(2) as executor:
        while time.monotonic() < until:
            executor.submit(work, prepare(number))
            number += 1
