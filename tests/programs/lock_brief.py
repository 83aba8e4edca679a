# Threads hash side by side and count under a lock that is held for moments: native-parallel, no lock-contention.
import hashlib
import sys
import threading
import time

lock = threading.Lock()
count = 0
DATA = b"x" * (1 << 20)


def work(until):
    global count
    while time.monotonic() < until:
        hashlib.sha256(DATA).digest()
        with lock:
            count += 1


until = time.monotonic() + float(sys.argv[1])
threads = [threading.Thread(target=work, args=(until,)) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
