"""What the engine asks when a task did not simply return: which exception its future gets."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from allcores._state import PoolState


def _errors() -> Any:
    """allcores._errors, imported late: it takes multiprocessing along."""
    from allcores import _errors

    return _errors


class Outcomes:
    """What the engine calls to make exceptions. One for each pool."""

    def __init__(self, state: PoolState) -> None:
        self._state = state

    def raised(self, described: bytes) -> BaseException:
        """The call raised."""
        exception: BaseException = _errors().rebuild(described)
        return exception

    def unreadable_task(self, described: bytes) -> BaseException:
        """The function or its arguments could not be unpickled in the worker."""
        exception: BaseException = _errors().rebuild(described)
        if not self._state.strict:
            exception.add_note("allcores: raised in the worker while the task was being unpickled")
            return exception
        return self._broken_by("A task could not be unpickled in its worker process", exception)

    def unreadable_result(self, cause: BaseException) -> BaseException:
        """The worker's answer could not be unpickled here."""
        return self._broken_by("A result could not be unpickled", cause)

    def died(
        self, pid: int, status: int, rss_bytes: int, out_of_memory: int, key: int, corrupt: int
    ) -> BaseException:
        """The worker that ran it is dead."""
        if status == _errors().EXIT_INITIALIZER << 8:
            self._state.break_pool(_errors().INITIALIZER_FAILED)
            return self._broken_pool(_errors().INITIALIZER_FAILED)
        task = self._state.names.get(key, "")
        exception: BaseException = _errors().worker_died(
            pid, status, rss_bytes, task, bool(corrupt), bool(out_of_memory)
        )
        if self._state.strict:
            self._state.break_pool(str(exception))
            exception.__cause__ = _errors().abrupt_end(pid, status)
        return exception

    def broken(self) -> BaseException:
        """The pool is broken, so whatever was not done will not be."""
        return self._broken_pool(
            str(self._state.broken or "A process pool without workers: none could be started")
        )

    @staticmethod
    def _broken_pool(text: str) -> BaseException:
        exception: BaseException = _errors().BrokenProcessPool(text)
        return exception

    def _broken_by(self, text: str, cause: BaseException) -> BaseException:
        exception = self._broken_pool(f"{text}: {cause!r}")
        exception.__cause__ = cause
        if self._state.strict:
            self._state.break_pool(str(exception))
        return exception
