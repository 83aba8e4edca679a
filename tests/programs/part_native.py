# Derives keys for two fifths of the time and sleeps for the rest: unclear, since no one thing dominates.
import hashlib
import sys
import time

until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2000)
    time.sleep(0.03)
