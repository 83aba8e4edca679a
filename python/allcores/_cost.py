"""What an item would cost where: the model behind allcores.map().

Of an item are known: wall time t, CPU time c, the time g that it holds the GIL, and p, what pickling takes one way.
- inline: t
- n threads: the slowest of t/n, c and the dispatch on both sides over the CPUs, and g + dispatch, for one thread
  at a time holds the GIL;
- processes: n workers and the calling thread share the items so that they end together. A worker's item costs
  t + p, the calling thread's t, and each item that was sent costs the calling thread p.
The constants are measured by bench/map.py on two cores of 2.x GHz; they matter only where the choice is close.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from allcores._plan import Plan

THREAD_S = 8e-6  # a task of the thread pool, GIL handed over twice
SEND_S = 2.5e-7  # an item of a chunk of plain numbers, each way
PER_BYTE = 1.5e-10  # out-of-band buffers
COLD_S = 0.12  # until a first worker is there
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


def choose(plan: Plan, left: int | None) -> Choice | None:
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
    plan.facts.costs = {
        "inline": wall,
        "threads": max(wall / threads, gil + THREAD_S, (cpu + 2 * THREAD_S) / cpus),
    }
    # a call that waits leaves its CPU to another
    spare = cpus * wall / max(cpu, wall / 2)
    workers = max(1, min(asked or 2 * cpus, round(spare))) - (asked is None)
    if plan.facts.no_processes is None and workers > 0:
        pickling = sum(plan.pickling) / len(plan.pickling) if plan.pickling else 0.0
        plan.facts.costs["processes"] = max(in_processes(wall, pickling, workers), cpu / cpus)
    lines = sys.modules.get("allcores._lines")  # not imported for work that stays
    if (lines is None or lines.processes_cold()) and left is not None and left * wall < 2 * COLD_S:
        plan.facts.costs.pop("processes", None)
    best = min(plan.facts.costs, key=lambda name: plan.facts.costs[name])
    if best == "processes" and plan.facts.costs["threads"] <= 1.05 * plan.facts.costs[best]:
        best = "threads"
    if plan.facts.costs[best] >= GAIN * wall:
        plan.facts.reason = "nothing else is estimated to be sooner"
        return None
    waits = max(0.0, 1 - cpu / wall)
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
