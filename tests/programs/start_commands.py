# A Python script started for every file, two at a time: start-up.
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def convert(number):
    return subprocess.run(
        [sys.executable, "-c", "import json, decimal, email; print(json.dumps(1))"], capture_output=True
    )


until = time.monotonic() + float(sys.argv[1])
with ThreadPoolExecutor(2) as executor:
    while time.monotonic() < until:
        list(executor.map(convert, range(4)))
