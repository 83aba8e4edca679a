"""Worker processes as others expect to find them in ``executor._processes``."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from allcores._state import PoolState


class WorkerProcess:
    """A worker: the part of multiprocessing.Process that looks at it and ends it."""

    def __init__(self, pid: int, state: PoolState) -> None:
        self.pid = pid
        self.name = f"AllcoresWorker-{pid}"
        self.daemon = False
        self._state = state
        try:
            self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._pidfd = -1
        else:
            weakref.finalize(self, os.close, self._pidfd)

    ident = property(lambda self: self.pid)

    @property
    def sentinel(self) -> int:
        """A descriptor that becomes readable when the process ends."""
        return self._pidfd

    @property
    def exitcode(self) -> int | None:
        """Exit code, minus the signal's number where one ended it; None while it runs or where it is not known."""
        status = self._state.statuses.get(self.pid)
        if status is None or status < 0:
            return None
        return -(status & 0x7F) if status & 0x7F else status >> 8

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._pidfd >= 0 and not select.select([self._pidfd], [], [], 0)[0]

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, `timeout` seconds at most."""
        if self._pidfd >= 0:
            poll = select.poll()
            poll.register(self._pidfd, select.POLLIN)
            poll.poll(None if timeout is None else max(0, timeout) * 1000)

    def terminate(self) -> None:
        """SIGTERM."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self._send(signal.SIGKILL)

    def close(self) -> None:
        """Nothing to do: there for those who call it."""

    def _send(self, number: int) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def __repr__(self) -> str:
        return f"<WorkerProcess pid={self.pid} {'running' if self.is_alive() else 'ended'}>"
