# One busy thread beside idle pool threads: single-thread-python, not the GIL and not a lock.
import queue
import sys
import threading
import time

SECONDS = float(sys.argv[1])
jobs = queue.Queue()


def worker():
    while jobs.get() is not None:
        pass


class Parser:
    def tokens(self, text):
        for character in text:
            if character.isalpha():
                yield character.upper()

    def parse(self, text):
        return sum(1 for token in self.tokens(text) if token in "AEIOU")


threads = [threading.Thread(target=worker) for _ in range(6)]
for thread in threads:
    thread.start()
parser = Parser()
until = time.monotonic() + SECONDS
while time.monotonic() < until:
    parser.parse("the quick brown fox jumps over the lazy dog " * 50)
for _ in threads:
    jobs.put(None)
