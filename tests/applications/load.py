# Asks a server for pages, as many at a time as it is told: what users of a web application do.
import sys
import threading
import time
import urllib.request


def ask(url, until):
    while time.monotonic() < until:
        with urllib.request.urlopen(url) as answer:
            answer.read()


def wait_for(url):
    for _ in range(600):
        try:
            urllib.request.urlopen(url).close()
            return
        except OSError:
            time.sleep(0.05)


url, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
wait_for(url)
until = time.monotonic() + seconds
threads = [threading.Thread(target=ask, args=(url, until)) for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
