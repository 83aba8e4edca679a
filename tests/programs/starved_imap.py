# A generator that parses feeds Pool.imap, and is the slow part: starved-pool by `records`.
import multiprocessing
import sys
import time


def records(until):
    while time.monotonic() < until:
        yield sum(int(part) for part in ",".join(map(str, range(60_000))).split(","))


def work(record):
    return sum(record % (i + 1) for i in range(20_000))


if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool:
        total = sum(pool.imap(work, records(time.monotonic() + float(sys.argv[1]))))
