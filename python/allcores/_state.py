"""What an executor, its manager thread and its engine share, without keeping one another alive."""

from __future__ import annotations

import _signal
import os
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from allcores._ext import Engine

in_worker = False  # this process runs a pool's tasks


class PoolState:
    """One pool's facts that outlive its executor."""

    def __init__(self, strict: bool) -> None:
        self.strict = strict  # on_crash="break"
        self.broken: str | bool = False
        self.shut = False
        self.engine: Engine | None = None
        self.main: tuple[str, str] | None = None  # how workers find the main module
        self.names: dict[int, str] = {}  # key of a shared function -> what to call it
        self.statuses: dict[int, int] = {}  # pid -> wait status of workers that are gone
        self.forked: dict[int, Any] = {}  # pid -> multiprocessing's process, in the fork context
        self.processes: dict[int, Any] = {}  # pid -> what executor._processes has shown of a live worker
        self.fds: tuple[int, ...] = ()  # ours, handed on to workers
        self.no_replacement = ""  # why no worker is started any more in place of one that has left
        self.lock = allocate_lock()

    def break_pool(self, why: str) -> None:
        """Fail everything that is not done, now and from now on, and end the workers."""
        with self.lock:
            if self.broken:
                return
            self.broken = why
        engine = self.engine
        if engine is not None:
            engine.break_()
            engine.kill(-1, _signal.SIGTERM)
            engine.shutdown()
            engine.wake()

    def replace_no_worker(self, why: str) -> None:
        """Workers that leave are not replaced; when the last has, what waits fails, for this reason."""
        self.no_replacement = why
        if self.engine is not None:
            self.engine.replace_no_worker()

    def close(self) -> None:
        """The manager is done with the pool."""
        fds, self.fds = self.fds, ()
        for fd in fds:
            os.close(fd)
        self.engine = None
