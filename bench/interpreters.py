"""Whether interpreters (PEP 734) would beat processes under allcores.map: python3.14 bench/interpreters.py

In one process, in turns, the same items by backend="interpreters" and "processes" with as many workers: the first
result from cold, and an item's cost with pools warm. The best of 7; allcores must be importable by that Python.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 7
COLD = """
import sys, time, allcores
def f(x): return x
if __name__ == "__main__":
    list(allcores.map(f, [1], backend="inline"))
    began = time.perf_counter()
    list(allcores.map(f, range(2), backend=sys.argv[1], max_workers=2))
    print(time.perf_counter() - began)
"""


def nothing(x: object) -> None:
    return None


def back(x: object) -> object:
    return x


def spin(n: int) -> int:
    for _ in range(n):
        n += 1
    return n


def cold(backend: str) -> float:
    """Seconds until two first results are there, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "cold.py")
        script.write_text(COLD)
        command = [sys.executable, str(script), backend]
        return min(float(subprocess.check_output(command)) for _ in range(RUNS))


def main() -> None:
    import allcores

    cases = {
        "no-op": (nothing, range(2000)),
        "spin 100 us": (spin, [2500] * 1000),
        "spin 10 ms": (spin, [250_000] * 40),
        "64 KiB bytes, there and back": (back, [bytes(1 << 16)] * 400),
        "1 MiB bytes, there and back": (back, [bytes(1 << 20)] * 60),
        "list of 1000 ints, there and back": (back, [list(range(1000))] * 400),
    }
    starts = {backend: cold(backend) for backend in ("interpreters", "processes")}
    row("first results from cold", starts["interpreters"], starts["processes"], 1)
    for name, (fn, items) in cases.items():
        times: dict[str, list[float]] = {"interpreters": [], "processes": []}
        for run in range(RUNS + 1):
            for backend, taken in times.items():
                began = time.perf_counter()
                for _ in allcores.map(fn, items, backend=backend, max_workers=2):
                    pass
                if run:  # the first warms up
                    taken.append(time.perf_counter() - began)
        row(name, *(min(taken) for taken in times.values()), len(items))


def row(name: str, interpreters: float, processes: float, items: int) -> None:
    ours, theirs = (f"{1e6 * one / items:10.1f} us" for one in (interpreters, processes))
    print(f"{name:36}{ours} {theirs}   {interpreters / processes:5.2f}")


if __name__ == "__main__":
    print(f"{'':36}{'interpreters':>13} {'processes':>13}   ratio")
    main()
