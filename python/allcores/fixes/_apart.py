"""What holds for the whole of a run, as far as the source tells: what nobody changes, and what happens once."""

from __future__ import annotations

import ast

from allcores.fixes._module import GIVE, READERS, Module, words
from allcores.fixes._request import Withheld
from allcores.fixes._source import Source

# They go through what they are given, or count it, and keep nothing of it but its elements.
_LOOKS = words(
    "len sum min max sorted list tuple set frozenset enumerate zip any all str repr print range reversed dict"
)
_NEW = words("int float complex bool str bytes len sum round abs ord chr range hash bin hex oct ascii repr")
_ELEMENTS = words("list tuple set frozenset sorted reversed")


def _is_frozen(module: Module, node: ast.expr, depth: int = 0) -> bool:
    """A number, a text, a tuple of such: nobody can change it."""

    def frozen(one: ast.expr) -> bool:
        return _is_frozen(module, one, depth + 1)

    match node:
        case ast.Constant() | ast.JoinedStr() | ast.Compare():
            return True
        case ast.UnaryOp(operand=operand):
            return frozen(operand)
        case ast.BinOp(left=left, right=right):
            return frozen(left) and frozen(right)
        case ast.Tuple(elts=elts):
            return all(frozen(one) for one in elts)
        case ast.Call(func=ast.Name(id=name)):
            return name in _NEW and module.is_builtin(name)
        case ast.Call(func=ast.Attribute() as func):
            return module.dotted(func).startswith(("math.", "re.compile", "time."))
        case ast.Attribute():
            return module.dotted(node).startswith("math.")
        case ast.Name(id=name) if depth < 8:
            return name in module.constants and frozen(module.constants[name])
    return False


def _is_flat(module: Module, node: ast.expr) -> bool:
    """What it holds is frozen: who has an element cannot change what others see."""
    match node:
        case ast.List(elts=elts) | ast.Tuple(elts=elts) | ast.Set(elts=elts):
            return all(_is_frozen(module, one) for one in elts)
        case ast.Dict(values=values):
            return all(_is_frozen(module, one) for one in values)
        case ast.ListComp(elt=elt, generators=[ast.comprehension(target=ast.Name(id=item), iter=items)]):
            made = isinstance(elt, ast.BinOp | ast.JoinedStr | ast.Constant | ast.Compare)
            return made or (isinstance(elt, ast.Name) and elt.id == item and _is_flat(module, items))
        case ast.Call(func=ast.Name(id="range")):
            return True
        case ast.Call(func=ast.Name(id=name), args=args) if name in _ELEMENTS:
            return all(_is_flat(module, one) for one in args)
        case ast.Call(func=ast.Attribute(attr="split" | "splitlines" | "read" | "encode")):
            return True
    return False


def _is_looked_at(source: Source, module: Module, node: ast.Name, flat: bool) -> bool:
    """Does this use of a name leave the object as it is, and hand it to nobody?"""
    parent = source.parent[node]
    match parent:
        case ast.Compare() | ast.FormattedValue():
            return True
        case ast.Subscript(ctx=ast.Load()) | ast.For() | ast.AsyncFor() | ast.comprehension():
            return flat
        case ast.Attribute(attr=attr):
            return attr in READERS and (flat or attr in {"count", "index", "keys"})
        case ast.Call(func=ast.Name(id=name)) if parent.func is not node:
            return name in _LOOKS and module.is_builtin(name) and (flat or name == "len")
        case ast.Call(func=ast.Attribute(attr=attr)) if parent.func is not node:
            return attr in GIVE
    return False


def require_unchanged(module: Module, name: str, used: str, seen: set[str]) -> None:
    """The module's ``used`` stays as it is made. Withheld where it may not; functions in ``seen`` were looked into."""
    value, source = module.constants[used], module.source
    if _is_frozen(module, value):
        return
    flat = _is_flat(module, value)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name) and node.id == used and isinstance(node.ctx, ast.Load):
            function = source.function_of(node)
            if function and function.name in seen and module.functions.get(function.name) is function:
                continue
            if not _is_looked_at(source, module, node, flat):
                raise Withheld(f"{name} uses {used}, which the program may change")


def require_left_alone(source: Source, module: Module, loop: ast.For, given: ast.AST) -> None:
    """What a loop goes through does not change on the way. Withheld where it may; ``given``: what each turn hands
    out, to functions that were looked into."""
    if not isinstance(loop.iter, ast.Name):
        return  # made for this loop
    name, handed = loop.iter.id, set(ast.walk(given))
    for node in ast.walk(source.function_of(loop) or source.tree):
        if not isinstance(node, ast.Name) or node.id != name or node is loop.iter or node in handed:
            continue
        parent = source.parent[node]
        inside = any(up is loop for up in source.above(node))
        named = isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr) and parent.value is node
        looked_at = isinstance(node.ctx, ast.Load) and _is_looked_at(source, module, node, True)
        if named or (inside and not looked_at):
            raise Withheld(f"the loop goes through {name}, which its turns may change")


def _uses(source: Source, name: str) -> list[ast.AST]:
    return [
        one
        for one in ast.walk(source.tree)
        if (isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load))
        or (isinstance(one, ast.Attribute) and one.attr == name)
    ]


def require_once(source: Source, node: ast.AST) -> None:
    """The program comes by here once: starting processes takes some 0.1 s each time. Withheld where it may not."""
    seen: set[str] = set()
    while True:
        function = source.function_of(node)
        if next(source.loops_above(node), None):
            raise Withheld("it stands in a loop: each turn would start its processes anew")
        if function is None:
            return
        uses = _uses(source, function.name)
        if not uses and not source.is_main and source.request.main != "-":
            source = source.main_file()
            uses = _uses(source, function.name)
        if len(uses) != 1 or function.name in seen:
            raise Withheld(
                f"how often {function.name} is called cannot be told: each time would start processes"
            )
        seen.add(function.name)
        node = uses[0]


def require_worth(source: Source, calls: int | None, chunked: bool) -> None:
    """The tasks are not so short that a process costs more than they take. Withheld where they are."""
    least = 20e-6 if chunked else 1e-3  # s; of some 2 us of pickling, some 100 us of dispatch (docs/bench.md)
    spent = source.request.cpu_s
    if calls is None and not chunked:
        raise Withheld("how many tasks there are cannot be told, so not whether they are worth a process")
    if calls and spent and spent / calls < least:
        raise Withheld(
            f"a task takes about {1e6 * spent / calls:.0f} us, too little for what handing it out costs"
        )


def require_kept_small(module: Module, name: str) -> None:
    """All results may be held at once. Withheld where they may be large."""
    if not module.returns_small(module.functions[name]):
        raise Withheld(
            f"the size of what {name} returns cannot be told: all results at once may be more than fits"
        )
