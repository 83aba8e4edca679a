# A script that fetches page after page with requests.Session: io-sequential by `fetch`.
import sys
import time

import requests
from slow_server import URL

session = requests.Session()


def fetch(number):
    return session.get(f"{URL}/{number}").text


until = time.monotonic() + float(sys.argv[1])
number = 0
while time.monotonic() < until:
    fetch(number)
    number += 1
