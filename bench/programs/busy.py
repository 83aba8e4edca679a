"""busy.py SECONDS THREADS BUSY: threads, of which BUSY run Python some 30 frames deep; the rest sleep."""

import sys
import threading
import time

SECONDS, THREADS, BUSY = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
until = time.monotonic() + SECONDS


def spin():
    total = 0
    while time.monotonic() < until:
        for i in range(1000):
            total += i * i % 7


def deep(levels):
    if levels:
        deep(levels - 1)
    else:
        spin()


def idle():
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 60))


targets = [(deep, (26,))] * BUSY + [(idle, ())] * (THREADS - BUSY)
threads = [threading.Thread(target=target, args=args) for target, args in targets]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
