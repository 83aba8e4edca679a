# Moves a megabyte a task, which takes a hundredth of what the task does with it: no pickling.
import sys
import time
from concurrent.futures import ProcessPoolExecutor

DATA = b"x" * 1_000_000


def send(data):
    time.sleep(0.2)
    return len(data)


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        print(sum(executor.map(send, [DATA] * int(float(sys.argv[1]) / 0.1))))
