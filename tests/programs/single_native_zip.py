# One thread that compresses: single-thread-native.
import os
import sys
import time
import zlib

SECONDS = float(sys.argv[1])
BLOCK = os.urandom(1 << 19) * 4


def pack(block):
    return len(zlib.compress(block, 9))


def main(until):
    sizes = []
    while time.monotonic() < until:
        sizes.append(pack(BLOCK))
    return sizes


main(time.monotonic() + SECONDS)
