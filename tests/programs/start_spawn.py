# A new spawned process for every small item, each of which imports again: start-up.
import multiprocessing
import sys
import time


def work(number):
    return sum(range(number))


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    context = multiprocessing.get_context("spawn")
    while time.monotonic() < until:
        pair = [context.Process(target=work, args=(1000,)) for _ in range(2)]
        for process in pair:
            process.start()
        for process in pair:
            process.join()
