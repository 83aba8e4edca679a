# Requests from a ThreadPoolExecutor, eight at a time: io-threads-ok.
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from slow_server import start


def fetch(port, until):
    while time.monotonic() < until:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            answer.read()


port = start()
until = time.monotonic() + float(sys.argv[1])
with ThreadPoolExecutor(8) as executor:
    list(executor.map(fetch, [port] * 8, [until] * 8))
