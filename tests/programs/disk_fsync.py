# Every record is forced to the disk before the next: disk-bound by `append`.
import os
import sys
import time


def append(file):
    file.write(b"x" * 4096)
    file.flush()
    os.fsync(file.fileno())


until = time.monotonic() + float(sys.argv[1])
with open(__file__ + ".out", "wb") as out:
    while time.monotonic() < until:
        append(out)
os.unlink(__file__ + ".out")
