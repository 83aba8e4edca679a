# apply_async().get() at once, in a helper, of native work: serial-pool-use.
import hashlib
import multiprocessing
import sys
import time

DATA = b"x" * 8_000_000


def digest(number):
    return hashlib.sha256(DATA).hexdigest()


def ask(pool, number):
    return pool.apply_async(digest, (number,)).get()


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with multiprocessing.Pool(2) as pool:
        while time.monotonic() < until:
            ask(pool, 1)
