# Workers that wait in queue.get() for work that does not come: state lock; idle, not a lock problem.
import queue
import sys
import threading
import time

jobs = queue.Queue()


def worker():
    while jobs.get() is not None:
        pass


threads = [threading.Thread(target=worker) for _ in range(4)]
for thread in threads:
    thread.start()
time.sleep(float(sys.argv[1]))
for _ in threads:
    jobs.put(None)
