"""What a patch of `allcores why --fix` gains, against what the report said it would: each rewrite, applied and run.

All of it with `bench/run.py fixes`, some of it with `bench/fixes.py [--list] [word of its name...]`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import COMMAND, ROOT, Row, median
from conftest import others_cpu_s
from interpreters import interpreters
from test_fixes import (
    ANEW,
    BLOCKED,
    CONNECTIONS,
    GIVEN_A_LIST,
    JOINED,
    LOOP,
    NATIVE,
    PAGES,
    SERIAL,
    SLEEPS,
    THREADS,
    TINY,
    TWO_THREADS,
)

BOUND = 0.3
OTHERS = 0.2  # CPUs that other programs may use meanwhile
RUNS = 3
BUSY = {"range(100, 108)": "range(4_000_000, 4_000_008)"}
WORK = {"return n * n": "return sum(i * i % 7 for i in range(2_000_000 + n))", "range(8)": "range(24)"}
SPAWN = {
    "from concurrent.futures": "import multiprocessing\nfrom concurrent.futures",
    "ProcessPoolExecutor(2)": "ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('spawn'))",
    "range(3)": "range(25)",
}
MANY = {"range(60)": "range(120)"}
WAIT = {"time.sleep(0.01)": "time.sleep(0.1)", "range(8)": "range(40)"}
HASHES = {'b"x" * n': 'b"x" * (n + 60_000_000)', "range(8)": "range(24)"}
POOL = {
    "from concurrent.futures import ProcessPoolExecutor": "import multiprocessing",
    "ProcessPoolExecutor(2)": "multiprocessing.Pool(2)",
}
APPENDED = "        results.append(work(n))\n"
TAKEN = "        lines.append(await fetch(n))\n"
COLLECTED = "    lines = []\n    for n in range(60):\n" + TAKEN
SUMMED = "    sizes = []\n    for n in range(60):\n        sizes.append(fetch(n))\n    print(sum(sizes))"
Case = tuple[str, str, dict[str, str]]
# Every rewrite in python/allcores/fixes, in each of the forms of code that it knows.
CASES: list[Case] = [
    ("ThreadPoolExecutor.map to processes", THREADS, BUSY),
    (
        "ThreadPoolExecutor.submit to processes",
        THREADS,
        {
            "list(pool.map(work, range(100, 108)))": "[pool.submit(work, n) for n in range(100, 108)]",
            "sum(results)": "sum(one.result() for one in results)",
            **BUSY,
        },
    ),
    ("joined threads, a list and a lock, to processes", JOINED, BUSY),
    ("joined threads that are given a list to processes", GIVEN_A_LIST, BUSY),
    ("two joined threads to processes", TWO_THREADS, {"(100,)": "(12_000_000,)", "(200,)": "(12_000_001,)"}),
    ("a loop that appends to processes", LOOP, BUSY),
    (
        "a comprehension to processes",
        LOOP,
        {
            "results = []\n    for n in range(100, 108):\n"
            + APPENDED: "results = [work(n) for n in range(100, 108)]\n",
            **BUSY,
        },
    ),
    ("free-threaded: a loop to threads", LOOP, BUSY),
    ("native calls in a comprehension to threads", NATIVE, HASHES),
    (
        "native calls in a loop to threads",
        NATIVE,
        {
            "    print([digest(n) for n in range(8)])": "    found = []\n    for n in range(8):\n"
            "        found.append(digest(n))\n    print(found)",
            **HASHES,
        },
    ),
    ("answers in a loop to threads", PAGES, MANY),
    (
        "answers in a comprehension to threads",
        PAGES,
        {
            SUMMED: "    print(sum([fetch(n) for n in range(60)]))",
            **MANY,
        },
    ),
    ("submit().result() to submit first", SERIAL, WORK),
    (
        "apply() to apply_async first",
        SERIAL,
        {"pool.submit(work, n).result()": "pool.apply(work, (n,))", **POOL, **WORK},
    ),
    (
        "apply_async().get() to all first",
        SERIAL,
        {"pool.submit(work, n).result()": "pool.apply_async(work, (n,)).get()", **POOL, **WORK},
    ),
    ("chunksize of map", TINY, {"range(300)": "range(40_000)"}),
    ("chunksize of Pool.imap", TINY, {"pool.map": "pool.imap", "range(300)": "range(150_000)", **POOL}),
    (
        "chunksize of Pool.imap_unordered",
        TINY,
        {"pool.map": "pool.imap_unordered", "range(300)": "range(150_000)", **POOL},
    ),
    ("awaits in a loop to gather", CONNECTIONS, MANY),
    (
        "awaits in a comprehension to gather",
        CONNECTIONS,
        {COLLECTED: "    lines = [await fetch(n) for n in range(60)]\n", **MANY},
    ),
    (
        "awaits whose answers are used to gather",
        CONNECTIONS,
        {TAKEN: "        line = await fetch(n)\n        lines.append(line + str(n))\n", **MANY},
    ),
    (
        "awaits without answers to gather",
        CONNECTIONS,
        {COLLECTED: "    lines = [0]\n    for n in range(60):\n        await fetch(n)\n", **MANY},
    ),
    ("a call that blocks to a thread", BLOCKED, WAIT),
    (
        "an answer that blocks to a thread",
        BLOCKED,
        {
            "import time": "import urllib.request\nfrom slow_server import URL",
            "time.sleep(0.01)": "urllib.request.urlopen(f'{URL}/{n}')",
            "range(8)": "range(80)",
        },
    ),
    ("time.sleep to asyncio.sleep", SLEEPS, WAIT),
    ("a pool made anew, hoisted", ANEW, SPAWN),
    (
        "a multiprocessing.Pool made anew, hoisted",
        ANEW,
        {
            "from concurrent.futures import ProcessPoolExecutor": "import multiprocessing\n\n"
            "context = multiprocessing.get_context('spawn')",
            "ProcessPoolExecutor(2)": "context.Pool(2)",
            "range(3)": "range(25)",
        },
    ),
]


class Disturbed(Exception):
    """Other programs kept the CPUs busy: nothing can be told."""


def undisturbed(command: list[str], directory: Path) -> tuple[float, str]:
    """Wall time of a command and what it printed. A run whose CPUs other programs used is made again."""
    for _ in range(8):
        started, before = time.monotonic(), others_cpu_s()
        text = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout
        taken = time.monotonic() - started
        if others_cpu_s() - before < OTHERS * taken:
            return taken, text
        time.sleep(1)
    raise Disturbed


def seconds(python: str, path: Path) -> tuple[float, str]:
    """Wall time of a program, the median, and what it printed."""
    runs = [undisturbed([python, path.name], path.parent) for _ in range(RUNS)]
    return median([taken for taken, _ in runs]), runs[-1][1]


def interpreter(what: str) -> str | None:
    """What runs a case."""
    if not what.startswith("free-threaded"):
        return sys.executable
    found = [one for one in interpreters() if one.free_threaded and not one.root]
    return found[-1].prefix[0] if found else None


def verdict_on(python: str, path: Path, patch: Path) -> dict[str, Any]:
    """The verdict on a program, and its patch where it has one."""
    report = path.with_name("report.json")
    options = ["-q", "-o", str(report), "--fix", str(patch)]
    undisturbed([COMMAND, "why", *options, "--", python, path.name], path.parent)
    verdict: dict[str, Any] = json.loads(report.read_text())["verdict"]
    return verdict


def measure(what: str, text: str, changes: dict[str, str]) -> Row:
    """The gain of one patch over its estimate."""
    bound = f"{1 - BOUND:.1f} to {1 + BOUND:.1f} of the estimate"
    python = interpreter(what)
    if python is None:
        return Row(f"fix: {what}", bound, "no free-threaded interpreter here")
    for old, new in changes.items():
        assert old in text, (what, old)
        text = text.replace(old, new)
    with tempfile.TemporaryDirectory() as directory:
        path, patch = Path(directory, "program.py"), Path(directory, "fix.patch")
        path.write_text(text)
        server = ROOT / "bench" / "slow_server.py"
        Path(directory, "slow_server.py").write_text(server.read_text())
        try:
            verdict = verdict_on(python, path, patch)
            if not patch.exists():
                told = f"no patch ({verdict['id']}: {verdict['fix']['withheld']})"
                return Row(f"fix: {what}", bound, told, False)
            before, printed = seconds(python, path)
            subprocess.run(["patch", "-s", "-p1", "-i", patch.name], cwd=directory, check=True)
            after, printed_after = seconds(python, path)
        except Disturbed:
            return Row(f"fix: {what}", bound, "not measured: other programs kept the CPUs busy", False)
    speedup = (verdict["estimate"] or {}).get("speedup") or 1
    ratio = (before - after) / (before * (1 - 1 / speedup)) if speedup > 1 else 0
    met = printed == printed_after and abs(ratio - 1) <= BOUND
    told = f"{ratio:.2f} ({before:.2f} s to {after:.2f} s; said {before / speedup:.2f} s)"
    return Row(f"fix: {what} ({verdict['id']})", bound, told, met)


def run(quick: bool) -> Iterator[Row]:
    """Every fourth case, or all."""
    for case in CASES[::4] if quick else CASES:
        yield measure(*case)


def main() -> int:
    words = [one for one in sys.argv[1:] if one != "--list"]
    cases = [one for one in CASES if not words or any(word in one[0] for word in words)]
    missed = 0
    for case in cases:
        if "--list" in sys.argv:
            print(case[0])
            continue
        row = measure(*case)
        missed += row.met is False
        print(f"{row.what:75} {row.measured}{' MISSED' if row.met is False else ''}", flush=True)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
