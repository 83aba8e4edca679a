"""allcores.map() beside what a user would write instead, in one process: python map_bench.py WORKLOAD... prints JSON,
{workload: {"loop": [...], "best": name, NAME: [...], "ours": [...]}}, seconds of runs that took turns; TIMES of them.

python map_bench.py cold WORKLOAD: one map() in an interpreter that has just begun, seconds. `list` names the workloads.
"""

from __future__ import annotations

import concurrent.futures as cf
import hashlib
import json
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import allcores

WORKERS = 2
BLOCK = b"x" * (1 << 16)
now = time.perf_counter
Job = Callable[[Callable[[Any], Any], list[Any]], Any]


# --- what an item does; how much is in the item, so that a worker need not be told anything else


def no_op(item: Any) -> Any:
    return item


def bytecode(loops: int) -> int:
    total = 0
    for i in range(loops):
        total += i * i % 7
    return total


def native(size: int) -> int:
    digest = b""
    while size > 0:  # 2 KiB and more are hashed without the GIL
        digest = hashlib.sha256(BLOCK[: max(size, 2048)]).digest()
        size -= len(BLOCK)
    return digest[0]


def waiting(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def mixed(item: tuple[int, int, float]) -> int:
    loops, size, seconds = item
    time.sleep(seconds)
    return bytecode(loops) + native(size)


def big_argument(item: tuple[int, bytes]) -> int:
    return bytecode(item[0]) + len(item[1])


def big_result(item: tuple[int, int]) -> bytes:
    return bytes([bytecode(item[0]) % 7]) * item[1]


# --- the workloads


def per_second(call: Callable[[int], object], amount: int) -> float:
    """How much of what `call` takes is done in a second."""
    best = 1e9
    for _ in range(5):
        began = now()
        call(amount)
        best = min(best, now() - began)
    return amount / best


def matrix(name: str) -> tuple[Callable[[Any], Any], list[Any]]:
    """ "bytecode 10ms" and its like."""
    kind, length = name.split()
    seconds, count = {"1us": (1e-6, 300_000), "100us": (1e-4, 6_000), "10ms": (0.01, 120), "1s": (1.0, 4)}[
        length
    ]
    loops = max(1, int(per_second(bytecode, 200_000) * seconds))
    size = max(1, int(per_second(native, 1 << 22) * seconds))
    if kind == "bytecode":
        return bytecode, [loops] * count
    if kind == "native":
        return native, [size] * count
    if kind == "waiting":
        return waiting, [seconds] * (count if seconds > 1e-4 else 6_000)  # no sleep is under 50 us
    return mixed, [(max(loops // 3, 1), max(size // 3, 1), seconds / 3)] * min(count, 6_000)


def workload(name: str) -> tuple[Callable[[Any], Any], list[Any]]:
    loops = int(per_second(bytecode, 200_000) * 0.01)  # of 10 ms
    if name == "no-op":
        return no_op, list(range(1_000_000))
    if name == "200 waits":
        return waiting, [0.1] * 200
    if name == "big arguments":
        return big_argument, [(loops, os.urandom(1 << 22)) for _ in range(60)]
    if name == "big results":
        return big_result, [(loops, 1 << 22)] * 60
    if name == "uneven":
        dice = random.Random(1)
        return bytecode, [int(loops * dice.expovariate(1)) for _ in range(119)] + [10 * loops]
    if name == "slows down":
        return bytecode, [loops // 500] * 10_000 + [loops // 2] * 200
    return matrix(name)


KINDS, LENGTHS = ("bytecode", "native", "waiting", "mixed"), ("1us", "100us", "10ms", "1s")
NAMES = [f"{kind} {length}" for length in LENGTHS for kind in KINDS]
NAMES += ["big arguments", "big results", "uneven", "slows down", "no-op", "200 waits"]
BESIDE = ("bytecode 100us", "native 100us", "waiting 10ms", "mixed 10ms")


# --- who does it


def loop(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    return [fn(x) for x in items]


def ours(fn: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    return list(allcores.map(fn, items))


def mapped(pool: Any, **options: Any) -> Job:
    return lambda fn, items: list(pool.map(fn, items, **options))


def other_libraries() -> dict[str, Job]:
    """Shown beside."""
    from joblib import Parallel, delayed
    from smart_parallel import smart_map

    return {
        "joblib": lambda fn, items: Parallel(n_jobs=WORKERS)(delayed(fn)(x) for x in items),
        "smart-parallel": smart_map,
    }


def peers(count: int) -> dict[str, Job]:
    """The alternatives that the bound is against; pools of processes with chunks that are not all of the items."""
    context = multiprocessing.get_context("forkserver")
    standard = cf.ProcessPoolExecutor(WORKERS, mp_context=context)
    found = {f"{n} threads": mapped(cf.ThreadPoolExecutor(n)) for n in (2, 8, 32, 64)}
    sizes = [n for n in (1, 10, 100, 1000) if n == 1 or n <= count]
    found |= {f"processes, chunks of {n}": mapped(standard, chunksize=n) for n in sizes}
    return found | {"allcores' pool": mapped(allcores.ProcessPoolExecutor(WORKERS))}


def timed(job: Job, fn: Callable[[Any], Any], items: list[Any]) -> float:
    began = now()
    results = job(fn, items)
    took = now() - began
    del results
    return took


def in_turns(
    jobs: dict[str, Job], fn: Callable[[Any], Any], items: list[Any], times: int
) -> dict[str, list[float]]:
    """Runs that alternate, in changing order, so that what the machine does meanwhile meets all alike."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(times):
        names = list(jobs)
        for name in names if turn % 2 else reversed(names):
            if name == "ours" and len(items) < 10:  # between two of them its pool may have gone
                ours(bytecode, [200_000] * 30)
            found[name].append(timed(jobs[name], fn, items))
    return found


def finalists(jobs: dict[str, Job], fn: Callable[[Any], Any], items: list[Any]) -> dict[str, Job]:
    """The two that are fastest; first their pools' workers come up."""
    few = items[: max(len(items) // 10, 4)] if len(items) > 20_000 else items
    for job in jobs.values():
        job(fn, items[:WORKERS])
    took = {name: timed(job, fn, few) for name, job in jobs.items()}
    for name, job in jobs.items():
        if took[name] < 0.5:
            took[name] = min(took[name], timed(job, fn, few))
    return {name: jobs[name] for name in sorted(took, key=lambda name: took[name])[:2]}


def measure(name: str, times: int) -> dict[str, Any]:
    fn, items = workload(name)
    best = {} if name == "no-op" else finalists(peers(len(items)), fn, items)
    ours(fn, items)
    found = in_turns({"loop": loop, **best, "ours": ours}, fn, items, times)
    explained = str(allcores.explain())
    best_name = min([*best, "loop"], key=lambda one: statistics.median(found[one]))
    beside: dict[str, float] = {}
    for other, job in other_libraries().items() if name in BESIDE else ():
        job(fn, items[:3])
        beside[other] = timed(job, fn, items)
    return {**found, "best": best_name, "explain": explained, "beside": beside}


def cold(name: str) -> float:
    fn, items = workload(name)
    return timed(ours, fn, items)


def main(names: Iterable[str]) -> None:
    first, *others = names
    if first == "list":
        print(json.dumps(NAMES))
    elif first == "cold":
        print(json.dumps(cold(others[0])))
    else:
        times = int(os.environ.get("TIMES", "7"))
        print(json.dumps({name: measure(name, times) for name in [first, *others]}))


if __name__ == "__main__":
    main(sys.argv[1:])
