"""What a patch of `allcores why --fix` gains, against what the report said it would: each rewrite, applied and run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import COMMAND, ROOT, Row, median
from test_fixes import (
    ANEW,
    BLOCKED,
    CONNECTIONS,
    JOINED,
    LOOP,
    NATIVE,
    PAGES,
    SERIAL,
    SLEEPS,
    THREADS,
    TINY,
)

BOUND = 0.3
RUNS = 3
BUSY = {"range(100, 108)": "range(4_000_000, 4_000_008)"}
WORK = {"return n * n": "return sum(i * i % 7 for i in range(2_000_000 + n))", "range(8)": "range(24)"}
SPAWN = {
    "from concurrent.futures": "import multiprocessing\nfrom concurrent.futures",
    "ProcessPoolExecutor(2)": "ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('spawn'))",
    "range(3)": "range(25)",
}
CASES = [
    ("ThreadPoolExecutor to processes", THREADS, BUSY),
    ("joined threads to processes", JOINED, BUSY),
    ("a loop to processes", LOOP, BUSY),
    ("native calls to threads", NATIVE, {'b"x" * n': 'b"x" * (n + 60_000_000)', "range(8)": "range(80)"}),
    ("answers to threads", PAGES, {"range(60)": "range(120)"}),
    ("result() to submit first", SERIAL, WORK),
    ("chunksize", TINY, {"range(300)": "range(40_000)"}),
    ("awaits to gather", CONNECTIONS, {"range(60)": "range(120)"}),
    (
        "a call that blocks to a thread",
        BLOCKED,
        {"time.sleep(0.01)": "time.sleep(0.1)", "range(8)": "range(40)"},
    ),
    ("time.sleep to asyncio.sleep", SLEEPS, {"time.sleep(0.01)": "time.sleep(0.1)", "range(8)": "range(40)"}),
    ("a pool made anew, hoisted", ANEW, SPAWN),
]


def seconds(path: Path) -> tuple[float, str]:
    """Wall time of a program, the median, and what it printed."""
    times, text = [], ""
    for _ in range(RUNS):
        started = time.monotonic()
        text = subprocess.run(
            [sys.executable, path.name], cwd=path.parent, capture_output=True, text=True, check=True
        ).stdout
        times.append(time.monotonic() - started)
    return median(times), text


def measure(what: str, text: str, changes: dict[str, str]) -> Row:
    """The gain of one patch over its estimate."""
    for old, new in changes.items():
        assert old in text, (what, old)
        text = text.replace(old, new)
    bound = f"{1 - BOUND:.1f} to {1 + BOUND:.1f} of the estimate"
    with tempfile.TemporaryDirectory() as directory:
        path, report_path, patch = (Path(directory, name) for name in ("program.py", "r.json", "fix.patch"))
        path.write_text(text)
        server = ROOT / "bench" / "slow_server.py"
        Path(directory, "slow_server.py").write_text(server.read_text())
        command = [
            COMMAND,
            "why",
            "-q",
            "-o",
            str(report_path),
            "--fix",
            str(patch),
            "--",
            sys.executable,
            path.name,
        ]
        subprocess.run(command, cwd=directory, stdout=subprocess.DEVNULL, check=True)
        verdict = json.loads(report_path.read_text())["verdict"]
        if not patch.exists():
            return Row(
                f"fix: {what}", bound, f"no patch ({verdict['id']}: {verdict['fix']['withheld']})", False
            )
        before, printed = seconds(path)
        subprocess.run(["patch", "-s", "-p1", "-i", patch.name], cwd=directory, check=True)
        after, printed_after = seconds(path)
    speedup = verdict["estimate"]["speedup"] or 1
    ratio = (before - after) / (before * (1 - 1 / speedup)) if speedup > 1 else 0
    met = printed == printed_after and abs(ratio - 1) <= BOUND
    told = f"{ratio:.2f} ({before:.2f} s to {after:.2f} s; said {before / speedup:.2f} s)"
    return Row(f"fix: {what} ({verdict['id']})", bound, told, met)


def run(quick: bool) -> Iterator[Row]:
    """Every third case, or all."""
    for case in CASES[::3] if quick else CASES:
        yield measure(*case)
