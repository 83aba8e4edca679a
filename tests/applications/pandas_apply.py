# DataFrame.apply with a function of Python, row by row: single-thread-python by `distance`.
import sys
import time

import pandas


def distance(row):
    return (row["x"] ** 2 + row["y"] ** 2) ** 0.5


frame = pandas.DataFrame({"x": range(2000), "y": range(2000)})
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    frame.apply(distance, axis=1).sum()
