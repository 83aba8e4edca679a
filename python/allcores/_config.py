"""What a new worker is told: the parent's surroundings as of the pool's start, as marshal of plain values."""

from __future__ import annotations

import marshal
import os
import sys

from allcores._late import loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def thread_cap(workers: int) -> int:
    """BLAS and OpenMP threads for each worker: usable CPUs / workers; 0 where the user has set one himself."""
    from allcores import _ext

    if any(name in os.environ for name in _THREADS):
        return 0
    return max(1, _ext.usable_cpus() // workers)


def main_module() -> tuple[str, str] | None:
    """How to run the main module again: ("module", name), ("path", file), or None."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return ("module", spec.name)
    path = getattr(main, "__file__", None)
    return ("path", os.path.abspath(path)) if path and os.path.exists(path) else None


class OnlyByFork(Exception):
    """Locks and shared values of multiprocessing's fork context, its default before 3.14, reach forks only."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


def pickled_initializer(
    initializer: Callable[..., object] | None, initargs: tuple[Any, ...], reach: Any
) -> Any:
    """(stream or None, descriptors to hand on): initargs may hold what multiprocessing passes to children only.

    Raises OnlyByFork where that takes a fork of this process, and that is what multiprocessing does by default.
    """
    if initializer is None:
        return None, ()
    from allcores import _pickling

    try:
        return _pickling.in_band((initializer, initargs), reach), ()
    except RuntimeError:
        if "multiprocessing" not in sys.modules:
            raise
    return _as_for_a_child((initializer, initargs), reach)


def _as_for_a_child(value: Any, reach: Any) -> Any:
    from multiprocessing import context

    from allcores import _pickling
    from allcores._worker import PassedFd

    fds: list[int] = []

    class Passer:
        """In place of the process that multiprocessing believes to be starting."""

        DupFd = PassedFd

        def duplicate_for_child(self, fd: int) -> int:
            fds.append(os.dup(fd))
            return len(fds) - 1

    passer: Any = Passer()
    context.set_spawning_popen(passer)
    try:
        return _pickling.in_band(value, reach), tuple(fds)
    except (RuntimeError, ValueError) as error:
        default = "fork" if sys.version_info < (3, 14) else "forkserver"
        if (context._default_context.get_start_method(allow_none=True) or default) != "fork":
            raise
        raise OnlyByFork(error) from error
    finally:
        context.set_spawning_popen(None)


def make(
    max_tasks: int,
    workers: int,
    initializer: bytes | None,
    main: tuple[str, str] | None,
    zygotes: dict[bytes, bytes],
) -> bytes:
    """The configuration's bytes. `zygotes`: the environment that a worker has before it reads them."""
    from allcores import _spawn

    environ = dict(os.environb)
    cap = thread_cap(workers)
    if cap:
        environ.update((name.encode(), str(cap).encode()) for name in _THREADS)
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = "/"
    return marshal.dumps(
        {
            "path": [str(entry) for entry in sys.path],
            "argv": [str(arg) for arg in getattr(sys, "argv", [])],
            "prefix": (sys.prefix, sys.exec_prefix),
            "cwd": cwd,
            "environ": {
                name: environ.get(name)
                for name in zygotes.keys() | environ.keys()
                if zygotes.get(name) != environ.get(name)
            },
            "site": _spawn.needs_site(),
            "warnings": _warning_filters(),
            "int_digits": sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else 0,
            "authkey": _authkey(),
            "main": main,
            "initializer": initializer,
            "max_tasks": max_tasks,
        }
    )


def _authkey() -> bytes | None:
    """Without it, proxies of a multiprocessing.Manager cannot connect."""
    process = loaded("multiprocessing.process")
    return None if process is None else bytes(process.current_process().authkey)


def _warning_filters() -> list[Any] | None:
    """The filters as plain values; None where they are as the interpreter makes them."""
    if (warnings := loaded("warnings")) is None:
        return None
    filters = [_plain_filter(entry) for entry in warnings.filters]
    return None if filters == _DEFAULT_FILTERS else filters


def _plain_filter(entry: tuple[Any, ...]) -> tuple[Any, ...]:
    action, message, category, module, line = entry
    return (action, *_pattern(message), category.__module__, category.__qualname__, *_pattern(module), line)


def _pattern(pattern: Any) -> tuple[str | None, int]:
    if pattern is None:
        return None, 0
    return (pattern, 0) if isinstance(pattern, str) else (pattern.pattern, pattern.flags)


_DEFAULT_FILTERS = [
    ("default", None, 0, "builtins", "DeprecationWarning", "__main__", 0, 0),
    ("ignore", None, 0, "builtins", "DeprecationWarning", None, 0, 0),
    ("ignore", None, 0, "builtins", "PendingDeprecationWarning", None, 0, 0),
    ("ignore", None, 0, "builtins", "ImportWarning", None, 0, 0),
    ("ignore", None, 0, "builtins", "ResourceWarning", None, 0, 0),
]
