"""The built-in race of `allcores race`: what each contender reached, and whether its reason is the right one.

Two CPUs of the machine must be idle: threads take turns at one, processes fill both.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from common import COMMAND, Row, median

RUNS = 5
OURS = ("allcores.ProcessPoolExecutor", "allcores.map")
PICKED = r"picked 2 processes \(its own is one\), .*; "
POOLS = ("ProcessPoolExecutor", *OURS, "InterpreterPoolExecutor")


def race(runs: int) -> dict[str, Any]:
    done = subprocess.run(
        [COMMAND, "race", "--json", "--runs", str(runs)], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def right_reason(one: dict[str, Any]) -> bool:
    """Threads took turns, the loop went item by item, map says what it picked, and the others fill both CPUs."""
    name, reason = one["name"], one["reason"]
    if name == "ThreadPoolExecutor":
        return bool(reason.startswith("took turns: 8 threads"))
    if name == "sequential":
        return bool(reason.startswith("one item after another"))
    told = re.fullmatch(
        rf"{PICKED if name == 'allcores.map' else ''}(\d\.\d) cores(; .*(to start|pickling))?", reason
    )
    return told is not None and 1.5 <= float(told[1]) <= 2.1


def speed_ups(one: dict[str, Any], base: dict[str, Any]) -> float:
    """Of pairs: a round's runs follow each other."""
    return median([loop / mine for loop, mine in zip(base["runs_s"], one["runs_s"], strict=True)])


def run(quick: bool) -> list[Row]:
    found = race(3 if quick else RUNS)
    ran = [one for one in found["contenders"] if one["error"] is None]
    rows = []
    for one in ran:
        name, ratio = one["name"], speed_ups(one, ran[0])
        figures = f"{ratio:.2f}x ({one['wall_s']:.2f} s)"
        if name == "ThreadPoolExecutor":
            rows.append(Row(f"race: {name}", "0.85x to 1.10x", figures, 0.85 <= ratio <= 1.10))
        elif name in POOLS:
            rows.append(Row(f"race: {name}", "at least 1.9x", figures, ratio >= 1.9))
        elif name != "sequential":
            rows.append(Row(f"race: {name}", "", figures))
        right = right_reason(one)
        rows.append(Row(f"race: the reason of {name}", "the right one", one["reason"][:60], right))
    others = found["machine"]["others_used"]
    rows.append(
        Row("race: CPUs that other programs used meanwhile", "under 0.1", f"{others:.2f}", others < 0.1)
    )
    return rows
