# acquire() and release() around a compression: lock-contention by `store`.
import os
import sys
import threading
import time
import zlib

guard = threading.Lock()
DATA = os.urandom(1 << 19)


def store(out):
    guard.acquire()
    try:
        out.append(len(zlib.compress(DATA)))
    finally:
        guard.release()


def run(until):
    out = []
    while time.monotonic() < until:
        store(out)


until = time.monotonic() + float(sys.argv[1])
threads = [threading.Thread(target=run, args=(until,)) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
