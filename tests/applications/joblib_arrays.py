# joblib.Parallel whose tasks are given lists of a few megabytes and look at one number: pickling.
import sys
import time

from joblib import Parallel, delayed


def pick(table, at):
    return table[at]


table = [float(number) for number in range(300_000)]
until = time.monotonic() + float(sys.argv[1])
with Parallel(n_jobs=2) as parallel:
    while time.monotonic() < until:
        parallel(delayed(pick)(table, at) for at in range(8))
