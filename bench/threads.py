"""ThreadPoolExecutor beside the standard one, in one run: no-ops, 20,000 in flight, median of five ratios."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor
from concurrent.futures import ThreadPoolExecutor as Standard
from typing import Any

import allcores

COUNT = 20_000


def noop(value: int) -> int:
    return value


def by_submit(pool: Executor) -> None:
    futures = [pool.submit(noop, i) for i in range(COUNT)]
    assert [one.result() for one in futures] == list(range(COUNT))


def by_map(pool: Executor) -> None:
    assert list(pool.map(noop, range(COUNT))) == list(range(COUNT))


def timed(make: Callable[..., Any], work: Callable[[Executor], None]) -> float:
    with make(4) as pool:
        work(pool)
        start = time.perf_counter()
        work(pool)
        return time.perf_counter() - start


def main() -> int:
    slow = 0
    for work in (by_submit, by_map):
        ratio = statistics.median(
            timed(Standard, work) / timed(allcores.ThreadPoolExecutor, work) for _ in range(5)
        )
        print(f"{work.__name__}: {ratio:.1f} times the standard pool's rate")
        slow += ratio < 5
    return slow


if __name__ == "__main__":
    sys.exit(main())
