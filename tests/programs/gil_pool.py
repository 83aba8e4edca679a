# A ThreadPoolExecutor over pure Python, as people write it: gil-bound-threads by `transform`.
import sys
import time
from concurrent.futures import ThreadPoolExecutor

SECONDS = float(sys.argv[1])


class Work:
    def __init__(self, start):
        self.start = start

    def transform(self, until):
        text = ""
        while time.monotonic() < until:
            for i in range(500):
                text = str(i + self.start) + text[:20]
        return len(text)


def run(until):
    with ThreadPoolExecutor(max_workers=4) as executor:
        jobs = [executor.submit(Work(n).transform, until) for n in range(4)]
        return sum(job.result() for job in jobs)


run(time.monotonic() + SECONDS)
