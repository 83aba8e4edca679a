"""The zygote's start: a clean interpreter, one for each process that has pools, that forks their workers."""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock

from allcores import _ext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MARK = (
    "ALLCORES_ZYGOTE"  # in the environment of a zygote: whoever finds it and is none must not start another
)

_lock = allocate_lock()
_current: _Running | None = None


class _Running:
    def __init__(self, handle: _ext.Zygote, pid: int, environ: dict[bytes, bytes]) -> None:
        self.handle = handle
        self.pid = pid
        self.environ = environ  # that it was started with, and its workers begin with
        self.pidfd = os.pidfd_open(pid)

    def alive(self) -> bool:
        import select

        return not select.select([self.pidfd], [], [], 0)[0]

    def __del__(self) -> None:
        os.close(self.pidfd)


def refuse_foreign_interpreter() -> None:
    """Raise RuntimeError where sys.executable cannot be started as a Python."""
    why = None
    if getattr(sys, "frozen", False):
        why = "this program is frozen: its executable is not a Python interpreter"
    elif not sys.executable:
        why = "sys.executable is not set, as in an embedded interpreter"
    elif MARK in os.environ:
        why = f"{sys.executable} was started as a Python interpreter and ran something else"
    if why:
        raise RuntimeError(
            f"ProcessPoolExecutor cannot start worker processes: {why}; set sys.executable to a Python, or pass "
            "mp_context=multiprocessing.get_context('fork')"
        )


def zygote() -> _Running:
    """This process's zygote, started if there is none. Returns without waiting for it to come up."""
    global _current
    with _lock:
        if _current is None or not _current.alive():
            refuse_foreign_interpreter()
            _current = _start()
        return _current


_PLAIN_FINDERS = ("BuiltinImporter", "FrozenImporter", "PathFinder", "LateFinder")


def needs_site() -> bool:
    """Whether site has set up more than paths: import hooks of editable installs, sitecustomize."""
    if sys.flags.no_site:
        return False
    finders = [getattr(finder, "__name__", "") for finder in sys.meta_path]
    custom = "sitecustomize" in sys.modules or "usercustomize" in sys.modules
    return custom or any(name not in _PLAIN_FINDERS for name in finders)


def _flags() -> list[str]:
    """The interpreter's own options that matter to a worker."""
    flags = sys.flags
    options = ["-s", "-P"]
    if not needs_site():
        options.append("-S")
    if flags.ignore_environment:
        options.append("-E")
    if flags.optimize:
        options.append("-" + "O" * flags.optimize)
    if flags.dont_write_bytecode:
        options.append("-B")
    for name in ("utf8", "dev", "gil", "int_max_str_digits", "no_debug_ranges", "faulthandler", "importtime"):
        if name in sys._xoptions and name != "importtime":
            value = sys._xoptions[name]
            options += ["-X", name if value is True else f"{name}={value}"]
    return options


def _start() -> _Running:
    ours, theirs = _ext.zygote_socketpair()
    environ = dict(os.environb)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = f"import sys; sys.path.insert(0, {package!r}); from allcores import _zygote; _zygote.main(3, {os.getpid()})"
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    moved = theirs
    if theirs == 3:  # dup2 onto itself would leave close-on-exec set
        moved = os.dup(theirs)
    actions.append((os.POSIX_SPAWN_DUP2, moved, 3))
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *_flags(), "-c", code],
            {**environ, MARK.encode(): str(os.getpid()).encode()},
            file_actions=actions,
            setsigmask=[],
        )
    except OSError as error:
        os.close(ours)
        raise RuntimeError(
            f"the Python for worker processes, {sys.executable}, does not start: {error}"
        ) from error
    finally:
        os.close(theirs)
        if moved != theirs:
            os.close(moved)
    return _Running(_ext.Zygote(ours), pid, environ)


def _forget() -> None:
    """In a forked child: the zygote is the parent's."""
    global _current, _lock
    _lock = allocate_lock()
    _inherited.append(_current)  # not freed: its socket is shared with the parent
    _current = None


_inherited: list[object] = []
os.register_at_fork(after_in_child=_forget)
