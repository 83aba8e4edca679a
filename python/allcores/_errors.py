"""The exceptions of tasks that did not return. Imports multiprocessing, so itself only when one is needed."""

from __future__ import annotations

import marshal
from typing import Any

try:
    from concurrent.futures.process import BrokenProcessPool
except RuntimeError:  # the interpreter is ending, and that module wants to be told of its end
    from concurrent.futures import BrokenExecutor as BrokenProcessPool  # type: ignore[assignment]

EXIT_INITIALIZER = 121  # a worker whose initializer raised
INITIALIZER_FAILED = "A worker's initializer raised; the traceback went to the worker's log"


class WorkerDied(BrokenProcessPool):
    """The process that ran the task ended before it could answer.

    Attributes:
        pid: the process's id.
        signal: number of the signal that ended it, or None.
        exitcode: code that it exited with, or None.
        task: name of the function that it ran, as far as known.
        rss_bytes: its resident memory in bytes as last seen, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        pid: int = 0,
        signal: int | None = None,
        exitcode: int | None = None,
        task: str = "",
        rss_bytes: int | None = None,
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.signal = signal
        self.exitcode = exitcode
        self.task = task
        self.rss_bytes = rss_bytes


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ending(status: int) -> tuple[int | None, int | None, str]:
    """(signal, exit code, words) of a wait status; -1 is unknown."""
    if status < 0:
        return None, None, "ended, how is not known,"
    number = status & 0x7F
    if number:
        return number, None, f"was killed by {_signal_name(number)}"
    return None, status >> 8, f"exited with code {status >> 8}"


def worker_died(
    pid: int, status: int, rss_bytes: int, task: str, corrupt: bool, out_of_memory: bool
) -> WorkerDied:
    """The exception for one dead worker."""
    number, exitcode, words = ending(status)
    if corrupt:
        words = "damaged the pool's shared memory and was killed"
    text = f"worker process {pid} {words} while it ran {task or 'a task'}"
    if out_of_memory and not corrupt:
        text += "; memory had run out, and the kernel killed it"
    if number == 9 and not corrupt and rss_bytes > 0:
        text += f" (it held {rss_bytes / 2**20:.0f} MiB of memory when last looked at)"
    return WorkerDied(
        text,
        pid=pid,
        signal=number,
        exitcode=exitcode,
        task=task,
        rss_bytes=rss_bytes if rss_bytes >= 0 else None,
    )


def abrupt_end(pid: int, status: int) -> BaseException:
    """The standard pool's cause of a BrokenProcessPool, as of 3.15."""
    number, code, _ = ending(status)
    return _remote_cause(f"process {pid} terminated abruptly with exit code {-number if number else code}\n")


def _remote_cause(text: str) -> BaseException:
    from concurrent.futures import process

    remote: Any = process._RemoteTraceback
    cause: BaseException = remote(f'\n"""\n{text}"""')
    return cause


def _made(kind: type[BaseException], *args: Any) -> BaseException:
    exception = kind.__new__(kind, *args)
    exception.args = args
    return exception


def _without_init(pickled: bytes) -> BaseException | None:
    """An exception whose __init__ takes other arguments than it keeps, which is why it cannot be unpickled: as it
    was, without calling that again. None where that does not do either."""
    import functools
    import io
    import pickle

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            found = super().find_class(module, name)
            is_exception = isinstance(found, type) and issubclass(found, BaseException)
            return functools.partial(_made, found) if is_exception else found

    try:
        exception = Unpickler(io.BytesIO(pickled)).load()
    except Exception:
        return None
    return exception if isinstance(exception, BaseException) else None


class _AsItWas:
    """Stands for an exception on its way: what comes out is that, made without its __init__."""

    def __init__(self, pickled: bytes) -> None:
        self.pickled = pickled

    def __reduce__(self) -> tuple[Any, ...]:
        return _without_init, (self.pickled,)


def as_result(error: Exception) -> Any:
    """An exception that is a result, in a form that arrives."""
    import pickle

    pickled = b""
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception as reason:
        if _without_init(pickled) is not None:
            return _AsItWas(pickled)
        return RuntimeError(f"{type(error).__name__}: {error} (which cannot be sent back: {reason!r})")
    return error


def rebuild(described: bytes) -> BaseException:
    """The exception that a worker described (allcores._worker.describe)."""
    if not described:
        return MemoryError("the task's worker has no memory left, not even to say more")
    import pickle

    pickled, name, text, traceback = marshal.loads(described)
    exception: BaseException
    try:
        exception = pickle.loads(pickled)
        if not isinstance(exception, BaseException):
            raise TypeError(f"{type(exception).__name__} came back in place of an exception")
    except BaseException as reason:
        if isinstance(reason, KeyboardInterrupt):
            raise
        exception = _without_init(pickled) or RuntimeError(
            f"the task raised {name}: {text} (which cannot be unpickled here: {reason!r})"
        )
    exception.__cause__ = _remote_cause(traceback)
    return exception
