# Threads inside C functions that keep the GIL (json.loads, sorted, re.sub): gil-bound-threads, told as C functions.
import json
import random
import sys
import threading
import time

SECONDS = float(sys.argv[1])
TEXT = json.dumps([{"n": i, "s": str(i) * 5, "f": i / 7} for i in range(3000)])
NUMBERS = [random.random() for _ in range(20000)]


def parse(until):
    while time.monotonic() < until:
        json.loads(TEXT)
        sorted(NUMBERS)


until = time.monotonic() + SECONDS
threads = [threading.Thread(target=parse, args=(until,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
