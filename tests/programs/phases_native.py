# Hashes in threads, then formats in one: two phases, native-parallel and single-thread-python.
import hashlib
import sys
import time
from concurrent.futures import ThreadPoolExecutor

SECONDS = float(sys.argv[1])
DATA = b"x" * (1 << 20)


def digest(until):
    while time.monotonic() < until:
        hashlib.sha256(DATA).digest()


def render(until):
    text = ""
    while time.monotonic() < until:
        for i in range(500):
            text = str(i) + text[:20]


with ThreadPoolExecutor(2) as executor:
    list(executor.map(digest, [time.monotonic() + SECONDS] * 2))
render(time.monotonic() + SECONDS)
