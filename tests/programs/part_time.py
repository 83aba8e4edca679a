# Waits for two fifths of the time and computes for the rest, in one thread: unclear, since no one thing dominates.
import sys
import time

until = time.monotonic() + float(sys.argv[1])


def compute(seconds):
    end = time.thread_time() + seconds
    total = 0
    while time.thread_time() < end:
        for i in range(500):
            total += i


while time.monotonic() < until:
    compute(0.02)
    time.sleep(0.03)
