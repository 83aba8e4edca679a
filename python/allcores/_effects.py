"""What a function could change, as far as can be told from outside: before allcores.map() lets it leave its thread.

Its code is read for what it rebinds and writes to (`_writes`). From the function, everything is followed that it
reaches: closure cells, defaults, its bound object, the globals, attributes of modules and methods that it and the
user's functions it names refer to. What is found is one of
- fixed: numbers, strings, modules, the libraries' functions and classes;
- state: containers and objects made of such, compared before and after calls (`State`);
- stateful: an iterator, a file, a queue: each use changes it;
- opaque: holds a lock, a socket, a connection, or cannot be looked into;
- bound to a thread (threading.local, a context variable) or to the process (its CPU time, what a test has patched).
"""

from __future__ import annotations

import functools
import importlib
import io
import os
import pickle
import sys
import threading
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from contextvars import ContextVar
from types import (
    BuiltinFunctionType,
    FunctionType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

from allcores._late import loaded
from allcores._writes import AMBIGUOUS, ATOMS, MISSING, Writes, module_of, writes_of

MOST = 100_000  # objects that are looked at
MOST_ELEMENTS = 5_000_000  # of containers that are compared
MOST_BYTES = 1 << 24  # of one buffer that is compared
_CONTAINERS = (list, dict, set, bytearray, deque, OrderedDict, defaultdict)
_FIXED_MODULES = {"re", "datetime", "decimal", "uuid", "fractions", "pathlib", "zoneinfo", "ipaddress", "enum",
                  "operator", "_operator", "typing", "types", "builtins", "struct", "_struct"}  # fmt: skip
_CODE = (FunctionType, MethodType, BuiltinFunctionType, MethodWrapperType, functools.partial, type)
_FIXED_KINDS = {"module", "ufunc"}
_FIRST = {
    "__init__",
    "__new__",
    "__post_init__",
    "__setstate__",
    "__init_subclass__",
}  # what they write to is new
_STATEFUL_MODULES = {"queue", "_queue", "sqlite3", "_sqlite3", "zlib", "_bz2", "_lzma", "_hashlib", "_hmac", "hmac",
                     "_md5", "_sha1", "_sha2", "_blake2", "_sha3", "_csv", "csv", "pyexpat"}  # fmt: skip
_TO_THREAD = {  # what these say or set is the calling thread's, or everybody's at once
    "threading": ("settrace", "setprofile"),
    "posix": ("chdir", "fchdir", "putenv", "unsetenv", "umask", "nice", "dup2", "close", "read", "write", "writev",
              "readv", "lseek", "sendfile", "ftruncate"),
    "sys": ("setrecursionlimit", "settrace", "setprofile", "_getframe", "exit", "setswitchinterval"),
    "locale": ("setlocale",), "signal": ("signal", "alarm"), "_signal": ("signal", "alarm"),
    "time": ("thread_time", "thread_time_ns", "tzset"), "asyncio.events": ("get_event_loop",),
    "_asyncio": ("get_event_loop", "get_running_loop"), "inspect": ("stack", "currentframe"),
    "warnings": ("warn", "warn_explicit", "simplefilter", "filterwarnings"),
    "_warnings": ("warn", "warn_explicit"),
    "atexit": ("register", "unregister"), "builtins": ("input", "print", "breakpoint"),
}  # fmt: skip
_TO_PROCESS = {  # not its id, or a thread's: who asks for them asks where he is
    "time": ("process_time", "process_time_ns", "clock"),
    "resource": ("getrusage", "setrlimit"),
    "importlib": ("import_module",),
}  # fmt: skip
_BY_NAME = frozenset(("globals", "__import__"))
_NUMPY_ERRORS = {
    "divide": "warn",
    "over": "warn",
    "under": "ignore",
    "invalid": "warn",
}  # unless they were set
_APPENDS = frozenset(("a", "at", "ab", "a+", "ab+", "a+b", "r+", "rb+", "r+b"))
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40, "critical": 50,
           "fatal": 50, "log": 50}  # fmt: skip


@functools.lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    """The folders of installed code."""
    import site
    import sysconfig

    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [*map(sysconfig.get_path, names), *site.getsitepackages()]
    return tuple({os.path.realpath(folder) + os.sep for folder in folders if folder})


