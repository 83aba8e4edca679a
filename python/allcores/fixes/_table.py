"""Which rewrites each verdict may ask for, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable

from allcores.fixes import _loops, _pools
from allcores.fixes._source import Source

REWRITES: dict[str, tuple[Callable[[Source], bool], ...]] = {
    "gil-bound-threads": (_pools.threads_to_processes,),
    "single-thread-python": (_loops.loop_to_processes,),
    "single-thread-native": (_loops.loop_to_threads,),
    "io-sequential": (_loops.loop_to_threads,),
    "serial-pool-use": (_pools.collect_later,),
    "tiny-tasks": (_pools.chunks,),
}
