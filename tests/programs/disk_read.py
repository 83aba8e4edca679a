# Small reads at random places of a file, past the page cache: disk-bound by `load`.
import mmap
import os
import random
import sys
import time

NAME = __file__ + ".out"
PAGES = 1 << 13
page = mmap.mmap(-1, 4096)  # O_DIRECT wants memory that begins at a page


def load(descriptor):
    return os.preadv(descriptor, [page], random.randrange(PAGES) * 4096)


with open(NAME, "wb") as out:
    out.write(os.urandom(PAGES * 4096))
    os.fsync(out.fileno())
descriptor = os.open(NAME, os.O_RDONLY | os.O_DIRECT)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    load(descriptor)
os.unlink(NAME)
