"""allcores.map() with defaults beside the loop and the best of what a user would write instead.

Each workload in an interpreter of its own, newest CPython that numpy is built for; pairs of runs in turns.
python bench/map.py [WORKLOAD...] prints what was chosen, too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from common import Row, median
from extension import Package

from pool import package

COLD_S = 0.15
COLD = ("bytecode 1us", "bytecode 100us", "bytecode 10ms", "waiting 10ms", "native 10ms")
QUICK = ("bytecode 100us", "native 10ms", "waiting 10ms", "mixed 10ms", "slows down", "no-op", "200 waits")
PIP = "--only-binary=:all: --no-deps --quiet --disable-pip-version-check"


def prepared() -> Package:
    """The package, and the libraries to show beside it."""
    found = package("map_bench.py")
    place = found.python.root + found.path
    for name in ("joblib", "smart-parallel"):
        if not Path(place, name.replace("-", "_")).exists():
            pip = [sys.executable, "-m", "pip", "install", *PIP.split(), "--target", place, name]
            subprocess.run(pip, check=True)
    return found


def ask(where: Package, *args: str, times: int = 7) -> Any:
    done = where.run(f"{where.path}/map_bench.py", *args, timeout=1200, TIMES=str(times))
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def ratio(found: dict[str, Any], peer: str) -> float:
    """Of the medians of pairs."""
    return median([mine / theirs for mine, theirs in zip(found["ours"], found[peer], strict=True)])


def rows_of(name: str, found: dict[str, Any]) -> list[Row]:
    loop, best = ratio(found, "loop"), ratio(found, found["best"])
    times = f"({median(found['ours']):.3g} s, loop {median(found['loop']):.3g} s"
    beside = "".join(f", {peer} {seconds:.3g} s" for peer, seconds in found["beside"].items())
    rows = [
        Row(f"map: {name}: against the loop", "at most 1.03", f"{loop:.3f} {times}{beside})", loop <= 1.03)
    ]
    if len(found) > 5:
        what = f"map: {name}: against the best, {found['best']}"
        rows.append(
            Row(what, "at most 1.10", f"{best:.3f} ({median(found[found['best']]):.3g} s)", best <= 1.10)
        )
    if name == "200 waits":
        took = median(found["ours"])
        rows.append(Row("map: 200 waits of 100 ms", "under 0.5 s", f"{took:.3f} s", took < 0.5))
    return rows


def cold(where: Package, name: str, warm: dict[str, Any], times: int) -> Row:
    """From an interpreter's first map(): how much longer than the better of the loop and a warm one."""
    took = median([ask(where, "cold", name) for _ in range(times)])
    more = took - max(median(warm["ours"]), 0)
    return Row(f"map: {name}: the first in an interpreter", "0.15 s more", f"{more:+.3f} s", more <= COLD_S)


def measured(where: Package, names: list[str], times: int, explain: bool = False) -> list[Row]:
    rows = []
    for name in names:
        found = ask(where, name, times=times)[name]
        new = rows_of(name, found)
        if name in COLD:
            new.append(cold(where, name, found, min(times, 5)))
        if explain:
            for row in new:
                print(f"{'' if row.met else 'MISSED '}{row.what}: {row.measured}", flush=True)
            print("  " + found["explain"].replace("\n", "\n  "), flush=True)
        rows += new
    return rows


def run(quick: bool) -> list[Row]:
    where = prepared()
    return measured(where, list(QUICK) if quick else ask(where, "list"), 3 if quick else 7)


if __name__ == "__main__":
    here = prepared()
    rows = measured(here, sys.argv[1:] or ask(here, "list"), int(os.environ.get("TIMES", "7")), explain=True)
    sys.exit(any(row.met is False for row in rows))
