# Reads at random places of a file, past the page cache: disk-bound by `load`.
import mmap
import os
import random
import sys
import time

NAME = __file__ + ".out"
PAGES = 1 << 14
# Long enough that the wait is more than the call; O_DIRECT wants memory that begins at a page.
block = mmap.mmap(-1, 1 << 20)


def load(descriptor):
    return os.preadv(descriptor, [block], random.randrange(PAGES - 256) * 4096)


with open(NAME, "wb") as out:
    out.write(os.urandom(4096) * PAGES)
    os.fsync(out.fileno())
descriptor = os.open(NAME, os.O_RDONLY | os.O_DIRECT)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    load(descriptor)
os.unlink(NAME)
