"""One generated program: sweep.py '{"mode": "threads", "seconds": 1.5, ...}'; bench/sweep.py makes the cases."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

BLOCK = b"x" * (1 << 14)  # hashed in some 10-50 us, so that a turn's native share is what the case says
TURN = 0.004  # seconds of one turn of work, native and waiting together


def compute(seconds: float) -> int:
    until, total = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        for i in range(50):
            total += i * i % 7
    return total


def native(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        hashlib.sha256(BLOCK).digest()


def turns(case: dict[str, Any], until: float) -> None:
    """Python, native code and waiting by turns, in the case's shares of a thread that has a CPU to itself.
    What is computed is counted in loops, not in time: waiting for the GIL is no work."""
    share = 1 - case["wait"]
    loops = max(int(case["loops"] * TURN * share * (1 - case["native"]) / 50), 0)
    while time.monotonic() < until:
        total = 0
        for _ in range(loops):
            for i in range(50):
                total += i * i % 7
        if case["native"]:
            spent = time.thread_time() + TURN * share * case["native"]
            while time.thread_time() < spent:
                hashlib.sha256(BLOCK).digest()
        if case["wait"]:
            time.sleep(TURN * case["wait"])


def speed() -> float:
    """Loops of compute a second, on this machine."""
    started, total = time.thread_time(), 0
    for _ in range(2000):
        for i in range(50):
            total += i * i % 7
    return 100_000 / (time.thread_time() - started)


def task(length: float, data: bytes) -> int:
    if length:
        compute(length)
    return len(data)


def pool(case: dict[str, Any], until: float) -> None:
    data = bytes(case["payload"])
    batch = max(4, min(400, int(0.1 / max(case["length"], 0.0003))))
    batch += -batch % (2 * case["count"])  # the same for each worker, to the last
    with ProcessPoolExecutor(case["count"]) as executor:
        while time.monotonic() < until:
            if case["mode"] == "serial":
                executor.submit(task, case["length"], data).result()
            elif case["mode"] == "starved":
                compute(case["prepare"])
                executor.submit(task, case["length"], data)
            elif case["mode"] == "uneven":
                jobs = [executor.submit(task, 0.02, data) for _ in range(16)]
                jobs.append(executor.submit(task, max(until - time.monotonic() - 0.1, 0.1), data))
                sum(job.result() for job in jobs)
            else:
                jobs = [executor.submit(task, case["length"], data) for _ in range(batch)]
                sum(job.result() for job in jobs)


async def coroutine(case: dict[str, Any]) -> None:
    await asyncio.sleep(0.002)
    if case["mode"] == "loop-sleep":
        time.sleep(case["length"])
    elif case["mode"] == "loop-compute":
        compute(case["length"])
    else:
        await asyncio.sleep(case["length"])


async def loop(case: dict[str, Any], until: float) -> None:
    while time.monotonic() < until:
        await asyncio.gather(*(coroutine(case) for _ in range(case["count"])))


def locked(case: dict[str, Any], lock: threading.Lock, until: float) -> None:
    while time.monotonic() < until:
        with lock:
            native(case["length"])
        time.sleep(0)


def main() -> None:
    case = json.loads(sys.argv[1])
    case["loops"] = speed()
    until = time.monotonic() + case["seconds"]
    mode = case["mode"]
    if mode == "threads" and case["count"] == 1:
        turns(case, until)
    elif mode == "threads":
        with ThreadPoolExecutor(case["count"]) as executor:
            list(executor.map(turns, [case] * case["count"], [until] * case["count"]))
    elif mode == "lock":
        lock = threading.Lock()
        with ThreadPoolExecutor(case["count"]) as executor:
            list(
                executor.map(locked, [case] * case["count"], [lock] * case["count"], [until] * case["count"])
            )
    elif mode.startswith("loop"):
        asyncio.run(loop(case, until))
    else:
        pool(case, until)


if __name__ == "__main__":
    main()