@functools.lru_cache(maxsize=4096)
def is_library(module: str, file: str) -> bool:
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return True
    return os.path.realpath(file).startswith(_libraries())


def _is_library_module(name: str) -> bool:
    return is_library(name, getattr(sys.modules.get(name), "__file__", None) or "")


def is_fixed(value: Any) -> bool:
    """Whether nothing that a call does can change the value: an atom, or a tuple of such."""
    return type(value) in ATOMS or (type(value) is tuple and all(map(is_fixed, value)))


class Effects:
    """What one function reaches.

    rebinds, writes, stateful, bound, opaque, returns: in words, None for none. state: (words, object) of what can be
    compared.
    mutates: its code writes to something that cannot be told. writes_arguments: its code writes to an argument.
    """

    def __init__(self, fn: Any) -> None:
        self.rebinds: str | None = None
        self.writes: str | None = None
        self.stateful: str | None = None
        self.bound: str | None = None  # to the calling thread
        self.opaque: str | None = None
        self.returns: str | None = None  # an object that others have, too
        self.mutates = False
        self.writes_arguments = False
        self.state: list[tuple[str, Any]] = _surroundings()
        self.data: list[tuple[str, str]] = []  # (module, path) of values in modules that workers import anew
        self.digest = b""  # of their values here
        self._digested = -1  # how many of them it is of
        self._ambient = len(self.state)
        self._seen: dict[int, Any] = {}
        self._left = MOST
        self._elements = MOST_ELEMENTS
        self._names: set[str] = set()  # that the code read so far has
        self._methods: list[tuple[str, FunctionType]] = []  # of classes, not known to be called
        self._lazy: set[int] = set()  # threading.locals that the code writes to
        self._root(fn)
        self._called_methods()
        self._locals()
        self.bound = self.bound or _of_thread()

    # --- what follows from it

    def stays(self, name: str) -> str | None:
        """Why the function may not leave the calling thread, or None."""
        if self.rebinds:
            return f"{name} rebinds {self.rebinds}"
        if self.writes:
            return f"{name} changes {self.writes}"
        if self.stateful:
            return f"{name} goes on with {self.stateful}"
        if self.bound:
            return f"{name} depends on its thread: {self.bound}"
        return None

    def against_processes(self) -> str | None:
        """Why the function may not be called in another process, or None."""
        if self.opaque:
            return f"it uses {self.opaque}"
        if self.returns:
            return f"it may return {self.returns}, of which a worker would give a copy"
        if self._digested == len(self.data):
            return None
        try:
            self.digest, self._digested = digest(self.data), len(self.data)
        except Exception as error:
            return f"its module's values cannot be compared with a worker's: {error}"
        return None

    @property
    def own_state(self) -> list[tuple[str, Any]]:
        """The state that it names, without that which anybody may change meanwhile."""
        return self.state[self._ambient :]

    @property
    def wants_check(self) -> bool:
        """Whether a worker has to see that it has the same values, and that calls do not change its state."""
        return bool(self.data) or (self.mutates and bool(self.own_state))

    def shares(self, value: Any) -> bool:
        """Whether a result is, or holds right inside, an object that others have too; a copy would be another."""
        parts = value.values() if type(value) is dict else value if type(value) in (list, tuple) else ()
        return any(
            self._seen.get(id(one)) is one and not is_fixed(one) and not _by_name(one)
            for one in (value, *parts)
        )

    def seen(self, surroundings: bool = True) -> State:
        return State(self.state if surroundings else self.own_state)

    # --- the walk

    def _root(self, fn: Any) -> None:
        """The function itself: which of its parameters are not the items'?"""
        words = getattr(fn, "__qualname__", type(fn).__qualname__)
        args: tuple[Any, ...] = ()
        named: dict[str, Any] = {}
        inner = fn
        while isinstance(inner, functools.partial):
            args, named = (*inner.args, *args), {**inner.keywords, **named}
            inner = inner.func
        if not isinstance(inner, FunctionType | MethodType | BuiltinFunctionType | type):
            inner = getattr(inner, "__call__", inner)  # noqa: B004 - its bound method, an instance's class has it
        if isinstance(inner, MethodType):
            args, inner = (inner.__self__, *args), inner.__func__
        self._any(fn, words)
        if isinstance(inner, FunctionType) and not is_library(
            inner.__module__ or "", inner.__code__.co_filename
        ):
            names = inner.__code__.co_varnames[: inner.__code__.co_argcount]
            bound = {**dict(zip(names, args, strict=False)), **named}
            found = writes_of(inner, bound=bound)
            self._writes(found)
            self.writes_arguments = bool(found.params)
            self.returns = found.returns
        elif args and getattr(inner, "__name__", "") in _APPLIED:
            self.writes = self.writes or f"the first argument of {words}"

    def _any(self, thing: Any, words: str) -> None:
        kind = type(thing)
        if isinstance(thing, ATOMS) or id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        self._left -= kind not in _CODE
        if self._left <= 0 and kind not in _CODE:  # code is always read: there is not that much of it
            self.opaque = self.opaque or f"{words} (too many objects to compare)"
        elif kind is FunctionType:
            self._function(thing)
        elif kind is MethodType:
            self._any(thing.__func__, words)
            self._any(thing.__self__, words)
        elif kind in (BuiltinFunctionType, MethodWrapperType):
            self._of_library(thing, words)
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
        elif not self._special(thing, words):
            self._object(thing, words)

    def _of_library(self, fn: Any, words: str) -> None:
        """A library's function whose answer depends on where it is called."""
        module, name = getattr(fn, "__module__", None) or "", fn.__name__
        if module == "logging" and name in _LEVELS:
            self._logger(fn.__globals__["root"], words)
        if name in _TO_THREAD.get(module, ()):
            self.bound = self.bound or {"print": "it prints", "input": "it reads its input"}.get(
                name, f"{words}()"
            )
        elif name in _TO_PROCESS.get(module, ()):
            self.opaque = self.opaque or f"{words}(), which is the process's"

    def _function(self, fn: FunctionType) -> None:
        if hasattr(fn, "__wrapped__"):
            self._any(fn.__wrapped__, fn.__qualname__)
        if hasattr(fn, "registry") and hasattr(fn, "dispatch"):  # singledispatch
            for one in fn.registry.values():
                self._any(one, fn.__qualname__)
        if is_library(fn.__module__ or "", fn.__code__.co_filename):
            self._of_library(fn, fn.__qualname__)
            return
        found = writes_of(fn)
        self._names |= found.names
        self._writes(found)
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            try:
                self._any(cell.cell_contents, name)
            except ValueError:  # empty
                pass
        self._any(fn.__defaults__, f"a default of {fn.__qualname__}")
        self._any(fn.__kwdefaults__ or None, f"a default of {fn.__qualname__}")
        if fn.__dict__:
            self._any(fn.__dict__, f"{fn.__qualname__}.__dict__")
            self._add_data(fn.__module__, f"{fn.__qualname__}.__dict__")
        self._globals(fn, found)
        for module in found.modules:
            self._module(module.rpartition(".")[2], sys.modules[module], found.names)

    def _globals(self, fn: FunctionType, found: Writes) -> None:
        scope = fn.__globals__
        builtin = scope.get("__builtins__")
        builtin = builtin if isinstance(builtin, dict) else vars(builtin) if builtin is not None else {}
        for name in found.names:
            if name not in scope:
                if name in ("print", "input", "breakpoint") and name in builtin:
                    self._any(builtin[name], name)
                elif name in _BY_NAME and name in builtin:
                    self.opaque = self.opaque or f"{name}(), by which it may name anything"
                elif name == "open" and name in builtin and found.consts & _APPENDS:
                    self.writes = self.writes or "a file that it appends to"
                continue
            value = scope[name]
            self._any(value, name)
            if not _by_name(value) or _stands_in(value, fn.__module__, name):
                self._add_data(fn.__module__, name)
            if isinstance(value, ModuleType):
                self._module(name, value, found.names)

    def items(self, row: Any) -> None:
        """What the code calls of one item: it is no part of the function, but its classes and functions are shared."""
        for one in (row, *_inside(row)):
            kind = type(one)
            if kind in _CODE:
                self._any(one, "an item")
            elif (
                not isinstance(one, ATOMS)
                and kind not in _CONTAINERS
                and not _is_library_module(module_of(kind))
            ):
                self._any(kind, kind.__qualname__)
                self.writes_arguments |= any(
                    name in self._names
                    and isinstance(method, FunctionType)
                    and bool(writes_of(method).params)
                    for base in kind.__mro__
                    if not _is_library_module(module_of(base))
                    for name, method in vars(base).items()
                )
        self._called_methods()

    def _module(self, words: str, module: ModuleType, names: set[str], depth: int = 0) -> None:
        """What the code names of a module."""
        library = _is_library_module(module.__name__)
        for name in names & module.__dict__.keys():
            value = module.__dict__[name]
            if isinstance(value, ModuleType):
                if depth < 4 and value is not module:
                    self._module(f"{words}.{name}", value, names, depth + 1)
                continue
            self._any(value, f"{words}.{name}")
            if not library and (not _by_name(value) or _stands_in(value, module.__name__, name)):
                self._add_data(module.__name__, name)
            elif library and isinstance(value, FunctionType) and not is_library(
                value.__module__ or "", value.__code__.co_filename
            ):  # fmt: skip
                self.opaque = self.opaque or f"{words}.{name}, which was replaced in this process"

    def _add_data(self, module: str | None, path: str) -> None:
        if module and module != "__main__" and "<locals>" not in path:
            self.data.append((module, path))

    def _class(self, kind: type) -> None:
        if _is_library_module(module_of(kind)):
            return
        for base in kind.__bases__:
            self._any(base, base.__qualname__)
        self._any(type(kind), type(kind).__qualname__)
        self.state.append((kind.__qualname__, kind))
        for name, value in list(vars(kind).items()):
            value = getattr(value, "__func__", value)
            words = f"{kind.__qualname__}.{name}"
            if isinstance(value, FunctionType):
                self._methods.append((name, value))
            elif isinstance(value, property | functools.cached_property):
                for part in ("fget", "fset", "fdel", "func"):
                    if (method := getattr(value, part, None)) is not None:
                        self._methods.append((name, method))
            elif not (name.startswith("__") and name.endswith("__")):
                self._any(value, words)
                if not _by_name(value) and not type(value).__name__.endswith("_descriptor"):
                    self._add_data(kind.__module__, words)

    def _called_methods(self) -> None:
        """Methods of classes, where the code names them or an operator may call them."""
        while True:
            every = "getattr" in self._names or "attrgetter" in self._names or "methodcaller" in self._names
            ready = [(name, one) for name, one in self._methods
                     if every or name in self._names or name.startswith("__")]  # fmt: skip
            if not ready:
                return
            self._methods = [one for one in self._methods if one not in ready]
            for name, method in ready:
                self._any(method, name)
                if name not in _FIRST and not _is_method_of_library(method):
                    self.mutates |= bool(writes_of(method).params)  # of an object that may be shared

    def _container(self, thing: Any, words: str) -> None:
        self.state.append((words, thing))
        self._elements -= 0 if isinstance(thing, bytearray) else len(thing)
        if self._elements <= 0:
            self.opaque = self.opaque or f"{words} (too many elements to compare)"
        if isinstance(thing, bytearray):
            return
        if isinstance(thing, defaultdict):
            self._any(thing.default_factory, words)
        for item in [*thing.keys(), *thing.values()] if isinstance(thing, dict) else list(thing):
            if not isinstance(item, ATOMS):
                self._any(item, words)

    def _special(self, thing: Any, words: str) -> bool:
        """Kinds of objects of which more is known."""
        kind = type(thing)
        if isinstance(thing, threading.local):
            self.opaque = self.opaque or f"{words} (threading.local)"
            self.state.append((words, Probe(lambda: dict(thing.__dict__))))
        elif isinstance(thing, weakref.ref):
            self._any(thing(), words)
        elif isinstance(thing, ContextVar):
            self.bound = self.bound or f"the context variable {words}"
        elif kind.__name__ == "_lru_cache_wrapper":
            self.state.append((words, Probe(lambda: thing.cache_info()[1::2])))  # misses and size, not hits
            self._any(thing.__wrapped__, words)
        elif module_of(kind) == "logging" and hasattr(thing, "isEnabledFor"):
            self._logger(thing, words)
        elif kind is SimpleNamespace:
            self.state.append((words, thing))
            for name, value in vars(thing).items():
                self._any(value, f"{words}.{name}")
        elif isinstance(thing, io.IOBase) or module_of(kind) in _STATEFUL_MODULES:
            self.stateful = self.stateful or f"{words} ({module_of(kind).lstrip('_')}.{kind.__qualname__})"
        elif hasattr(kind, "__next__"):
            self.stateful = self.stateful or f"the iterator {words}"
        else:
            return False
        return True

    def _logger(self, logger: Any, words: str) -> None:
        if any(logger.isEnabledFor(level) for name, level in _LEVELS.items() if name in self._names):
            self.opaque = self.opaque or f"the logger of {words}, whose handlers are in this process"

    def _object(self, thing: Any, words: str) -> None:
        kind = type(thing)
        if (
            module_of(kind) in _FIXED_MODULES and kind.__name__ != "Context"
        ) or kind.__name__ in _FIXED_KINDS:
            if hasattr(thing, "__wrapped__") or kind in (staticmethod, classmethod):
                self._any(getattr(thing, "__func__", None), words)
            return
        if hasattr(thing, "__dict__") and isinstance(thing.__dict__, dict) and not _in_c(kind):
            outer, self.opaque = self.opaque, None
            length = len(self.state)
            self._any(kind, words)
            self.state.append((words, thing))
            for name, value in [*thing.__dict__.items(), *_slots(thing)]:
                self._any(value, f"{words}.{name}")
            if self.opaque is not None and _is_library_module(module_of(kind)):
                del self.state[length:]  # it takes care of its own parts, as what has a lock does
            self.opaque = outer or self.opaque
            return
        self._any(kind, words)
        for item in thing if isinstance(thing, tuple) else ():
            self._any(item, words)
        for name, value in _slots(thing):
            self._any(value, f"{words}.{name}")
        if _frozen(thing) is None:
            self.opaque = self.opaque or f"{words} ({module_of(kind)}.{kind.__qualname__})"
        else:
            self.state.append((words, thing))

    # --- writes

    def _writes(self, found: Writes) -> None:
        self.rebinds = self.rebinds or found.rebinds
        self.mutates |= found.unknown
        for words, obj, verb in found.shared:
            if isinstance(obj, threading.local):
                self._lazy.add(id(obj))
            elif verb in AMBIGUOUS and not isinstance(obj, _CONTAINERS) and not _is_stream(obj):
                self.mutates = True
            elif obj is MISSING or not isinstance(obj, ATOMS) or isinstance(obj, ModuleType):
                self.writes = self.writes or (words if verb != "cache_clear" else f"{words}'s cache")

    def _locals(self) -> None:
        """A threading.local that only the caller has filled is empty in other threads, unless the code fills it
        where it is empty."""
        fills = self._names & {"hasattr", "getattr", "AttributeError", "__dict__"}
        for thing in list(self._seen.values()):
            if (
                isinstance(thing, threading.local)
                and thing.__dict__
                and not (fills and id(thing) in self._lazy)
            ):
                self.bound = self.bound or "a threading.local"


