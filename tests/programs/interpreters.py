# Two subinterpreters with a GIL each (3.12+), busy at once: python 2.0 on two CPUs, no gil_wait.
import sys
import threading

try:
    import _interpreters

    def create():
        return _interpreters.create()

    def run(one, code):
        _interpreters.run_string(one, code)

except ImportError:
    import _xxsubinterpreters

    def create():
        return _xxsubinterpreters.create(isolated=True)

    def run(one, code):
        _xxsubinterpreters.run_string(one, code)


CODE = """
import time
until = time.monotonic() + {}
total = 0
while time.monotonic() < until:
    for i in range(2000):
        total += i
"""


def work():
    run(
        create(), CODE.format(sys.argv[1])
    )  # made where it runs: 3.12 keeps the maker's thread id in its state


threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
