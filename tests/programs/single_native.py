# One thread in native code that releases the GIL: single-thread-native by `checksum`.
import hashlib
import sys
import time

SECONDS = float(sys.argv[1])
DATA = bytes(4 << 20)


def checksum():
    return hashlib.sha256(DATA).hexdigest()


until = time.monotonic() + SECONDS
while time.monotonic() < until:
    checksum()
