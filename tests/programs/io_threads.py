# Plain threads, each with a connection of its own: io-threads-ok.
import http.client
import sys
import threading
import time

from slow_server import start


def ask(port, until):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while time.monotonic() < until:
        connection.request("GET", "/")
        connection.getresponse().read()


port = start()
until = time.monotonic() + float(sys.argv[1])
threads = [threading.Thread(target=ask, args=(port, until)) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
