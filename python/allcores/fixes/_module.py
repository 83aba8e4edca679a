"""What the names of a module stand for, and how large what they stand for is."""

from __future__ import annotations

import ast
import builtins

from allcores.fixes._source import AnyFunction, Source


def words(text: str) -> set[str]:
    """A long set of names, written shortly."""
    return set(text.split())


# Methods that leave strings, bytes, lists, dicts, numbers, matches and digests as they are.
READERS = words(
    "split rsplit splitlines strip lstrip rstrip join lower upper title replace encode decode startswith endswith "
    "get items keys values copy count index find rfind hexdigest digest group groups groupdict zfill isdigit "
    "isalpha isalnum isspace partition rpartition casefold format translate bit_length most_common union "
    "intersection difference ljust rjust center start end span hex to_bytes as_integer_ratio match search sub "
    "findall fullmatch finditer total_seconds"
)
_NUMBERS = words(
    "len sum int float bool abs round ord min max hexdigest digest count index find crc32 adler32"
)
# Methods of pools that hand tasks out.
GIVE = words("map submit imap imap_unordered starmap apply apply_async map_async starmap_async")


def root(node: ast.AST) -> str | None:
    """The name at the bottom of ``name.a[b].c``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def stored(node: ast.AST) -> set[str]:
    """Names that something binds, below it included."""
    names = {
        one.id for one in ast.walk(node) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
    }
    names |= {one.name for one in ast.walk(node) if isinstance(one, ast.ExceptHandler) and one.name}
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(one.name)
        elif isinstance(one, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in one.names}
    return names


def loaded(node: ast.AST) -> set[str]:
    """Names that something reads."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}


def parameters(function: AnyFunction) -> set[str]:
    """Names of what it is given, and of what functions inside it are."""
    return {one.arg for one in ast.walk(function) if isinstance(one, ast.arg)}


