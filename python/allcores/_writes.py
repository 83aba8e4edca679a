"""What a function's code writes to, read from its bytecode: for what calls have not shown yet.

A write is a store to an attribute or an item, or a call of something that is known to change an object
(`append`, `next`, `heappush`, a function of the user's that does so itself). Each value on the evaluation stack
carries where it may come from: made by this call, an argument, shared (a global, closed over, an attribute of such), or
not to be told. Branches are joined; code is walked again until its loops bring nothing new. It is no proof: what is
written through a value that cannot be told counts as `unknown`, and is looked for by comparing (`_effects.State`).
"""

from __future__ import annotations

import builtins
import dis
import functools
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
)
from typing import Any

ARGUMENT, SHARED, UNKNOWN = 1, 2, 4
MISSING = object()  # no object is known
ATOMS = (
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
_MOST_CODE = 40_000  # bytes of bytecode; more is not read
_MOST_DEPTH = 6  # of functions that call functions

MUTATORS = frozenset((
    "append", "add", "update", "pop", "extend", "insert", "remove", "clear", "setdefault", "popitem", "discard",
    "sort", "reverse", "appendleft", "popleft", "extendleft", "rotate", "write", "writelines", "writerow",
    "writerows", "truncate", "seek", "read", "readline", "readlines", "fill", "put", "put_nowait", "get_nowait",
    "resize", "seed", "shuffle", "send", "throw", "subtract", "move_to_end", "difference_update",
    "intersection_update", "symmetric_difference_update", "setflags", "frombytes", "fromlist", "cache_clear",
    "__next__", "__setitem__", "__delitem__", "__setattr__", "__delattr__", "__iadd__",
))  # fmt: skip
AMBIGUOUS = frozenset(("put", "send", "read", "add"))  # of a client they only say what is asked of its server
_WRITERS = frozenset((  # functions that change their first argument
    "heappush", "heappop", "heapify", "heapreplace", "heappushpop", "insort", "insort_left", "insort_right",
    "shuffle", "setattr", "delattr", "next", "anext", "setitem", "delitem", "iadd", "iconcat", "ior", "iand",
    "ixor", "isub", "imul", "put", "copyto", "place", "putmask", "fill_diagonal",
))  # fmt: skip
_FRESH = frozenset((
    "list", "dict", "set", "frozenset", "tuple", "sorted", "len", "range", "str", "int", "float", "bool", "bytes",
    "bytearray", "sum", "abs", "round", "pow", "divmod", "repr", "hash", "ord", "chr", "isinstance", "any", "all",
    "format", "type", "id", "hex", "complex", "slice", "callable", "issubclass", "hasattr", "print", "deepcopy",
))  # fmt: skip
_PARTS = frozenset((  # give out parts of what they are given
    "iter", "enumerate", "zip", "reversed", "map", "filter", "next", "getattr", "max", "min", "vars", "get",
    "setdefault", "values", "items", "keys", "pop", "popitem", "popleft", "__getitem__",
))  # fmt: skip
_RANDOM = frozenset(("random", "_random", "numpy.random._generator", "numpy.random.mtrand"))
_EVALUATORS = (exec, eval)
_BOUND = (MethodType, BuiltinFunctionType, MethodWrapperType)
_PUSHED_NULL_FIRST = sys.version_info < (3, 13)


def _is_one_of_its_kind(obj: Any) -> bool:
    """Whether a copy, as it comes back from another process, is not the object: a sentinel, a shared list."""
    by_name = isinstance(obj, type | FunctionType | BuiltinFunctionType | ModuleType)  # pickled so
    return not (isinstance(obj, ATOMS) or by_name or "Enum" in type(type(obj)).__name__)


class Value:
    """Where a value may come from; which parameters, where it is an argument; the object, where it is known. one: in
    words, an object that it may be, and of which a copy is not the same."""

    __slots__ = ("method", "obj", "one", "params", "source", "words")

    def __init__(
        self,
        source: int = 0,
        words: str = "",
        obj: Any = MISSING,
        params: frozenset[str] = frozenset(),
        method: tuple[Value, str] | None = None,
    ) -> None:
        self.source, self.words, self.obj, self.params, self.method = source, words, obj, params, method
        self.one = words if obj is not MISSING and _is_one_of_its_kind(obj) else None

    def part(self, words: str = "") -> Value:
        """An attribute, an item or an element of it."""
        return Value(self.source or UNKNOWN, words or self.words, MISSING, self.params)

    def joined(self, other: Value) -> Value:
        if self is other:
            return self
        words = self.words if self.source & SHARED or not other.source & SHARED else other.words
        obj = self.obj if self.obj is other.obj else MISSING
        joined = Value(self.source | other.source, words, obj, self.params | other.params)
        joined.one = self.one or other.one
        return joined


_NOTHING = Value()
_NULL = Value()
_UNKNOWN = Value(UNKNOWN)


class Writes:
    """shared: (words, object or MISSING, the verb) of what a call of the function writes to. params: names of its
    parameters that it writes to. unknown: it writes to what cannot be told. returns: in words, an object that others
    have, too, and of which a copy is not the same."""

    def __init__(self) -> None:
        self.shared: list[tuple[str, Any, str]] = []
        self.params: set[str] = set()
        self.unknown = False
        self.rebinds: str | None = None
        self.returns: str | None = None
        self.modules: set[str] = set()  # that it imports itself
        self.names: set[str] = set()  # of globals and attributes
        self.consts: set[str] = set()


def module_of(kind: type) -> str:
    """Where a class is from; "" for those whose __module__ says something about their instances."""
    module = kind.__module__
    return module if isinstance(module, str) else ""


def _advances(obj: Any) -> bool:
    """Whether each use of the object changes it: a random generator, an arithmetic context with its flags."""
    kind = type(obj)
    if obj is MISSING or obj is None or kind in ATOMS:
        return False
    places = [module_of(base) for base in kind.__mro__]
    return any(place in _RANDOM for place in places) or (
        kind.__name__ == "Context" and module_of(kind) == "decimal"
    )


def _call_of(kind: type) -> FunctionType | None:
    """What a call of an instance calls, where that is Python code."""
    call = next((vars(base)["__call__"] for base in kind.__mro__ if "__call__" in vars(base)), None)
    return call if isinstance(call, FunctionType) else None


def attribute(owner: Any, name: str) -> Any:
    """An attribute without running the user's code, or MISSING."""
    if owner is MISSING:
        return MISSING
    for space in (getattr(owner, "__dict__", {}), *(vars(base) for base in type(owner).__mro__)):
        if isinstance(space, dict | MappingProxyType) and name in space:
            found = space[name]
            if isinstance(found, staticmethod | classmethod):
                return found.__func__
            return MISSING if isinstance(found, property) else found
    return MISSING


def _join_names(into: dict[str, Value], more: dict[str, Value]) -> None:
    for name, value in more.items():
        into[name] = into[name].joined(value) if name in into else value


class _Walk:
    """One code object, its stack followed from instruction to instruction."""

    def __init__(
        self,
        found: Writes,
        code: CodeType,
        scope: dict[str, Any],
        cells: dict[str, Value],
        params: Callable[[str], Value],
        depth: int,
    ) -> None:
        self.found, self.code, self.scope, self.cells, self.depth = found, code, scope, cells, depth
        flags = bool(code.co_flags & 4) + bool(code.co_flags & 8)
        count = code.co_argcount + code.co_kwonlyargcount + flags
        self.params = {name: params(name) for name in code.co_varnames[:count]}
        self.locals: dict[str, Value] = {}
        self.all = dict(self.params)  # over all assignments
        self.back: dict[int, dict[str, Value]] = {}  # locals at jumps backwards, by where these go
        self.instructions = list(dis.get_instructions(code))
        self.stack: list[Value] = []
        self.keywords: tuple[str, ...] = ()  # of the call that comes
        self.saved: dict[int, tuple[list[Value], dict[str, Value]]] = {}
        self.reports = False
        found.names.update(code.co_names)
        found.consts.update(one for one in code.co_consts if isinstance(one, str))

    def run(self) -> None:
        for _ in range(4):  # what is assigned later in a loop is there at its next turn
            before = self._sources()
            self._pass()
            if before == self._sources():
                break
        self.reports = True
        self._pass()
        for constant in self.code.co_consts:
            if isinstance(constant, CodeType):
                cells = {name: self._name(name) for name in constant.co_freevars}
                _Walk(self.found, constant, self.scope, cells, lambda _: _UNKNOWN, self.depth).run()

    def _sources(self) -> list[tuple[str, int]]:
        maps = (self.all, *self.back.values())
        return [(name, value.source) for each in maps for name, value in each.items()]

    def _pass(self) -> None:
        self.stack, self.saved, self.locals = [], {}, dict(self.params)
        reached = True
        for one in self.instructions:
            self._join(one.offset, reached)
            reached = self._step(one)

    def _join(self, offset: int, reached: bool) -> None:
        """Come to an instruction, from the one before and from jumps."""
        stack, names = self.saved.get(offset, (None, None))
        if not reached:
            self.stack = stack[:] if stack is not None else []
            self.locals = dict(names if names is not None else self.all)
        elif stack is not None and names is not None:
            if len(stack) == len(self.stack):
                self.stack = [a.joined(b) for a, b in zip(self.stack, stack, strict=True)]
            _join_names(self.locals, names)
        if offset in self.back:
            _join_names(self.locals, self.back[offset])

    def _jump(self, one: dis.Instruction) -> None:
        if one.argval <= one.offset:
            _join_names(self.back.setdefault(one.argval, {}), self.locals)
        elif one.argval not in self.saved:
            self.saved[one.argval] = self.stack[:], dict(self.locals)
        else:
            _join_names(self.saved[one.argval][1], self.locals)

    def _step(self, one: dis.Instruction) -> bool:
        """False: what follows is not reached from here."""
        name = one.opname
        if name == "RETURN_VALUE" and self.stack and self.reports:
            self.found.returns = self.found.returns or self.stack[-1].one
        handler = _HANDLERS.get(name)
        if handler is not None:
            handler(self, one)
        elif name.startswith("LOAD_FAST"):
            for local in one.argval if isinstance(one.argval, tuple) else (one.argval,):
                self.stack.append(self.locals.get(local, _NOTHING))
        elif name.startswith("STORE_FAST"):
            self._store_fast(one)
        elif name.startswith(
            ("BUILD_", "COMPARE_", "FORMAT_", "CONVERT_", "UNARY_", "IS_", "CONTAINS_", "BINARY_SLICE")
        ):
            self._generic(one, _NOTHING)
        else:
            self._generic(one, None)
        if one.opcode in dis.hasjrel or one.opcode in dis.hasjabs:
            self._jump(one)
        return name not in ("RETURN_VALUE", "RETURN_CONST", "RAISE_VARARGS", "RERAISE", "JUMP_FORWARD",
                            "JUMP_BACKWARD", "JUMP_BACKWARD_NO_INTERRUPT")  # fmt: skip

    # --- the stack

    def _pop(self) -> Value:
        return self.stack.pop() if self.stack else _UNKNOWN

    def _pops(self, count: int) -> list[Value]:
        return [self._pop() for _ in range(count)][::-1]

    def _generic(self, one: dis.Instruction, result: Value | None) -> None:
        """An instruction of which only the effect on the stack's depth is known."""
        net = dis.stack_effect(one.opcode, one.arg, jump=False)
        if net < 0:
            parts = self._pops(-net)
            if self.stack:
                joined = self.stack[-1]
                for part in parts:
                    joined = joined.joined(part)
                self.stack[-1] = joined if one.opname not in _PLAIN_POPS else self.stack[-1]
        self.stack += [_UNKNOWN] * net
        if result is not None and self.stack:
            self.stack[-1] = result

    def _push(self, one: dis.Instruction, value: Value) -> None:
        """With the NULL that calls want beside it, on versions and where it is wanted."""
        null = [_NULL] * (dis.stack_effect(one.opcode, one.arg) - 1)
        self.stack += [*null, value] if _PUSHED_NULL_FIRST else [value, *null]

    # --- names

    def _name(self, name: str) -> Value:
        """Of a cell, which other code may assign to at any time."""
        return self.cells.get(name) or self.all.get(name, _NOTHING)

    def _assign(self, name: str, value: Value) -> None:
        self.locals[name] = value
        _join_names(self.all, {name: value})

    def _load_const(self, one: dis.Instruction) -> None:
        self.stack.append(Value(0, "", one.argval))

    def _load_global(self, one: dis.Instruction) -> None:
        name = one.argval
        found = self.scope.get(name, getattr(builtins, name, MISSING))
        self._push(one, Value(SHARED, name, found))

    def _load_deref(self, one: dis.Instruction) -> None:
        self.stack.append(self._name(one.argval))

    def _store_deref(self, one: dis.Instruction) -> None:
        value = self._pop() if one.opname == "STORE_DEREF" else _NOTHING
        if one.argval not in self.cells:
            self._assign(one.argval, value)
        elif self.cells[one.argval].source & SHARED and self.reports:
            self.found.rebinds = self.found.rebinds or f"the closed-over {one.argval}"

    def _store_global(self, one: dis.Instruction) -> None:
        if one.opname == "STORE_GLOBAL":
            self._pop()
        self.found.rebinds = self.found.rebinds or f"the global {one.argval}"

    def _store_fast(self, one: dis.Instruction) -> None:
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        self._assign(names[0], self._pop())
        for name in names[1:]:
            if one.opname.startswith("STORE_FAST_LOAD_FAST"):
                self.stack.append(self.locals.get(name, _NOTHING))
            else:
                self._assign(name, self._pop())

    def _import(self, one: dis.Instruction) -> None:
        self._pops(2)
        name = one.argval
        package = self.scope.get("__package__") or ""
        for module in (name, f"{package}.{name}" if name else package):
            if module in sys.modules:
                self.found.modules.add(module)
        self.stack.append(Value(SHARED, name, sys.modules.get(name.partition(".")[0], MISSING)))

    def _import_from(self, one: dis.Instruction) -> None:
        module = self.stack[-1] if self.stack else _UNKNOWN
        self.stack.append(Value(SHARED, one.argval, attribute(module.obj, one.argval)))

    # --- parts of values

    def _load_attr(self, one: dis.Instruction) -> None:
        owner, name = self._pop(), one.argval
        words = f"{owner.words}.{name}" if owner.words else name
        value = Value(owner.source or UNKNOWN, words, attribute(owner.obj, name), owner.params, (owner, name))
        self.stack.append(value)
        if dis.stack_effect(one.opcode, one.arg):
            self.stack.append(_NULL)

    def _load_super_attr(self, one: dis.Instruction) -> None:
        owner = self._pops(3)[-1]
        self.stack.append(Value(owner.source, one.argval, MISSING, owner.params, (owner, one.argval)))
        if dis.stack_effect(one.opcode, one.arg) > -2:
            self.stack.append(_NULL)

    def _subscript(self, one: dis.Instruction) -> None:
        container, _ = self._pops(2)
        if isinstance(container.obj, defaultdict):
            self._write(container, "an item")
        self.stack.append(container.part())

    def _binary_op(self, one: dis.Instruction) -> None:
        if one.argrepr == "[]":
            self._subscript(one)
            return
        left, _ = self._pops(2)
        in_place = one.argrepr.endswith("=")
        if in_place and left.source:
            if left.obj is MISSING:
                self._write(Value(UNKNOWN, left.words), one.argrepr)
            elif not isinstance(left.obj, int | float | complex | str | bytes | tuple):
                self._write(left, one.argrepr)
        self.stack.append(left if in_place else _NOTHING)

    def _unpack(self, one: dis.Instruction) -> None:
        value = self._pop()
        self.stack += [value.part()] * (one.arg or 0)

    def _get_iter(self, one: dis.Instruction) -> None:
        value = self._pop()
        self.stack.append(value)
        self.stack += [_NULL] * dis.stack_effect(one.opcode, one.arg)

    def _for_iter(self, one: dis.Instruction) -> None:
        iterator = next((value for value in reversed(self.stack) if value is not _NULL), _UNKNOWN)
        obj = iterator.obj
        if iterator.source & SHARED and obj is not MISSING and hasattr(type(obj), "__next__"):
            self._write(iterator, "next")
        self.stack.append(iterator.part())

    def _copy(self, one: dis.Instruction) -> None:
        depth = one.arg or 1
        self.stack.append(self.stack[-depth] if depth <= len(self.stack) else _UNKNOWN)

    def _swap(self, one: dis.Instruction) -> None:
        depth = one.arg or 1
        if depth <= len(self.stack):
            self.stack[-1], self.stack[-depth] = self.stack[-depth], self.stack[-1]

    def _store(self, one: dis.Instruction) -> None:
        """A store to an attribute or an item, or its deletion; where the object is on the stack."""
        pops, place = _STORES[one.opname]
        target = self._pops(pops)[place]
        if one.opname.endswith("ATTR"):
            target = Value(target.source, target.words, target.obj, target.params)
            self._write(target, f"{'del' if one.opname.startswith('DEL') else 'set'} .{one.argval}")
        else:
            self._write(target, "an item")

    # --- calls

    def _call(self, one: dis.Instruction) -> None:
        if one.opname in ("CALL_KW", "CALL_FUNCTION_KW"):
            self._kw_names(self._pop().obj)
        args = self._pops(one.arg or 0)
        pair = self._pops(2)
        callee = next((value for value in pair if value.method), None) or next(
            (value for value in pair if value is not _NULL), _UNKNOWN
        )
        for name, value in zip(reversed(self.keywords), reversed(args), strict=False):
            if name == "out":  # numpy's: where the result goes
                self._write(value, "out=")
            elif name == "inplace" and callee.method is not None:
                self._write(callee.method[0], "inplace=")
        named, self.keywords = len(self.keywords), ()
        self.stack.append(self._called(callee, args, spread=False, named=named))

    def _kw_names(self, names: Any) -> None:
        """Of the call that comes: the last arguments' names."""
        self.keywords = names if isinstance(names, tuple) else ()

    def _call_ex(self, one: dis.Instruction) -> None:
        parts = [
            value for value in self._pops(1 - dis.stack_effect(one.opcode, one.arg)) if value is not _NULL
        ]
        callee, args = (parts[0], parts[1:]) if parts else (_UNKNOWN, [])
        self.stack.append(self._called(callee, [value.part() for value in args], spread=True))

    def _called(self, callee: Value, args: list[Value], spread: bool, named: int = 0) -> Value:
        """What a call gives; what it writes to is noted. named: how many of the arguments are by keyword."""
        for value in args:
            self._given(value)
        target = callee.obj
        bound_to = getattr(target, "__self__", None) if isinstance(target, _BOUND) else None
        if (
            bound_to is None
            and callee.method is not None
            and not isinstance(callee.method[0].obj, ModuleType)
        ):
            return self._method_called(callee, args, spread)
        if isinstance(target, functools.partial):
            fixed = [Value(SHARED, callee.words, one) for one in target.args]
            fixed += [Value(SHARED, callee.words, one) for one in target.keywords.values()]
            inner = Value(SHARED, callee.words, target.func)
            return self._called(inner, [*fixed, *args], spread or bool(target.keywords))
        name = getattr(target, "__name__", "")
        if isinstance(target, type):
            fresh = target.__module__ != "builtins" or name in _FRESH
            return _NOTHING if fresh else self._union(args)
        self._function_called(callee, bound_to, args, spread or bool(named))
        if name == "globals":
            return Value(SHARED, "globals()", self.scope)
        if name in _PARTS:
            return self._union(args)
        return _NOTHING if name in _FRESH else _UNKNOWN

    def _given(self, value: Value) -> None:
        """An argument: a method that changes its object will be called by whoever is given it."""
        if value.method is not None and not isinstance(value.method[0].obj, ModuleType):
            owner, name = value.method
            if name in MUTATORS:
                self._write(owner, name)
        elif isinstance(value.obj, BuiltinFunctionType):
            owner_of, name = value.obj.__self__, value.obj.__name__
            if name in MUTATORS and not isinstance(owner_of, ModuleType | None):
                self._write(Value(SHARED, value.words, owner_of), name)

    def _method_called(self, callee: Value, args: list[Value], spread: bool) -> Value:
        assert callee.method is not None
        target, (owner, name) = callee.obj, callee.method
        if isinstance(owner.obj, type) and args and not spread:  # list.append(it, x)
            owner, args = args[0], args[1:]
        users = isinstance(target, FunctionType) and is_users(target)
        if users:
            self._user_call(target, [owner, *args], spread)
        elif _advances(owner.obj) or (name in MUTATORS and not isinstance(target, type)):
            self._write(owner, name)
        if name in _PARTS:
            return owner.part()
        return _NOTHING if owner.source == 0 or isinstance(target, type) else _UNKNOWN

    def _function_called(self, callee: Value, bound_to: Any, args: list[Value], spread: bool) -> None:
        target, name = callee.obj, getattr(callee.obj, "__name__", "")
        shared = Value(SHARED, callee.words, bound_to)
        if any(target is one for one in _EVALUATORS):
            self.found.rebinds = self.found.rebinds or f"what {name}() may"
        elif _advances(bound_to):
            self._write(shared, name)
        elif isinstance(target, MethodType) and isinstance(target.__func__, FunctionType):
            self._user_call(target.__func__, [shared, *args], spread)
        elif isinstance(target, FunctionType) and name not in _WRITERS:
            self._user_call(target, args, spread)
        elif isinstance(target, BuiltinFunctionType) and not isinstance(bound_to, ModuleType | None):
            if name in MUTATORS:
                self._write(shared, name)
        elif target is MISSING:  # what is called cannot be told, nor what it does to what it is given
            if callee.source & SHARED or any(value.source & SHARED for value in args):
                self._write(Value(UNKNOWN, callee.words), "a call")
        elif (call := _call_of(type(target))) is not None:
            self._user_call(call, [Value(SHARED, callee.words, target), *args], spread)
        if args and (name in _WRITERS or (isinstance(target, MethodDescriptorType) and name in MUTATORS)):
            self._write(args[0], name)

    def _union(self, args: Iterable[Value]) -> Value:
        joined = _NOTHING
        for value in args:
            joined = joined.joined(value)
        return joined.part() if joined.source else joined

    def _user_call(self, fn: FunctionType, args: list[Value], spread: bool) -> None:
        if self.depth >= _MOST_DEPTH or not is_users(fn):
            return
        inner = writes_of(fn, self.depth + 1)
        if not inner.params:
            return
        names = fn.__code__.co_varnames[: fn.__code__.co_argcount]
        for place, value in enumerate(args):
            if spread or place >= len(names) or names[place] in inner.params:
                self._write(value, f"{fn.__name__}()")

    def _write(self, value: Value, verb: str) -> None:
        if not self.reports:
            return
        found = self.found
        if verb in AMBIGUOUS and value.obj is MISSING:
            found.unknown |= bool(value.source)
            return
        if value.source & SHARED:
            found.shared.append((value.words, value.obj, verb))
        if value.source & ARGUMENT:
            found.params |= value.params
        if value.source & UNKNOWN:
            found.unknown = True


_PLAIN_POPS = ("POP_TOP", "LIST_APPEND", "SET_ADD", "MAP_ADD", "LIST_EXTEND", "SET_UPDATE", "DICT_UPDATE", "DICT_MERGE",
               "END_FOR", "POP_ITER", "POP_JUMP_IF_FALSE", "POP_JUMP_IF_TRUE", "POP_JUMP_IF_NONE",
               "POP_JUMP_IF_NOT_NONE", "POP_JUMP_FORWARD_IF_FALSE", "POP_JUMP_FORWARD_IF_TRUE")  # fmt: skip
_STORES = {  # what is popped, and where in it the object is
    "STORE_ATTR": (2, 1),
    "DELETE_ATTR": (1, 0),
    "STORE_SUBSCR": (3, 1),
    "DELETE_SUBSCR": (2, 0),
    "STORE_SLICE": (4, 1),
}
_HANDLERS: dict[str, Callable[[_Walk, dis.Instruction], None]] = {
    "LOAD_CONST": _Walk._load_const,
    "LOAD_SMALL_INT": _Walk._load_const,
    "LOAD_GLOBAL": _Walk._load_global,
    "LOAD_DEREF": _Walk._load_deref,
    "LOAD_FROM_DICT_OR_DEREF": _Walk._load_deref,
    "STORE_DEREF": _Walk._store_deref,
    "DELETE_DEREF": _Walk._store_deref,
    "STORE_GLOBAL": _Walk._store_global,
    "DELETE_GLOBAL": _Walk._store_global,
    "IMPORT_NAME": _Walk._import,
    "IMPORT_FROM": _Walk._import_from,
    "LOAD_ATTR": _Walk._load_attr,
    "LOAD_METHOD": _Walk._load_attr,
    "LOAD_SUPER_ATTR": _Walk._load_super_attr,
    "BINARY_SUBSCR": _Walk._subscript,
    "BINARY_OP": _Walk._binary_op,
    "UNPACK_SEQUENCE": _Walk._unpack,
    "GET_ITER": _Walk._get_iter,
    "FOR_ITER": _Walk._for_iter,
    "COPY": _Walk._copy,
    "SWAP": _Walk._swap,
    "CALL": _Walk._call,
    "CALL_KW": _Walk._call,
    "CALL_FUNCTION_EX": _Walk._call_ex,
    "PUSH_NULL": lambda walk, _: walk.stack.append(_NULL),
    "PRECALL": lambda _walk, _: None,
    "KW_NAMES": lambda walk, one: walk._kw_names(walk.code.co_consts[one.arg or 0]),
    **dict.fromkeys(_STORES, _Walk._store),
}


# --- the interface

_known: dict[CodeType, tuple[tuple[Any, ...], Writes]] = {}
_walking = threading.local()  # .begun: by their ids, the functions that this thread is reading


def is_users(fn: FunctionType) -> bool:
    """Whether a function is the user's own code, not that of an installed library."""
    from allcores import _effects

    return not _effects.is_library(fn.__module__ or "", fn.__code__.co_filename)


def _cells(fn: FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # empty
            found[name] = MISSING
    return found


def _defaults(fn: FunctionType) -> dict[str, Any]:
    """The parameters whose defaults can be written to."""
    code, values = fn.__code__, fn.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][-len(values) or code.co_argcount :]
    found = {**dict(zip(names, values, strict=False)), **(fn.__kwdefaults__ or {})}
    return {name: value for name, value in found.items() if not isinstance(value, ATOMS)}


def writes_of(fn: FunctionType, depth: int = 0, bound: dict[str, Any] | None = None) -> Writes:
    """What one of the user's functions writes to. bound: parameters that are not the items', and their values.

    Kept for the next time, as long as its names mean the same."""
    code, scope = fn.__code__, fn.__globals__
    cells, fixed, bound = _cells(fn), _defaults(fn), bound or {}
    rests_on = (*map(scope.get, code.co_names), *cells.values(), *fixed.values(), *bound, *bound.values())
    begun = _walking.__dict__.setdefault("begun", {})
    if id(fn) in begun:  # it calls itself
        return begun[id(fn)]  # type: ignore[no-any-return]
    known = _known.get(code)
    if known is not None and len(known[0]) == len(rests_on) and all(map(_is, known[0], rests_on)):
        return known[1]
    begun[id(fn)] = found = Writes()
    try:
        if len(code.co_code) > _MOST_CODE:
            found.unknown = True
        else:
            _walk(found, fn, depth, cells, fixed, bound)
    finally:
        del begun[id(fn)]
    if len(_known) >= 1024:
        _known.clear()
    _known[code] = rests_on, found  # only now: other threads look here, too
    return found


def _walk(
    found: Writes,
    fn: FunctionType,
    depth: int,
    cells: dict[str, Any],
    fixed: dict[str, Any],
    bound: dict[str, Any],
) -> None:
    def param(name: str) -> Value:
        if name in bound:
            return Value(SHARED, name, bound[name])
        also = SHARED if name in fixed else 0
        return Value(ARGUMENT | also, name, fixed.get(name, MISSING), frozenset((name,)))

    values = {name: Value(SHARED, name, value) for name, value in cells.items()}
    _Walk(found, fn.__code__, fn.__globals__, values, param, depth).run()


def _is(a: Any, b: Any) -> bool:
    return a is b
