"""counter.py WORKERS SECONDS: processes that count units of work; SIGUSR1 prints "units monotonic"."""

import mmap
import os
import signal
import struct
import sys
import time

WORKERS, SECONDS = int(sys.argv[1]), float(sys.argv[2])
shared = mmap.mmap(-1, 4096)
until = time.monotonic() + SECONDS
children = []
for worker in range(WORKERS):
    pid = os.fork()
    if pid == 0:
        units = 0
        while time.monotonic() < until and os.getppid() != 1:
            for i in range(2000):
                i * i % 7
            units += 1
            struct.pack_into("q", shared, 8 * worker, units)
        os._exit(0)
    children.append(pid)


def report(signum, frame):
    print(sum(struct.unpack_from(f"{WORKERS}q", shared)), time.monotonic(), flush=True)


signal.signal(signal.SIGUSR1, report)
while time.monotonic() < until:
    time.sleep(0.05)
