# One thread, half of its CPU time in native code by calls of about a millisecond, half in bytecode.
import hashlib
import sys
import time

SECONDS = float(sys.argv[1])
SHARE = float(sys.argv[2]) if len(sys.argv) > 2 else 0.5
DATA = bytes(1 << 20)
native = python = 0.0


def hash_some():
    hashlib.sha256(DATA).digest()


def count_some():
    total = 0
    for i in range(2000):
        total += i
    return total


until = time.monotonic() + SECONDS
while time.monotonic() < until:
    begin = time.thread_time()
    if native * (1 - SHARE) <= python * SHARE:
        hash_some()
        native += time.thread_time() - begin
    else:
        count_some()
        python += time.thread_time() - begin
print(native / (native + python))
