# A thread an item: each lives for a millisecond or less. The CPU total is what counts.
import sys
import threading
import time

SECONDS = float(sys.argv[1])


def item():
    total = 0
    for i in range(3000):
        total += i
    return total


until = time.monotonic() + SECONDS
while time.monotonic() < until:
    batch = [threading.Thread(target=item) for _ in range(10)]
    for thread in batch:
        thread.start()
    for thread in batch:
        thread.join()
print(time.process_time())
