# One thread that writes and reads JSON, in C that keeps the GIL, and sorts what comes back: single-thread-python.
import json
import sys
import time

ROWS = [{"name": "row %d" % i, "values": list(range(i % 50))} for i in range(500)]


def copy(rows):
    return sorted(json.loads(json.dumps(rows)), key=lambda row: len(row["values"]))


until = time.monotonic() + float(sys.argv[1])
rows = ROWS
while time.monotonic() < until:
    rows = copy(rows)
