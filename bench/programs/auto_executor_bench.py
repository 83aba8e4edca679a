"""AutoExecutor beside the standard pools, in one process and in turns: python auto_executor_bench.py prints JSON,
{measure: {contender: [seconds, ...]}}; "ours" is AutoExecutor, told nothing."""

from __future__ import annotations

import concurrent.futures as cf
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import allcores

CPUS = len(os.sched_getaffinity(0))
now = time.perf_counter
Call = tuple[Callable[[Any], Any], Any]


def same(x: Any) -> Any:
    return x


def compute(n: int) -> int:
    total = 0
    for i in range(n):
        total += i * i % 7
    return total


def wait(seconds: float) -> None:
    time.sleep(seconds)


def threads(count: int | None = None) -> Callable[[], Any]:
    return lambda: cf.ThreadPoolExecutor(count)


def processes() -> Any:
    return cf.ProcessPoolExecutor(CPUS, mp_context=multiprocessing.get_context("forkserver"))


class ByHand:
    """What waits to 64 threads, all else to processes, as one would write it who knows the functions."""

    def __init__(self) -> None:
        self.threads, self.processes = cf.ThreadPoolExecutor(64), processes()

    def submit(self, fn: Any, x: Any) -> Any:
        return (self.threads if fn is wait else self.processes).submit(fn, x)

    def shutdown(self) -> None:
        self.threads.shutdown()
        self.processes.shutdown()


def ten_ms() -> int:
    """compute()'s argument for 10 ms."""
    best = min(taken(compute, 20_000) for _ in range(20))
    return int(20_000 * 0.01 / best)


def taken(fn: Callable[..., object], *args: Any) -> float:
    began = now()
    fn(*args)
    return now() - began


def run(pool: Any, calls: list[Call]) -> None:
    for future in [pool.submit(fn, x) for fn, x in calls]:
        future.result()


def warm(contenders: dict[str, Callable[[], Any]], calls: list[Call], times: int) -> dict[str, list[float]]:
    """Pools that have had the same calls before."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    with ExitStack() as stack:
        pools = {name: make() for name, make in contenders.items()}
        for pool in pools.values():
            stack.callback(pool.shutdown)
            for _ in range(3):
                run(pool, calls)
        for _ in range(times):
            for name, pool in pools.items():
                found[name].append(taken(run, pool, calls))
    return found


def cold(contenders: dict[str, Callable[[], Any]], calls: list[Call], times: int) -> dict[str, list[float]]:
    """A pool of its own each time, its start and its end included."""

    def whole(make: Callable[[], Any]) -> None:
        pool = make()
        run(pool, calls)
        pool.shutdown()

    found: dict[str, list[float]] = {name: [] for name in contenders}
    for make in contenders.values():
        whole(make)
    for _ in range(times):
        for name, make in contenders.items():
            found[name].append(taken(whole, make))
    return found


def measured(times: int) -> dict[str, dict[str, list[float]]]:
    n = ten_ms()
    ours = {"ours": allcores.AutoExecutor}
    some = {**ours, "2 threads": threads(2), "processes": processes}
    many = {**ours, "threads": threads(), "64 threads": threads(64)}
    mixed = {**ours, "64 threads": threads(64), "processes": processes, "by hand": ByHand}
    bytecode: list[Call] = [(compute, n)] * 60
    waits: list[Call] = [(wait, 0.01)] * 400
    mixture = [call for i in range(40) for call in [(compute, n)] + [(wait, 0.01)] * 5]
    return {
        "no-op": warm(many, [(same, i) for i in range(20_000)], times),
        "bytecode": warm(some, bytecode, times),
        "bytecode, cold": cold(some, bytecode, times),
        "waits": warm(many, waits, times),
        "mixture": warm(mixed, mixture, times),
        "mixture, cold": cold(mixed, mixture, times),
    }


if __name__ == "__main__":
    print(json.dumps(measured(int(os.environ.get("TIMES", "7")))))
