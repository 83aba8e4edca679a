# Pool.imap_unordered, one small item at a time: tiny-tasks.
import multiprocessing
import sys
import time


def parse(line):
    return line.split(",")


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    lines = ["1,2,3,4"] * 1000
    with multiprocessing.Pool(2) as pool:
        while time.monotonic() < until:
            for fields in pool.imap_unordered(parse, lines):
                assert len(fields) == 4
