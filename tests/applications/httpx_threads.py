# httpx.Client in a ThreadPoolExecutor, eight at a time: io-threads-ok.
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from slow_server import URL


def fetch(until):
    with httpx.Client() as client:
        while time.monotonic() < until:
            client.get(URL)


until = time.monotonic() + float(sys.argv[1])
with ThreadPoolExecutor(8) as executor:
    list(executor.map(fetch, [until] * 8))
