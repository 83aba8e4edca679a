# One request after another with urllib, as a script does: io-sequential by `fetch`.
import sys
import time
import urllib.request

from slow_server import start


def fetch(port, number):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{number}") as answer:
        return answer.read()


def main(port, until):
    number = 0
    while time.monotonic() < until:
        fetch(port, number)
        number += 1


port = start(float((sys.argv + ["0.03"])[2]))
main(port, time.monotonic() + float(sys.argv[1]))