class Module:
    """What the names of a module stand for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.functions: dict[str, AnyFunction] = {}
        self.imports: dict[str, str] = {}
        self.constants: dict[str, ast.expr] = {}
        counts: dict[str, int] = {}
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Global):
                for name in node.names:
                    counts[name] = counts.get(name, 0) + 2
        for statement in self._level(source.tree.body):
            for name in stored(statement) if not self._is_block(statement) else set():
                counts[name] = counts.get(name, 0) + 1
            self._note(statement)
        for names in (self.functions, self.imports, self.constants):
            for name in [name for name in names if counts.get(name, 0) > 1]:
                names.pop(name)

    def _is_block(self, node: ast.stmt) -> bool:
        return isinstance(node, ast.If | ast.Try | ast.With)

    def _level(self, body: list[ast.stmt]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for statement in body:
            found.append(statement)
            if self._is_block(statement):
                found += self._level(
                    [one for one in ast.iter_child_nodes(statement) if isinstance(one, ast.stmt)]
                )
        return found

    def _note(self, node: ast.stmt) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node in self.source.tree.body:
            self.functions[node.name] = node
        elif isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                self.imports[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                self.imports[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Assign) and node in self.source.tree.body:
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self.constants[target.id] = node.value

    def dotted(self, node: ast.AST) -> str:
        """``json.loads`` for what names it through an import; "" for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.imports:
            return ""
        return ".".join([self.imports[node.id], *reversed(parts)])

    def is_builtin(self, name: str) -> bool:
        """Does the name still mean what Python gave it?"""
        return (
            name not in self.functions and name not in self.imports and name not in stored(self.source.tree)
        )

    # --- values

    def is_small(self, node: ast.expr | None, function: AnyFunction | None = None, depth: int = 0) -> bool:
        """A number, a short string, a few of them: something that costs nothing to send."""
        if depth > 12:
            return False

        def small(one: ast.expr | None) -> bool:
            return self.is_small(one, function, depth + 1)

        match node:
            case None | ast.Constant() | ast.Compare():
                return True
            case ast.BinOp(left=left, op=op, right=right):
                repeats = isinstance(op, ast.Mult) and any(
                    isinstance(one, ast.List | ast.Tuple | ast.JoinedStr)
                    or (isinstance(one, ast.Constant) and isinstance(one.value, str | bytes))
                    for one in (left, right)
                )
                return isinstance(op, ast.Mod) or (not repeats and small(left) and small(right))
            case ast.UnaryOp(operand=operand):
                return small(operand)
            case ast.BoolOp(values=values) | ast.Tuple(elts=values):
                return all(small(one) for one in values)
            case ast.IfExp(body=body, orelse=other):
                return small(body) and small(other)
            case ast.JoinedStr(values=values):
                return all(small(one.value) for one in values if isinstance(one, ast.FormattedValue))
            case ast.Subscript(slice=ast.Slice(upper=ast.Constant(), lower=None)):
                return True
            case ast.Call(func=ast.Name(id="str" | "repr" | "tuple"), args=[arg]):
                return small(arg)
            case ast.Call(func=ast.Name(id=name)):
                called = self.functions.get(name)
                if called and depth < 4:
                    return self.returns_small(called, depth + 4)
                return name in _NUMBERS
            case ast.Await(value=ast.Call(func=ast.Attribute(attr="readline"), args=[])):
                return True  # asyncio's: 64 KiB at most
            case ast.Call(
                func=ast.Attribute(value=value, attr="decode" | "strip" | "lower" | "upper"), args=[]
            ):
                return small(value)
            case ast.Call(func=ast.Attribute(attr=name)):
                return name in _NUMBERS or self.dotted(node.func).startswith(("math.", "time."))
            case ast.Name(id=name):
                return self._is_small_name(name, function, depth)
        return False

    def _is_small_name(self, name: str, function: AnyFunction | None, depth: int) -> bool:
        scope: ast.AST = function or self.source.tree
        if function and name in parameters(function):
            return True  # no larger than what it was given, which is judged where it is given
        if function and name not in stored(function):
            return self.is_small(self.constants[name], None, depth + 1) if name in self.constants else False
        values: list[ast.expr] = []
        bound = 0
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id == name for t in node.targets
            ):
                values.append(node.value)
            elif isinstance(node, ast.AugAssign | ast.AnnAssign) and root(node.target) == name:
                values += [node.value] if node.value else []
                grows = any(isinstance(v, ast.Constant) and isinstance(v.value, str | bytes) for v in values)
                if isinstance(node, ast.AugAssign) and grows:
                    return False  # a text that grows
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Name) and node.target.id == name:
                bound += 1
                if not self.has_small_items(node.iter, function, depth + 1):
                    return False
            elif isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
                bound -= 1
        if not values and bound < 0:
            return False
        others = [one for one in values if name not in loaded(one)]
        grown = [one for one in values if name in loaded(one)]
        return all(self.is_small(one, function, depth + 1) for one in others) and all(
            self._stays_small(one, name, function, depth) for one in grown
        )

    def _stays_small(self, node: ast.expr, name: str, function: AnyFunction | None, depth: int) -> bool:
        """``text = str(i) + text[:20]`` does; ``text = text + "x"`` does not; numbers do not grow by much."""
        cut = [one for one in ast.walk(node) if isinstance(one, ast.Subscript) and root(one) == name]
        numbers = all(
            not isinstance(one, ast.Constant | ast.JoinedStr)
            or isinstance(getattr(one, "value", 0), int | float)
            for one in ast.walk(node)
        )
        return bool(cut) or (numbers and isinstance(node, ast.BinOp | ast.Call))

    def has_small_items(self, node: ast.expr, function: AnyFunction | None = None, depth: int = 0) -> bool:
        """A range, or a list of small things."""
        match node:
            case ast.Call(func=ast.Name(id="range")):
                return True
            case ast.Call(func=ast.Name(id="list" | "sorted" | "tuple" | "reversed"), args=[arg]):
                return self.has_small_items(arg, function, depth + 1)
            case ast.Call(func=ast.Attribute(attr="split" | "splitlines")):
                return True
            case ast.List(elts=elts) | ast.Tuple(elts=elts):
                return all(self.is_small(one, function, depth + 1) for one in elts)
            case ast.ListComp(elt=elt, generators=[generator]):
                if not isinstance(generator.target, ast.Name):
                    return False
                inner = {generator.target.id}
                safe = self.has_small_items(generator.iter, function, depth + 1)
                return (
                    safe
                    and all(
                        name in inner or self.is_small(ast.Name(name, ast.Load()), function, depth + 1)
                        for name in loaded(elt) - set(dir(builtins))
                    )
                    and isinstance(elt, ast.Name | ast.JoinedStr | ast.BinOp | ast.Tuple | ast.Constant)
                )
            case ast.Name(id=name) if depth < 8:
                value = self.value_of(name, function)
                return value is not None and self.has_small_items(value, function, depth + 1)
        return False

    def value_of(self, name: str, function: AnyFunction | None) -> ast.expr | None:
        """What a name was bound to, where that happened once."""
        if function is not None and name in parameters(function):
            return None
        if function is None or name not in stored(function):
            return self.constants.get(name)
        stores = [
            one
            for one in ast.walk(function)
            if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store)
        ]
        parent = self.source.parent.get(stores[0]) if len(stores) == 1 else None
        return parent.value if isinstance(parent, ast.Assign) and parent.targets == stores else None

    def has_length(self, node: ast.expr, function: AnyFunction | None) -> bool:
        """May it be counted, and gone through twice?"""
        match node:
            case ast.List() | ast.Tuple() | ast.ListComp():
                return True
            case ast.Call(func=ast.Name(id="range" | "list" | "sorted" | "tuple")):
                return True
            case ast.Call(func=ast.Attribute(attr="split" | "splitlines")):
                return True
            case ast.Name(id=name):
                value = self.value_of(name, function)
                return (
                    value is not None and not isinstance(value, ast.Name) and self.has_length(value, function)
                )
        return False

    def count_of(self, node: ast.expr, function: AnyFunction | None) -> int | None:
        """How many items there are, where the source says so."""
        match node:
            case ast.List(elts=elts) | ast.Tuple(elts=elts) if not any(
                isinstance(one, ast.Starred) for one in elts
            ):
                return len(elts) or None
            case ast.Call(func=ast.Name(id="range"), args=args):
                values = [one.value for one in args if isinstance(one, ast.Constant)]
                numbers = [one for one in values if isinstance(one, int)]
                known = len(numbers) == len(args) and (len(numbers) < 3 or numbers[2])
                return len(range(*numbers)) if known else None
            case ast.Call(func=ast.Name(id="list" | "sorted" | "tuple" | "enumerate"), args=[items]):
                return self.count_of(items, function)
            case ast.ListComp(generators=[ast.comprehension(iter=items, ifs=[])]):
                return self.count_of(items, function)
            case ast.Name(id=name):
                value = self.value_of(name, function)
                if value is not None and not isinstance(value, ast.Name) and not self._is_changed(name):
                    return self.count_of(value, function)
        return None

    def _is_changed(self, name: str) -> bool:
        """May the object that a name stands for get more items, or fewer?"""
        for one in ast.walk(self.source.tree):
            if isinstance(one, ast.AugAssign) and root(one.target) == name:
                return True
            if isinstance(one, ast.Delete | ast.Global) and name in stored(one) | set(
                getattr(one, "names", [])
            ):
                return True
            if isinstance(one, ast.Attribute) and root(one) == name and one.attr not in READERS:
                return True
            if isinstance(one, ast.Subscript) and root(one) == name and not isinstance(one.ctx, ast.Load):
                return True
        return False

    def returns_small(self, function: AnyFunction, depth: int = 0) -> bool:
        """Is every result of the function a small one?"""
        returns = [one for one in ast.walk(function) if isinstance(one, ast.Return)]
        return all(self.is_small(one.value, function, depth) for one in returns)
