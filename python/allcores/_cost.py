"""What an item would cost where: the model behind allcores.map().

Of an item are known: wall time t, CPU time c, the time g that it holds the GIL, and p, what pickling takes one way.
- inline: t
- n threads: the slowest of t/n, c and the dispatch on both sides over the CPUs, and g + dispatch, for one thread
  at a time holds the GIL;
- processes: n workers and the calling thread share the items so that they end together. A worker's item costs
  t + p, the calling thread's t, and each item that was sent costs the calling thread p. Where they have to be started,
  the calling thread is held up while it does that, and then makes items alone until they are there.
The constants are measured by bench/map.py on two cores of 2.x GHz; they matter only where the choice is close.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, NamedTuple

from allcores._late import loaded

if TYPE_CHECKING:
    from allcores._plan import Plan

THREAD_S = 8e-6  # a task of the thread pool, GIL handed over twice
SEND_S = 2.5e-7  # an item of a chunk of plain numbers, each way
PER_BYTE = 1.5e-10  # out-of-band buffers
COLD_S = 0.09  # until a first worker is there (measured: 0.06 to 0.095)
START_S = 0.015  # of it, that the calling thread is held up (measured: 0.01 to 0.018)
MOST_THREADS = 64
GAIN = 0.88  # of the loop's time; above it nothing moves


HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()


class Choice(NamedTuple):
    backend: str
    workers: int
    item_s: float
    reason: str


def threads_for(wall: float, cpu: float, gil: float, cpus: int, most: int) -> int:
    """How many calls may be in flight until the GIL or the CPUs are used up."""
    busy = max(gil + THREAD_S, cpu / cpus, wall / most)
    return max(2, min(most, round(wall / busy + 0.5)))


def in_processes(wall: float, pickling: float, workers: int) -> float:
    """Seconds an item with so many workers beside the calling thread."""
    send = pickling + SEND_S
    remote = wall / ((wall + send) / workers + max(wall - send, 0))
    return max(remote * (wall + send) / workers, send)


def started(item_s: float, wall: float, left: int, start_s: float) -> float:
    """Seconds an item, of so many, in processes that are there in start_s and then take item_s an item."""
    held_up = START_S if start_s >= COLD_S else 0.0
    alone = min(left * wall, start_s - held_up)
    return (held_up + alone + (left * wall - alone) * item_s / wall) / left


def choose(plan: Plan, left: int | None, early: bool = False) -> Choice | None:
    """Where the rest is best made, if not here. early: the first call still runs, so that its figures may change."""
    cpus = plan.cpus
    asked = plan.options["max_workers"]
    wall = plan.wall
    cpu = min(sum(plan.cpu_s) / len(plan.cpu_s), wall * cpus)
    cpu = max(cpu, wall * (plan.facts.gil_share or 0.0))  # who has the GIL waits for a CPU at most
    plan.facts.seen_wall, plan.facts.seen_cpu = wall, cpu
    gil = min(wall, cpu, wall * plan.facts.gil_share) if plan.facts.gil_share is not None else min(cpu, wall)
    if not HAS_GIL:
        gil = 0.0
    threads = threads_for(wall, cpu, gil, cpus, asked or MOST_THREADS)
    at_once = math.inf if left is None else max(left, 1)  # calls
    plan.facts.costs = {
        "inline": wall,
        "threads": max(wall / min(threads, at_once), gil + THREAD_S, (cpu + 2 * THREAD_S) / cpus),
    }
    # a call that waits leaves its CPU to another
    spare = cpus * wall / max(cpu, wall / 2)
    workers = max(1, min(asked or 2 * cpus, round(spare))) - (asked is None)
    if plan.facts.no_processes is None and workers > 0:
        pickling = sum(plan.pickling) / len(plan.pickling) if plan.pickling else 0.0
        plan.facts.costs["processes"] = max(in_processes(wall, pickling, workers), cpu / cpus, wall / at_once)
    lines = loaded("allcores._lines")  # not imported for work that stays
    start_s = COLD_S if lines is None else lines.processes_in_s()
    if start_s and left and "processes" in plan.facts.costs:
        plan.facts.costs["processes"] = started(plan.facts.costs["processes"], wall, left, start_s)
    # seen at a few looks: what threads would gain is within the error
    if early and HAS_GIL and gil > 0.5 * wall:
        plan.facts.costs["threads"] = max(plan.facts.costs["threads"], wall)
    waits = max(0.0, 1 - cpu / wall)
    # of two that are as soon threads, but for a call that waits still and may compute later, when they would take turns
    bias = 1 / 1.05 if early and waits > 0.3 else 1.05
    costs = {**plan.facts.costs, "threads": plan.facts.costs["threads"] / bias}
    best = min(costs, key=lambda name: costs[name])
    if plan.facts.costs[best] >= GAIN * wall:
        plan.facts.reason = "nothing else is estimated to be sooner"
        return None
    if best == "threads":
        kind = (
            f"it waits for {waits:.0%} of its time"
            if waits > 0.3
            else f"it holds the GIL for {gil / wall:.0%}"
        )
        return Choice("threads", threads, plan.facts.costs[best], kind)
    kind = "it computes under the GIL" if gil > 0.5 * cpu else "it computes"
    if waits > 0.3:
        kind = f"it waits for {waits:.0%} and computes the rest"
    return Choice("processes", workers, plan.facts.costs[best], kind)
