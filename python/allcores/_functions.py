"""How a function gets to the workers: by name, by value once per pool, or with each task.

A function by value is keyed by its pickle, so that a changed global or a re-run notebook cell is seen. Pickling
costs 50 us, so it is left out while everything that the function refers to is the same and cannot change.
"""

from __future__ import annotations

import sys
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

from allcores import _ext
from allcores._reach import name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from allcores._reach import Reach
    from allcores._state import PoolState

LARGE_CAPTURE = 1 << 20  # bytes of a function from which on its user is told
MOST_WATCHED = 64  # functions by value that are kept alive, since nothing they refer to can change
MOST_BY_VALUE = 4096  # functions kept for the workers; more travel with their tasks
_FIXED = (int, float, complex, str, bytes, bool, type(None), type(Ellipsis), range, CodeType, ModuleType)


def _names(code: CodeType) -> set[str]:
    """Global names that the code and the functions inside it may use."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names(constant)
    return names


def _is_fixed(value: Any) -> bool:
    """Whether the value cannot change without changing its identity."""
    kind = type(value)
    if kind is tuple:
        return all(_is_fixed(item) for item in value)
    return (
        kind in _FIXED
        or kind is BuiltinFunctionType
        or (isinstance(value, type) and value.__module__ != "__main__")
    )


def _reached(function: FunctionType) -> Iterator[tuple[Any, Any, Any]]:
    """(holder, name, value) of everything that the function takes along; NotImplemented stands for nothing."""
    yield (
        function,
        function.__code__,
        NotImplemented if function.__defaults__ is None else function.__defaults__,
    )
    for cell in function.__closure__ or ():
        try:
            yield cell, None, cell.cell_contents
        except ValueError:
            yield cell, None, NotImplemented
    scope = function.__globals__
    for name in sorted(_names(function.__code__)):
        yield scope, name, scope.get(name, NotImplemented)


def watches(function: FunctionType, seen: set[int] | None = None) -> list[Any] | None:
    """What decides the function's meaning, as a flat list of holder, name and value; None if any of it can change
    without changing identity. While it holds (src/ext/executor.c looks) the function need not be pickled anew."""
    seen = seen or {id(function)}
    if function.__dict__ or function.__kwdefaults__:
        return None
    flat: list[Any] = []
    for holder, name, value in _reached(function):
        flat += (holder, name, value)
        if isinstance(value, FunctionType):
            if id(value) not in seen:
                seen.add(id(value))
                inner = watches(value, seen)
                if inner is None:
                    return None
                flat += inner
        elif value is not NotImplemented and not _is_fixed(value):
            return None
    return flat


class Functions:
    """One pool's functions."""

    def __init__(self, engine: _ext.Engine, reach: Reach, state: PoolState) -> None:
        self._engine = engine
        self._reach = reach
        self._state = state
        # Key of those by name; (key, *watches) of those by value. src/ext/executor.c looks here first.
        self.fixed: dict[Any, int | tuple[Any, ...]] = {}
        self._by_stream: dict[bytes, int] = {}
        self._watched: list[FunctionType] = []  # those by value that are in `fixed`

    def key(self, fn: Any) -> int:
        """The key under which workers find fn; 0: it must travel with each task. Raises what pickling raises."""
        if not isinstance(fn, FunctionType | BuiltinFunctionType) and type(fn) is not type:
            return 0
        if isinstance(fn, BuiltinFunctionType) and not isinstance(fn.__self__, ModuleType | type(None)):
            return 0
        name = name_of(fn, self._reach)
        if name is not None:
            key = self._engine.share(_ext.BY_NAME, name.encode())
            self._state.names[key] = name.replace(":", ".")
            self.fixed[fn] = key
            return key
        return self._by_value(fn) if isinstance(fn, FunctionType) else 0

    def _by_value(self, fn: FunctionType) -> int:
        self.fixed.pop(fn, None)
        key = self._key_of(fn)
        watched = watches(fn) if key and fn not in self.fixed else None
        if watched is not None:
            if len(self._watched) >= MOST_WATCHED:
                for old in self._watched:
                    self.fixed.pop(old, None)
                self._watched.clear()
            self._watched.append(fn)
            self.fixed[fn] = (key, *watched)
        return key

    def _key_of(self, fn: FunctionType) -> int:
        from allcores import _pickling

        label = f"{fn.__module__}.{fn.__qualname__}"
        try:
            stream = _pickling.in_band(fn, self._reach)
        except Exception as reason:
            return self._by_main_name(fn, label, reason)
        key = self._by_stream.get(stream)
        if key is None:
            if len(self._by_stream) >= MOST_BY_VALUE:
                return 0
            _warn_if_large(label, len(stream))
            key = self._by_stream[stream] = self._engine.share(_ext.BY_VALUE, stream)
            self._state.names[key] = label
        return key

    def _by_main_name(self, fn: FunctionType, label: str, reason: Exception) -> int:
        """By value it will not go: a function of __main__ can be had by running the main module in the worker."""
        if fn.__module__ != "__main__" or "<locals>" in fn.__qualname__ or "<lambda>" in fn.__qualname__:
            reason.add_note(
                f"allcores: {label} cannot be reached by name in a worker, and not sent by value either"
            )
            raise reason
        if self._state.main is None:
            reason.add_note(
                f"allcores: {label} cannot be sent by value, and there is no main module to find it in"
            )
            raise reason
        sys.modules.setdefault("__mp_main__", sys.modules["__main__"])  # what workers call it
        key = self._engine.share(_ext.BY_NAME, f"__main__:{fn.__qualname__}\0{reason}".encode())
        self._state.names[key] = label
        self.fixed[fn] = key
        return key


def _warn_if_large(label: str, size: int) -> None:
    if size > LARGE_CAPTURE:
        import warnings

        warnings.warn(
            f"{label} takes {size / 2**20:.1f} MiB of captured objects to every worker; pass them as arguments, or "
            "load them in an initializer",
            RuntimeWarning,
            stacklevel=5,
        )
