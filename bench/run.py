"""Every figure that we claim, measured here and now: python bench/run.py [name...] [--quick] [-o FILE.json].

Exit 1 when a bound is not met. Run it on an otherwise idle machine: each measure takes medians, but a busy
neighbour shows.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common import Row

NAMES = [
    "accuracy",
    "cost",
    "slowdown",
    "ticks",
    "stacks",
    "totals",
    "latency",
    "pool",
    "map",
    "auto_executor",
    "race",
    "page",
    "fixes",
]


def show(row: Row) -> None:
    mark = {True: "met", False: "MISSED", None: ""}[row.met]
    print(f"{row.what:78} {row.bound:24} {row.measured:48} {mark}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer cases and repetitions")
    parser.add_argument("-o", metavar="FILE", help="also write the rows as JSON")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    rows = []
    print(f"Linux {platform.release()}, {os.cpu_count()} CPUs, CPython {platform.python_version()}")
    for name in options.names or NAMES:
        for row in importlib.import_module(name).run(options.quick):
            show(row)
            rows.append(row)
    if options.o:
        Path(options.o).write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
