"""A program that knows where its thread-seconds went: truth.py KIND SECONDS [THREADS] [NATIVE_SHARE].

Prints JSON: seconds per state, or per sum of states ("gil_wait+no_cpu") that only the kernel can tell apart,
measured by its own clocks. CPU time outside of the workers (start-up, imports) is Python's.
"""

import hashlib
import json
import os
import socket
import sys
import threading
import time

KIND, SECONDS = sys.argv[1], float(sys.argv[2])
THREADS = int(sys.argv[3]) if len(sys.argv) > 3 else 1
SHARE = float(sys.argv[4]) if len(sys.argv) > 4 else 0.0
CALL = 128 << 10 if KIND == "mixed" else 8 << 20  # 128 KB hashed: some 100 to 300 us
DATA = bytes(CALL)
cpu = []
native = []
blocked = []
lives = []


def spin():
    total = 0
    for i in range(400):
        total += i * i % 7
    return total


def compute(until):
    spent = 0.0
    began = time.monotonic()
    cpu_began = time.thread_time()
    while time.monotonic() < until:
        done = time.thread_time() - cpu_began
        if SHARE and spent < SHARE * done:
            before = time.thread_time()
            hashlib.sha256(DATA).digest()
            spent += time.thread_time() - before
        else:
            spin()
    native.append(spent)
    cpu.append(time.thread_time() - cpu_began)
    lives.append(time.monotonic() - began)


def wait(until):
    if KIND == "pipe":
        os.read(reader, 1)
    elif KIND == "socket":
        near.recv(1)
    elif KIND == "lock":
        lock.acquire()
        lock.release()
    else:
        time.sleep(until - time.monotonic())


def worker(until):
    if KIND in ("threads", "mixed", "hash"):
        compute(until)
    else:
        began = time.monotonic()
        wait(until)
        blocked.append(time.monotonic() - began)


reader, writer = os.pipe()
near, far = socket.socketpair()
lock = threading.Lock()
lock.acquire()
until = time.monotonic() + SECONDS
threads = [threading.Thread(target=worker, args=(until,)) for _ in range(THREADS)]
for thread in threads:
    thread.start()
if KIND in ("pipe", "socket", "lock"):
    time.sleep(SECONDS)
    os.write(writer, b"x" * THREADS)
    far.send(b"x" * THREADS)
    lock.release()
for thread in threads:
    thread.join()

state = {"pipe": "io", "socket": "io", "lock": "lock", "sleep": "sleep"}.get(KIND)
if state:
    truth = {state: sum(blocked)}
    if state == "sleep":
        truth["sleep"] += 0.0
else:
    truth = {
        "native": sum(native),
        "python": sum(cpu) - sum(native),
        "gil_wait+no_cpu": sum(lives) - sum(cpu),
    }
print(json.dumps({"truth": truth, "life": sum(lives) or sum(blocked)}))
