# Small reads at random places of a file that is not in the page cache: disk-bound by `load`.
import os
import random
import sys
import time

NAME = __file__ + ".out"
PAGES = 1 << 13


def load(descriptor):
    return os.pread(descriptor, 4096, random.randrange(PAGES) * 4096)


with open(NAME, "wb") as out:
    out.write(os.urandom(PAGES * 4096))
    os.fsync(out.fileno())
descriptor = os.open(NAME, os.O_RDONLY)
os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    for _ in range(500):
        load(descriptor)
os.unlink(NAME)
