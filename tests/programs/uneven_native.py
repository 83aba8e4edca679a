# Files of very different size, compressed in processes: uneven-tasks.
import os
import sys
import time
import zlib
from concurrent.futures import ProcessPoolExecutor


def compress(block, until):
    size = 0
    while time.monotonic() < until:
        size += len(zlib.compress(block))
    return size


if __name__ == "__main__":
    seconds = float(sys.argv[1])
    block = os.urandom(200_000)
    now = time.monotonic()
    with ProcessPoolExecutor(2) as executor:
        jobs = [executor.submit(compress, block, now + part * seconds) for part in (1, 0.2)]
        total = sum(job.result() for job in jobs)
