# Every task is given a table of a few megabytes and looks at a bit of it: pickling.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def pick(table, at):
    return table[at]


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    table = [float(n) for n in range(300_000)]
    with ProcessPoolExecutor(2) as executor:
        while time.monotonic() < until:
            jobs = [executor.submit(pick, table, at) for at in range(4)]
            total = sum(job.result() for job in jobs)
