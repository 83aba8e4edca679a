# Computes for two fifths of the time and waits for a command for the rest: unclear, since no one thing dominates.
import subprocess
import sys
import time


def compute(seconds):
    end = time.thread_time() + seconds
    total = 0
    while time.thread_time() < end:
        for i in range(500):
            total += i


until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    compute(0.08)
    subprocess.call(["sleep", "0.12"])
