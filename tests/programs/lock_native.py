# Threads that hash one after another under one Lock: lock-contention by `work`.
import hashlib
import sys
import threading
import time

lock = threading.Lock()
DATA = b"x" * (1 << 20)


def work(until):
    while time.monotonic() < until:
        with lock:
            hashlib.sha256(DATA).digest()


until = time.monotonic() + float(sys.argv[1])
threads = [threading.Thread(target=work, args=(until,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
