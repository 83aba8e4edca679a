# Threads that hash big buffers, the GIL released: native on as many CPUs as threads; native-parallel.
import hashlib
import sys
import threading
import time

SECONDS = float(sys.argv[1])
THREADS = int(sys.argv[2]) if len(sys.argv) > 2 else 2
DATA = bytes(8 << 20)


def digest(until):
    while time.monotonic() < until:
        hashlib.sha256(DATA).digest()


until = time.monotonic() + SECONDS
threads = [threading.Thread(target=digest, args=(until,)) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
