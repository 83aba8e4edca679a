# A cache whose methods hold one RLock while they wait for something outside: lock-contention by `Cache.get`.
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor


class Cache:
    def __init__(self):
        self.lock = threading.RLock()
        self.items = {}

    def get(self, key):
        with self.lock:
            return self.load(key)

    def load(self, key):
        with self.lock:
            time.sleep(0.02)
            return self.items.get(key)


def run(cache, until):
    while time.monotonic() < until:
        cache.get(1)


cache = Cache()
until = time.monotonic() + float(sys.argv[1])
with ThreadPoolExecutor(4) as executor:
    for _ in range(4):
        executor.submit(run, cache, until)
