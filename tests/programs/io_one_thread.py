# A worker thread keeps one connection and asks again and again, while the main one joins it: io-sequential.
import http.client
import sys
import threading
import time

from slow_server import start


def poll(port, until):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    while time.monotonic() < until:
        connection.request("GET", "/")
        connection.getresponse().read()


port = start(float((sys.argv + ["0.03"])[2]))
thread = threading.Thread(target=poll, args=(port, time.monotonic() + float(sys.argv[1])))
thread.start()
thread.join()
