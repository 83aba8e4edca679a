"""Which rewrites each verdict may ask for, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable

from allcores.fixes import _awaits, _loops, _pools, _threads
from allcores.fixes._source import Source

REWRITES: dict[str, tuple[Callable[[Source], bool], ...]] = {
    "gil-bound-threads": (_pools.threads_to_processes, _threads.joined_threads),
    "single-thread-python": (_loops.loop_to_processes,),
    "single-thread-native": (_loops.loop_to_threads,),
    "io-sequential": (_loops.loop_to_threads,),
    "serial-pool-use": (_pools.collect_later,),
    "tiny-tasks": (_pools.chunks,),
    "start-up": (_pools.pool_hoisted,),
    "serial-awaits": (_awaits.gathered,),
    "blocked-event-loop": (_awaits.in_a_thread,),
}
