"""The one Python thread of a pool: callbacks and waiters, deaths, forks of the fork context, and the end.

It sleeps in the engine without the GIL and is not on the way of a result that somebody waits for.
"""

from __future__ import annotations

import _signal
import errno
import os
import threading
from _weakref import ref

from allcores import _ext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from allcores._state import PoolState

IDLE_DEATHS = 3  # workers that die in a row without ever having had a task: the pool is broken
KILLED = 0.01  # what counts of such a death where somebody else killed the worker


class Manager(threading.Thread):
    """Runs until the pool was shut down and its workers are gone."""

    def __init__(
        self,
        executor: object,
        engine: _ext.Engine,
        state: PoolState,
        fork: Callable[[], Any] | None,
        ended: Callable[[Manager], object],
    ) -> None:
        super().__init__(name="allcores-manager")
        self._engine = engine
        self._state = state
        self._ended = ended  # called with this thread when it is done
        self._fork = fork  # makes a started multiprocessing process
        self._idle_deaths = 0.0
        # the name is bound here: at the interpreter's end the module's own are gone
        self._executor = ref(executor, lambda _, drop=dropped: drop(engine, state))  # type: ignore[misc]

    def run(self) -> None:
        """The thread's body."""
        while True:
            self._engine.next_done(None)
            if self._engine.fork_wanted():
                self._make_worker()
            while (death := self._engine.next_death()) is not None:
                self._on_death(*death)
            if self._executor() is None and not self._state.shut:
                self._state.shut = True
                self._engine.shutdown()
            if (self._state.shut or self._state.broken) and self._engine.join(0):
                break
        while self._engine.next_done(0):
            pass
        while (death := self._engine.next_death()) is not None:
            self._on_death(*death)
        self._state.close()
        del self._engine
        self._ended(self)

    def _make_worker(self) -> None:
        assert self._fork is not None
        pid, pidfd = -errno.EAGAIN, -1
        try:
            process = self._fork()
            self._state.forked[process.pid] = process
            pid = process.pid
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            pid = -(error.errno or errno.EAGAIN)
        finally:
            self._engine.fork_done(pid, pidfd)

    def _on_death(
        self, kind: int, worker: int, pid: int, status: int, rss: int, error: int, ticket: int
    ) -> None:
        if kind == _ext.DEATH_NO_WORKERS:
            reason = os.strerror(-error) if error < 0 else "they died"
            self._state.break_pool(f"no worker process could be started: {reason}")
            return
        self._state.statuses[pid] = status
        if (process := self._state.forked.pop(pid, None)) is not None:
            process.join(1)
        self._state.processes.pop(pid, None)
        why = self._state.no_replacement
        if why and not self._engine.workers() and self._engine.stats()["queued"]:
            self._state.break_pool(f"no worker is left, and none is started since {why}")
        if kind != _ext.DEATH_CRASH or self._state.shut:
            return
        from allcores import _errors

        killed = status & 0x7F in (_signal.SIGKILL, _signal.SIGTERM)
        self._idle_deaths = 0 if ticket else self._idle_deaths + (KILLED if killed else 1)
        words = _errors.ending(status)[2]
        if status == _errors.EXIT_INITIALIZER << 8:
            self._state.break_pool(_errors.INITIALIZER_FAILED)
        elif self._state.strict:
            self._state.break_pool(
                f"worker process {pid} {words}: a process in the pool was terminated abruptly"
            )
        elif self._idle_deaths >= IDLE_DEATHS:
            self._state.break_pool(
                f"workers keep dying before they have had a task; the last, {pid}, {words}"
            )


def dropped(engine: _ext.Engine, state: PoolState) -> None:
    """The executor was collected: what was submitted still runs. The standard pool starts no worker for it, though."""
    if state.strict:
        state.replace_no_worker("the executor was garbage collected")
    engine.wake()
