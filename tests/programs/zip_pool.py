# A thread pool that compresses, the GIL released: native-parallel.
import os
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

SECONDS = float(sys.argv[1])
DATA = os.urandom(1 << 20) * 2


def squeeze(until):
    while time.monotonic() < until:
        zlib.compress(DATA, 6)


until = time.monotonic() + SECONDS
with ThreadPoolExecutor(4) as executor:
    list(executor.map(squeeze, [until] * 4))
