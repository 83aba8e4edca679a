"""Where a file makes its pools, and by which names it uses them."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from allcores.fixes._module import Module, parameters, stored
from allcores.fixes._request import Withheld
from allcores.fixes._source import Source

FUTURES = "concurrent.futures."
THREADS = {FUTURES + "ThreadPoolExecutor"}
PROCESSES = {FUTURES + "ProcessPoolExecutor", "multiprocessing.Pool"}
_ALIKE = {
    "multiprocessing.pool.Pool",
    "multiprocessing.pool.ThreadPool",
    "multiprocessing.dummy.Pool",
    "allcores.ProcessPoolExecutor",
    "allcores.ThreadPoolExecutor",
}


@dataclass
class Pool:
    """One that is made in a with statement, or assigned to a name and closed some time."""

    made: ast.Call
    name: str
    scope: ast.With | ast.AsyncFunctionDef | ast.FunctionDef | ast.Module  # in which it is used


def kind(module: Module, call: ast.Call) -> str:
    """What a call makes, through a context of multiprocessing, too."""
    match call.func:
        case ast.Attribute(value=ast.Name(id=name), attr="Pool"):
            made = [
                one.value
                for one in ast.walk(module.source.tree)
                if isinstance(one, ast.Assign) and name in {n for t in one.targets for n in stored(t)}
            ]
            if made and all(
                isinstance(one, ast.Call) and module.dotted(one.func) == "multiprocessing.get_context"
                for one in made
            ):
                return "multiprocessing.Pool"
    return module.dotted(call.func)


def pools(source: Source, module: Module, kinds: set[str]) -> list[Pool]:
    """Those in whose scope the run was seen, the innermost first."""
    found: list[Pool] = []
    for node in ast.walk(source.tree):
        match node:
            case ast.With(
                items=[ast.withitem(context_expr=ast.Call() as made, optional_vars=ast.Name(id=name))]
            ):
                if kind(module, made) in kinds:
                    found.append(Pool(made, name, node))
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as made) if (
                kind(module, made) in kinds
            ):
                pool_of(source, module, name, node)
                found.append(Pool(made, name, source.function_of(node) or source.tree))
    near = source.nearest([one.scope for one in found if not isinstance(one.scope, ast.Module)])
    seen = [one for scope in near for one in found if one.scope is scope]
    return seen + [one for one in found if isinstance(one.scope, ast.Module)]


def pool_of(source: Source, module: Module, name: str, at: ast.AST) -> ast.Call:
    """The call that made the pool which a name stands for at a place. Withheld where it may be something else."""
    function = source.function_of(at)
    local = function is not None and name in stored(function) | parameters(function)
    calls: list[ast.Call] = []
    for one in ast.walk(function if function and local else source.tree):
        value: ast.expr | None = None
        if isinstance(one, ast.Name) and one.id == name and not isinstance(one.ctx, ast.Load):
            parent = source.parent[one]
            if isinstance(parent, ast.withitem):
                value = parent.context_expr
            elif isinstance(parent, ast.Assign | ast.AnnAssign):
                value = parent.value
        elif not isinstance(one, ast.arg) or one.arg != name:
            continue
        if not isinstance(value, ast.Call) or kind(module, value) not in THREADS | PROCESSES | _ALIKE:
            raise Withheld(f"that {name} is a pool, and nothing else, cannot be told")
        calls.append(value)
    if not calls:
        raise Withheld(f"that {name} is a pool cannot be told")
    return calls[0]
