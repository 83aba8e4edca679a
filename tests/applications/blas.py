# Six processes of NumPy whose BLAS starts a thread for each CPU: oversubscribed.
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import numpy


def multiply(until):
    a = numpy.random.default_rng(1).random((400, 400))
    while time.monotonic() < until:
        a @ a


if __name__ == "__main__":
    until = time.monotonic() + float(sys.argv[1])
    with ProcessPoolExecutor(6) as executor:
        list(executor.map(multiply, [until] * 6))
