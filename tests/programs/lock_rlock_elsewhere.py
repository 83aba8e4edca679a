# Three threads look up what a fourth refreshes under the same RLock: lock-contention, held by `Cache.refresh`.
import sys
import threading
import time


class Cache:
    def __init__(self):
        self.lock = threading.RLock()
        self.items = {}

    def refresh(self, until):
        while time.monotonic() < until:
            self.lock.acquire()
            time.sleep(0.05)
            self.lock.release()

    def look_up(self, until):
        while time.monotonic() < until:
            with self.lock:
                self.items.get(1)


cache = Cache()
until = time.monotonic() + float(sys.argv[1])
jobs = [cache.refresh, cache.look_up, cache.look_up, cache.look_up]
threads = [threading.Thread(target=job, args=(until,)) for job in jobs]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
