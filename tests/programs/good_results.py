# Submits all, then asks for one result after another, as it should: no serial-pool-use. Its parent waits for one result
# all the time, and both workers have a task meanwhile.
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def load(number):
    time.sleep(0.04)
    return number


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        futures = [executor.submit(load, i) for i in range(int(float(sys.argv[1]) / 0.02))]
        print(sum(future.result() for future in futures))