_APPLIED = frozenset(("append", "add", "update", "extend", "insert", "remove", "discard", "setdefault", "pop",
                      "setattr", "delattr", "setitem", "next", "heappush", "insort", "__setitem__"))  # fmt: skip


def _inside(row: Any) -> list[Any]:
    """What a row, or an item that is a small container, holds."""
    parts = list(row.values() if type(row) is dict else row) if type(row) in (tuple, list, dict) else []
    return parts if len(parts) <= 100 else []


def _is_stream(obj: Any) -> bool:
    return isinstance(obj, io.IOBase) or module_of(type(obj)) in _STATEFUL_MODULES


def _is_method_of_library(method: Any) -> bool:
    return not isinstance(method, FunctionType) or is_library(
        method.__module__ or "", method.__code__.co_filename
    )


def _by_name(value: Any) -> bool:
    return isinstance(value, ModuleType | FunctionType | BuiltinFunctionType | type)


def _stands_in(value: Any, module: str | None, name: str) -> bool:
    """Whether a function or class is under another name than its own, as what a test has patched is."""
    if isinstance(value, ModuleType):
        return False
    return value.__module__ != module or getattr(value, "__qualname__", name) != name


def _resolve(module: str, path: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return dict(found) if type(found).__name__ == "mappingproxy" else found


def digest(data: list[tuple[str, str]]) -> bytes:
    """Of these values. Without pickle's memo, which tells equal values apart by identity."""
    import hashlib

    total = hashlib.blake2b(digest_size=16)
    for module, path in data:
        stream = io.BytesIO()
        pickler = pickle.Pickler(stream, protocol=5)
        pickler.fast = True
        pickler.dump(_resolve(module, path))
        total.update(stream.getvalue())
    return total.digest()


def _in_c(kind: type) -> bool:
    """Whether instances have more than their __dict__: a base class that is C and not object."""
    return any(
        base is not object
        and base.__module__ not in ("abc", "typing")
        and (
            not base.__flags__ & (1 << 9)  # not made at run time; C types that are have methods in C
            or any(isinstance(one, MethodDescriptorType) for one in vars(base).values())
        )
        for base in kind.__mro__
    )


# --- what every call could change, or depend on


def _surroundings() -> list[tuple[str, Any]]:
    """State that functions reach without naming it."""
    found: list[tuple[str, Any]] = [("os.environ", Probe(lambda: dict(os.environ))),
                                    ("the working directory", Probe(_directory))]  # fmt: skip
    if (random := loaded("random")) is not None:
        found.append(("random's generator", Probe(random.getstate)))
    if (numpy := loaded("numpy.random")) is not None:
        found.append(("numpy.random's generator", Probe(lambda: pickle.dumps(numpy.get_state()))))
    return found


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def ambient() -> tuple[Any, ...]:
    """What worker processes have from the time at which they were started."""
    locale = loaded("locale")
    return (
        _directory(), dict(os.environ), list(sys.path), sys.getrecursionlimit(),
        locale.setlocale(locale.LC_ALL) if locale is not None else None,
        list(warnings.filters) if (warnings := loaded("warnings")) is not None else None,
        sys.get_int_max_str_digits() if hasattr(sys, "get_int_max_str_digits") else None,
    )  # fmt: skip


def _of_thread() -> str | None:
    """Settings of the calling thread that other threads would not have."""
    if (decimal := loaded("decimal")) is not None:
        ours, usual = decimal.getcontext(), decimal.DefaultContext
        if any(
            getattr(ours, name) != getattr(usual, name)
            for name in ("prec", "rounding", "Emin", "Emax", "traps")
        ):
            return "decimal's context was changed in it"
    numpy = loaded("numpy")
    if hasattr(numpy, "geterr") and numpy.geterr() != _NUMPY_ERRORS:
        return "numpy's errstate was changed in it"
    return None


# --- comparing


class Probe:
    """State that is asked for."""

    def __init__(self, read: Callable[[], Any]) -> None:
        self.read = read


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


def _slots(thing: Any) -> list[tuple[str, Any]]:
    """What an object has beside its __dict__."""
    found = []
    for base in type(thing).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            member = vars(base).get(name)
            if isinstance(member, MemberDescriptorType) and hasattr(thing, name):
                found.append((name, member.__get__(thing)))
    return found


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
    """These (words, object) as they were at a moment."""

    def __init__(self, state: list[tuple[str, Any]]) -> None:
        self._held = [(words, thing, *self._of(thing)) for words, thing in state]

    @staticmethod
    def _of(thing: Any) -> tuple[list[Any] | None, Any]:
        if isinstance(thing, Probe):
            return None, thing.read()
        shallow = _shallow(thing)
        if shallow is None and hasattr(thing, "__dict__") and not _in_c(type(thing)):
            shallow = [
                *thing.__dict__.keys(),
                *thing.__dict__.values(),
                *(value for _, value in _slots(thing)),
            ]
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
