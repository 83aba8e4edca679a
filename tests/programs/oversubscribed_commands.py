# Scripts that were started side by side, each of which derives keys in six threads: oversubscribed.
import os
import subprocess
import sys

SCRIPT = """
import hashlib, sys, threading, time
def derive():
    while time.monotonic() < until:
        hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 50000)
until = time.monotonic() + float(sys.argv[1])
threads = [threading.Thread(target=derive) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""

cpus = len(os.sched_getaffinity(0))
scripts = [subprocess.Popen([sys.executable, "-c", SCRIPT, sys.argv[1]]) for _ in range(cpus)]
for script in scripts:
    script.wait()
