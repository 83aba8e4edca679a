"""Each state's share within 2 points of the truth that the program itself measured, at 200 Hz over 3 s."""

from __future__ import annotations

import json
import os

from common import Row, hogs, median, program, why

BOUND = 2.0
CASES: list[tuple[str, tuple[object, ...]]] = [
    ("4 GIL-bound threads", ("threads", 3, 4)),
    ("8 GIL-bound threads", ("threads", 3, 8)),
    ("2 hashing threads", ("hash", 3, 2, 1.0)),
    ("4 hashing threads", ("hash", 3, 4, 1.0)),
    ("sleep", ("sleep", 3, 3)),
    ("lock", ("lock", 3, 3)),
    ("pipe", ("pipe", 3, 3)),
    ("socket", ("socket", 3, 3)),
    ("30 % native, 1 thread", ("mixed", 3, 1, 0.3)),
    ("30 % native, 4 threads", ("mixed", 3, 4, 0.3)),
    ("70 % native, 2 threads", ("mixed", 3, 2, 0.7)),
]
CROWDED = [
    "4 GIL-bound threads",
    "4 hashing threads",
    "30 % native, 1 thread",
    "30 % native, 4 threads",
    "sleep",
]


def off_by(args: tuple[object, ...], denied: str) -> dict[str, float]:
    """Percentage points of the workers' life by which each state is off, in one run."""
    report, printed = why(program("truth", *args), denied=denied)
    told = json.loads(printed)
    off = {}
    for states, seconds in told["truth"].items():
        # The workers' rows: all threads but the main one, which starts up, waits and ends.
        rows = [one for one in report["threads"] if one["tid"] != report["target"]["pid"]]
        measured = sum(one["states_s"][state] for one in rows for state in states.split("+"))
        off[states] = 100 * (measured - seconds) / told["life"]
    return off


def measure(args: tuple[object, ...], denied: str = "") -> dict[str, float]:
    runs = [off_by(args, denied) for _ in range(3)]
    return {states: median([run[states] for run in runs]) for states in runs[0]}


def row(name: str, off: dict[str, float], bound: float | None) -> Row:
    measured = ", ".join(f"{states} {points:+.1f}" for states, points in off.items())
    met = None if bound is None else all(abs(points) <= bound for points in off.values())
    return Row(f"accuracy: {name}", f"within {bound} points" if bound else "told as less sure", measured, met)


def run(quick: bool) -> list[Row]:
    cases = [case for case in CASES if not quick or case[0].startswith(("4 GIL", "2 hash", "30 % native, 1"))]
    rows = [row(name, measure(args), BOUND) for name, args in cases]
    if quick:
        return rows
    with hogs(len(os.sched_getaffinity(0))):
        crowded = [(name, args) for name, args in CASES if name in CROWDED]
        rows += [row(f"{name}, other programs on the CPUs", measure(args), BOUND) for name, args in crowded]
        rows += [
            row(f"{name}, the same without the ring", measure(args, "perf_event_open"), None)
            for name, args in crowded
        ]
    return rows
