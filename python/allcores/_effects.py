"""What a function could change, as far as can be told from outside: before allcores.map() lets it leave its thread.

Code is read for names that it rebinds (globals, closed-over). From the function, everything is followed that it
reaches through closure cells, defaults, its bound object, and the globals that it and the user's functions it names
refer to. What is found is one of
- fixed: numbers, strings, modules, the libraries' functions and classes;
- state: containers and objects made of such, compared before and after calls (`State`);
- stateful: an iterator or generator; each call of next() changes it;
- opaque: holds a lock, a socket, a file, or cannot be looked into.
"""

from __future__ import annotations

import dis
import functools
import importlib
import io
import os
import pickle
import sys
from collections import OrderedDict, defaultdict, deque
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any

MOST = 100_000  # objects that are looked at
MOST_BYTES = 1 << 24  # of one buffer that is compared
_ATOMS = (
    int,
    float,
    complex,
    str,
    bytes,
    bool,
    type(None),
    type(Ellipsis),
    range,
    slice,
    CodeType,
    ModuleType,
)
_CONTAINERS = (list, dict, set, bytearray, deque, OrderedDict, defaultdict)
_FIXED_MODULES = {"re", "datetime", "decimal", "uuid", "fractions", "pathlib", "zoneinfo", "ipaddress", "enum",
                  "operator", "logging", "_operator", "typing", "types", "builtins", "struct", "_struct"}  # fmt: skip
_MUTATORS = frozenset((
    "append", "add", "update", "pop", "extend", "insert", "remove", "clear", "setdefault", "popitem",
    "discard", "sort", "reverse", "appendleft", "popleft", "extendleft", "rotate", "write", "fill",
    "put", "resize", "seed", "shuffle", "send", "throw", "__next__", "next", "setattr", "delattr",
    "__setitem__",
))  # fmt: skip
_STORES = frozenset({"STORE_ATTR", "DELETE_ATTR", "STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"})


@functools.lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    """The folders of installed code."""
    import site
    import sysconfig

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [*map(sysconfig.get_path, names), *site.getsitepackages()]
    return tuple({os.path.realpath(folder) + os.sep for folder in folders if folder})


@functools.lru_cache(maxsize=4096)
def _is_library(module: str, file: str) -> bool:
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return True
    return os.path.realpath(file).startswith(_libraries())


def is_fixed(value: Any) -> bool:
    """Whether nothing that a call does can change the value: an atom, or a tuple of such."""
    return type(value) in _ATOMS or (type(value) is tuple and all(map(is_fixed, value)))


class _Code:
    """What a code object and those inside it do to names."""

    def __init__(self, code: CodeType) -> None:
        self.names: set[str] = set()
        self.rebinds: str | None = None
        self.mutates = False
        self._read(code, frozenset(code.co_freevars))

    def _read(self, code: CodeType, free: frozenset[str]) -> None:
        self.names.update(code.co_names)
        self.mutates |= not _MUTATORS.isdisjoint(code.co_names)
        for one in dis.get_instructions(code):
            if one.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
                self.rebinds = self.rebinds or f"the global {one.argval}"
            elif one.opname in ("STORE_DEREF", "DELETE_DEREF") and one.argval in free:
                self.rebinds = self.rebinds or f"the closed-over {one.argval}"
            elif one.opname in _STORES or (one.opname == "BINARY_OP" and one.argrepr.endswith("=")):
                self.mutates = True
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                self._read(constant, free)


_codes: dict[CodeType, _Code] = {}


def _code_of(code: CodeType) -> _Code:
    known = _codes.get(code)
    if known is None:
        if len(_codes) >= 4096:
            _codes.clear()
        known = _codes[code] = _Code(code)
    return known


