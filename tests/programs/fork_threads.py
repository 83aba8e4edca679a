# Forks while three threads run: fork-hazard besides its verdict.
import os
import sys
import threading
import time

until = time.monotonic() + float(sys.argv[1])


def wait():
    while time.monotonic() < until:
        time.sleep(0.05)


for _ in range(3):
    threading.Thread(target=wait).start()
time.sleep(0.2)
for _ in range(2):
    if os.fork() == 0:
        time.sleep(max(until - time.monotonic(), 0))
        os._exit(0)
os.wait()
