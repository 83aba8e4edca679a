# One thread that derives keys from passwords, in C that releases the GIL: single-thread-native by `derive`.
import hashlib
import sys
import time


def derive(number):
    return hashlib.pbkdf2_hmac("sha256", b"password", b"%d" % number, 50000)


until = time.monotonic() + float(sys.argv[1])
number = 0
while time.monotonic() < until:
    derive(number)
    number += 1