class Effects:
    """What one function reaches.

    rebinds, stateful, opaque: in words, None for none. state: (words, object) of what can be compared. mutates: its
    code has something that could change state.
    """

    def __init__(self, fn: Any) -> None:
        self.rebinds: str | None = None
        self.stateful: str | None = None
        self.opaque: str | None = None
        self.mutates = False
        self.state: list[tuple[str, Any]] = []
        self.data: list[tuple[str, str]] = []  # (module, name) of values in modules that workers import anew
        self.digest = b""  # of their values here
        self._seen: dict[int, Any] = {}
        self._left = MOST
        self._any(fn, getattr(fn, "__qualname__", repr(type(fn))))

    def against_processes(self) -> str | None:
        """Why the function may not be called in another process, or None."""
        if self.opaque:
            return f"it uses {self.opaque}"
        try:
            self.digest = digest(self.data)
        except Exception as error:
            return f"its module's values cannot be compared with a worker's: {error}"
        return None

    @property
    def wants_check(self) -> bool:
        """Whether a worker has to see that it has the same values, and that calls do not change its state."""
        return bool(self.data) or (self.mutates and bool(self.state))

    def _any(self, thing: Any, words: str) -> None:
        kind = type(thing)
        if isinstance(thing, _ATOMS) or id(thing) in self._seen or self._left <= 0:
            return
        self._seen[id(thing)] = thing
        self._left -= 1
        if self._left <= 0:
            self.opaque = self.opaque or f"{words} (too many objects to compare)"
        elif kind is FunctionType:
            self._function(thing)
        elif kind is MethodType:
            self._any(thing.__func__, words)
            self._any(thing.__self__, words)
        elif kind in (BuiltinFunctionType, MethodWrapperType):
            self._any(getattr(thing, "__self__", None), f"the object of {words}")
        elif kind is functools.partial:
            for part in (thing.func, thing.args, thing.keywords):
                self._any(part, words)
        elif isinstance(thing, type):
            self._class(thing)
        elif kind in (tuple, frozenset):
            for item in thing:
                self._any(item, words)
        elif kind in _CONTAINERS:
            self._container(thing, words)
        else:
            self._object(thing, words)

    def _function(self, fn: FunctionType) -> None:
        if hasattr(fn, "__wrapped__"):
            self._any(fn.__wrapped__, fn.__qualname__)
        if _is_library(fn.__module__ or "", fn.__code__.co_filename):
            return
        code = _code_of(fn.__code__)
        self.rebinds = self.rebinds or code.rebinds
        self.mutates |= code.mutates
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            try:
                self._any(cell.cell_contents, name)
            except ValueError:  # empty
                pass
        self._any(fn.__defaults__, f"a default of {fn.__qualname__}")
        self._any(fn.__kwdefaults__ or None, f"a default of {fn.__qualname__}")
        if fn.__dict__:
            self._any(fn.__dict__, f"{fn.__qualname__}.__dict__")
        scope = fn.__globals__
        for name in code.names:
            value = scope.get(name)
            self._any(value, name)
            if name in scope and fn.__module__ != "__main__" and not _by_name(value):
                self.data.append((fn.__module__, name))
            if isinstance(value, ModuleType):
                for attribute in code.names:
                    if attribute in value.__dict__:
                        self._any(value.__dict__[attribute], f"{name}.{attribute}")

    def _class(self, kind: type) -> None:
        if _is_library(kind.__module__, getattr(sys.modules.get(kind.__module__), "__file__", None) or ""):
            return
        self.state.append((kind.__qualname__, kind))
        for name, value in list(vars(kind).items()):
            if not (name.startswith("__") and name.endswith("__")) or isinstance(value, FunctionType):
                self._any(getattr(value, "__func__", value), f"{kind.__qualname__}.{name}")

    def _container(self, thing: Any, words: str) -> None:
        self.state.append((words, thing))
        self._left -= len(thing)
        if isinstance(thing, bytearray):
            return
        for item in list(thing.values() if isinstance(thing, dict) else thing):
            if not isinstance(item, _ATOMS):
                self._any(item, words)

    def _object(self, thing: Any, words: str) -> None:
        kind = type(thing)
        if kind.__module__ in _FIXED_MODULES or kind.__name__ in ("_lru_cache_wrapper", "module", "ufunc"):
            return
        if hasattr(kind, "__next__"):
            self.stateful = self.stateful or f"the iterator {words}"
        elif hasattr(thing, "__dict__") and isinstance(thing.__dict__, dict) and not _in_c(kind):
            outer, self.opaque = self.opaque, None
            length = len(self.state)
            self._any(kind, words)
            self.state.append((words, thing))
            for name, value in list(thing.__dict__.items()):
                self._any(value, f"{words}.{name}")
            if self.opaque is not None:  # it takes care of its own parts, as what has a lock does
                del self.state[length:]
            self.opaque = outer or self.opaque
        elif _frozen(thing) is None:
            self.opaque = self.opaque or f"{words} ({kind.__module__}.{kind.__qualname__})"
        else:
            self.state.append((words, thing))


def _by_name(value: Any) -> bool:
    return isinstance(value, ModuleType | FunctionType | BuiltinFunctionType | type)


def digest(data: list[tuple[str, str]]) -> bytes:
    """Of these globals' values. Without pickle's memo, which tells equal values apart by identity."""
    import hashlib

    total = hashlib.blake2b(digest_size=16)
    for module, name in data:
        stream = io.BytesIO()
        pickler = pickle.Pickler(stream, protocol=5)
        pickler.fast = True
        pickler.dump(vars(importlib.import_module(module)).get(name))
        total.update(stream.getvalue())
    return total.digest()


def _in_c(kind: type) -> bool:
    """Whether instances have more than their __dict__: a base class that is C and not object."""
    return any(
        base is not object and not base.__flags__ & (1 << 9) and base.__module__ not in ("abc", "typing")
        for base in kind.__mro__
    )


def _frozen(thing: Any) -> Any:
    """Something that is equal as long as the object's state is, or None."""
    buffers: list[Any] = []
    try:
        stream = pickle.dumps(thing, protocol=5, buffer_callback=buffers.append)
        views = [one.raw() for one in buffers]
        if len(stream) + sum(view.nbytes for view in views) > MOST_BYTES:
            return None
        return stream, *(view.tobytes() for view in views)
    except Exception:
        return None


def _shallow(thing: Any) -> Any:
    """What the object holds, itself kept alive so that identities stay unique."""
    if isinstance(thing, dict):
        return [*thing.keys(), *thing.values()]
    if isinstance(thing, bytearray):
        return [bytes(thing)]
    if isinstance(thing, set | list | deque):
        return [*thing]
    if isinstance(thing, type):
        return [*vars(thing).keys(), *vars(thing).values()]
    return None


class State:
    """The state that a function reaches, as it was at a moment."""

    def __init__(self, effects: Effects) -> None:
        self._held = [(words, thing, *self._of(thing)) for words, thing in effects.state]

    @staticmethod
    def _of(thing: Any) -> tuple[list[Any] | None, Any]:
        shallow = _shallow(thing)
        if shallow is None and hasattr(thing, "__dict__") and not _in_c(type(thing)):
            shallow = _shallow(thing.__dict__)
        return shallow, None if shallow is not None else _frozen(thing)

    def changed(self) -> str | None:
        """The first object, in words, that is not as it was."""
        for words, thing, before, stream in self._held:
            now, now_stream = self._of(thing)
            if (before is None) != (now is None) or stream != now_stream:
                return words
            if before is not None and now is not None:
                same = len(before) == len(now) and all(map(_same, before, now))
                if not same:
                    return words
        return None


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and isinstance(a, str | bytes) and a == b)
