"""Rewrite of threads that are started and joined by hand: their calls go to a pool of processes.

What each thread appends to a list that all share, with a lock around it or without, its function returns
instead; the pool gives it back in the order of the items, one of the orders that the threads could have had.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from allcores.fixes._apart import require_once, require_worth
from allcores.fixes._guard import process_task, require_memory
from allcores.fixes._loops import import_line
from allcores.fixes._module import Module, loaded, stored
from allcores.fixes._request import Withheld
from allcores.fixes._source import AnyFunction, Source

_LOCKS = ("threading.Lock", "threading.RLock")


@dataclass
class _Threads:
    """Statements that make, start and join threads of one function."""

    statements: list[ast.stmt]
    calls: list[ast.Call]
    target: str
    items: ast.expr  # what the threads are given, one each
    item: int  # which of the arguments that is
    args: list[ast.expr]  # of one of the threads
    text: str  # of the items


def _thread_call(module: Module, node: ast.AST) -> tuple[str, list[ast.expr]] | None:
    """``threading.Thread(target=f, args=(a, b))``: f and the arguments."""
    if not isinstance(node, ast.Call) or module.dotted(node.func) != "threading.Thread" or node.args:
        return None
    given = {one.arg: one.value for one in node.keywords}
    target, args = given.get("target"), given.get("args")
    if not isinstance(target, ast.Name) or not isinstance(args, ast.Tuple | ast.List):
        return None
    if set(given) - {"target", "args", "daemon"}:
        raise Withheld("the threads have options that processes do not")
    return target.id, args.elts


def _is_called(node: ast.stmt, name: str, method: str) -> bool:
    """``name.method()`` as a statement."""
    match node:
        case ast.Expr(
            value=ast.Call(func=ast.Attribute(value=ast.Name(id=on), attr=attr), args=[], keywords=[])
        ):
            return on == name and attr == method
    return False


def _for_each(node: ast.stmt, threads: str, method: str) -> bool:
    """``for t in threads: t.method()``"""
    match node:
        case ast.For(target=ast.Name(id=one), iter=ast.Name(id=over), body=[call], orelse=[]):
            return over == threads and _is_called(call, one, method)
    return False


def _ends(body: list[ast.stmt], at: int, threads: str, started: bool) -> int | None:
    """The index behind the loops that start and join the threads of a list."""
    for method in () if started else ("start",):
        if at >= len(body) or not _for_each(body[at], threads, method):
            return None
        at += 1
    return at + 1 if at < len(body) and _for_each(body[at], threads, "join") else None


def _position(args: list[ast.expr], item: str) -> int:
    at = [i for i, one in enumerate(args) if isinstance(one, ast.Name) and one.id == item]
    if len(at) != 1 or any(item in loaded(one) for i, one in enumerate(args) if i != at[0]):
        raise Withheld("what each thread is given is computed from the loop's variable")
    return at[0]


def _in_comprehension(source: Source, module: Module, body: list[ast.stmt], at: int) -> _Threads | None:
    """``threads = [Thread(...) for x in items]`` and two loops."""
    match body[at]:
        case ast.Assign(
            targets=[ast.Name(id=threads)],
            value=ast.ListComp(
                elt=ast.Call() as call,
                generators=[ast.comprehension(target=ast.Name(id=item), iter=items, ifs=[], is_async=0)],
            ),
        ):
            made, end = _thread_call(module, call), _ends(body, at + 1, threads, False)
            if made and end:
                position = _position(made[1], item)
                return _Threads(body[at:end], [call], made[0], items, position, made[1], source.text(items))
    return None


def _loop_body(module: Module, loop: ast.For, threads: str) -> tuple[ast.Call, bool] | None:
    """The call that makes a thread in the loop, and whether it is started there."""
    match loop.body:
        case [
            ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=on), attr="append"), args=[made]))
        ]:
            return (made, False) if on == threads and isinstance(made, ast.Call) else None
        case [ast.Assign(targets=[ast.Name(id=thread)], value=ast.Call() as made), *rest] if len(rest) in (
            1,
            2,
        ):
            appended = [
                one
                for one in rest
                if ast.dump(one) == ast.dump(ast.parse(f"{threads}.append({thread})").body[0])
            ]
            started = [one for one in rest if _is_called(one, thread, "start")]
            if len(appended) == 1 and len(started) == len(rest) - 1:
                return made, bool(started)
    return None


def _in_loop(source: Source, module: Module, body: list[ast.stmt], at: int) -> _Threads | None:
    """``threads = []``, a loop that makes and perhaps starts one each, and the loop that joins them."""
    match body[at : at + 2]:
        case [
            ast.Assign(targets=[ast.Name(id=threads)], value=ast.List(elts=[])),
            ast.For(target=ast.Name(id=item), iter=items, orelse=[]) as loop,
        ]:
            found = _loop_body(module, loop, threads)
            made = _thread_call(module, found[0]) if found else None
            end = _ends(body, at + 2, threads, found[1]) if found else None
            if found and made and end:
                position = _position(made[1], item)
                return _Threads(
                    body[at:end], [found[0]], made[0], items, position, made[1], source.text(items)
                )
    return None


def _one_by_one(source: Source, module: Module, body: list[ast.stmt], at: int) -> _Threads | None:
    """``a = Thread(...)``, ``b = Thread(...)``, each started, then each joined."""
    names: list[str] = []
    made: list[tuple[str, list[ast.expr]]] = []
    calls: list[ast.Call] = []
    for one in body[at:]:
        match one:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call) if _thread_call(
                module, call
            ):
                names.append(name)
                calls.append(call)
                made += [_thread_call(module, call) or ("", [])]
            case _:
                break
    end = at + 3 * len(names)
    rest = body[at + len(names) : end]
    if len(names) < 2 or len(set(names)) < len(names) or len(rest) < 2 * len(names):
        return None
    for i, one in enumerate(rest):
        method = "start" if i < len(names) else "join"
        if not any(_is_called(one, name, method) for name in names):
            return None
    if len({ast.dump(one) for one in rest}) < len(rest) or len({target for target, _ in made}) > 1:
        return None
    args = [one for _, one in made]
    differ = [i for i in range(len(args[0])) if len({ast.dump(one[i]) for one in args if i < len(one)}) > 1]
    if len({len(one) for one in args}) > 1 or len(differ) != 1:
        raise Withheld("what each thread is given differs in more than one argument")
    each = [one[differ[0]] for one in args]
    text = "[" + ", ".join(source.text(one) for one in each) + "]"
    items = ast.List(elts=each, ctx=ast.Load())
    return _Threads(body[at:end], calls, made[0][0], items, differ[0], args[0], text)


def _bodies(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list) and body and isinstance(body[0], ast.stmt):
                yield body


def _find(source: Source, module: Module) -> _Threads | None:
    found: list[_Threads] = []
    for body in _bodies(source.tree):
        at = 0
        while at < len(body):
            one = (
                _in_comprehension(source, module, body, at)
                or _in_loop(source, module, body, at)
                or _one_by_one(source, module, body, at)
            )
            found += [one] if one else []
            at += len(one.statements) if one else 1
    found = [one for one in found if any(source.is_seen(each) for each in one.statements)]
    return found[0] if len(found) == 1 else None


# --- what the function does with the shared list


def _count(tree: ast.AST, name: str) -> int:
    return sum(isinstance(one, ast.Name) and one.id == name for one in ast.walk(tree))


def _kept(function: AnyFunction) -> tuple[ast.expr, str, str] | None:
    """The value that its last statement appends, the list and the lock around it ("" none)."""
    last, lock = function.body[-1], ""
    match last:
        case ast.With(items=[ast.withitem(context_expr=ast.Name(id=lock), optional_vars=None)], body=[inner]):
            last = inner
    match last:
        case ast.Expr(
            value=ast.Call(
                func=ast.Attribute(value=ast.Name(id=shared), attr="append"), args=[value], keywords=[]
            )
        ) if not isinstance(value, ast.Starred):
            return value, shared, lock
    return None


def _made(source: Source, module: Module, name: str, calls: tuple[str, ...]) -> ast.Assign | None:
    """The one statement that binds a name, where it binds it to a new list or lock."""
    found = [
        one
        for one in ast.walk(source.tree)
        if isinstance(one, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in one.targets)
    ]
    stores = [
        one
        for one in ast.walk(source.tree)
        if isinstance(one, ast.Name) and one.id == name and not isinstance(one.ctx, ast.Load)
    ]
    if len(found) != 1 or len(stores) != 1 or len(found[0].targets) != 1:
        return None
    value = found[0].value
    if isinstance(value, ast.List) and "list" in calls:
        return found[0]
    plain = isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in calls
    dotted = isinstance(value, ast.Call) and module.dotted(value.func) in calls
    return found[0] if plain or dotted else None


def _drop_parameters(source: Source, function: AnyFunction, keep: int) -> None:
    args = function.args
    if args.posonlyargs or args.kwonlyargs or args.vararg or args.kwarg or args.defaults:
        raise Withheld(f"{function.name} has parameters of a kind that was not thought of")
    first, last = args.args[0], args.args[-1]
    start = source.at(first.lineno, first.col_offset)
    end = source.at(last.end_lineno or last.lineno, last.end_col_offset or 0)
    kept = args.args[keep]
    text = source.data[
        source.at(kept.lineno, kept.col_offset) : source.at(
            kept.end_lineno or kept.lineno, kept.end_col_offset or 0
        )
    ].decode()
    if len(args.args) > 1:
        source.edits.append((start, end, text))
    args.args = [kept]


def _return_instead(source: Source, function: AnyFunction, value: ast.expr) -> None:
    last = function.body[-1]
    lines = range(last.lineno, (last.end_lineno or last.lineno) + 1)
    if any(isinstance(one, ast.Return) for one in ast.walk(function)):
        raise Withheld(f"{function.name} returns before it appends its result")
    if value.lineno != value.end_lineno or any("#" in source.line_text(line) for line in lines):
        raise Withheld("a comment stands in what would be replaced")
    text = f"{source.indent(last)}return {source.text(value)}"
    source.replace_lines(lines[0], lines[-1], [text])
    made = ast.copy_location(ast.Return(value=value), last)
    source.parent[made], source.parent[value] = function, made
    function.body[-1] = made


def _remove(source: Source, statement: ast.stmt) -> None:
    """A statement that nothing needs any more."""
    parent = source.parent[statement]
    body = getattr(parent, "body", [])
    if statement in body and len(body) > 1 and statement.lineno == statement.end_lineno:
        source.indent(statement)
        if not source.line_text(statement.lineno).encode()[statement.end_col_offset or 0 :].strip():
            source.replace_lines(statement.lineno, statement.lineno, [])
            body.remove(statement)


def _give_back(source: Source, module: Module, threads: _Threads) -> str:
    """The function returns what it appended. The list's name where the threads are made; "" for none."""
    function = module.functions[threads.target]
    names = [one.arg for one in function.args.args]
    if len(names) != len(threads.args):
        raise Withheld(f"{function.name} is not given all of its parameters")
    given = {name: one.id for name, one in zip(names, threads.args, strict=True) if isinstance(one, ast.Name)}
    kept = _kept(function)
    unused = set(names) - {names[threads.item]}
    shared = ""
    if kept:
        value, inner, lock = kept
        shared = given.get(inner, "") if inner in names else inner
        if not shared or _made(source, module, shared, ("list", "collections.deque")) is None:
            raise Withheld(f"what {inner} is, which the threads append to, cannot be told")
        if (
            _count(function, inner) != 1
            or (lock and _count(function, lock) != 1)
            or inner == names[threads.item]
        ):
            raise Withheld(f"{function.name} reads what the threads share")
        _return_instead(source, function, value)
        outer = given.get(lock, "") if lock in names else lock
        if lock and not outer:
            raise Withheld(f"what {lock} is cannot be told")
        made = _made(source, module, outer, _LOCKS) if outer else None
        if lock and made is None:
            raise Withheld(f"{lock} is no lock of this file's")
        given_to = len(threads.calls) if lock in names else 0
        if made is not None and _count(source.tree, outer) == 1 + given_to:
            _remove(source, made)
    if unused & {one.id for one in ast.walk(function) if isinstance(one, ast.Name)}:
        raise Withheld("the threads are given more than one argument that they use")
    _drop_parameters(source, function, threads.item)
    return shared


def _replace_import(source: Source, module: Module, threads: _Threads) -> bool:
    """In place of the import of threading, where nothing else needs that."""
    used = {name for name, what in module.imports.items() if what.split(".")[0] == "threading"}
    gone = [*threads.statements]
    left = sum(_count(source.tree, name) for name in used) - sum(
        _count(one, name) for one in gone for name in used
    )
    for one in source.tree.body:
        if isinstance(one, ast.Import | ast.ImportFrom) and left == 0:
            names = {(alias.asname or alias.name).split(".")[0] for alias in one.names}
            plain = one.lineno == one.end_lineno and "#" not in source.line_text(one.lineno)
            if names == used and plain:
                source.replace(one, "from concurrent.futures import ProcessPoolExecutor")
                return True
    return False


def joined_threads(source: Source) -> bool:
    """``threading.Thread`` for each item, started and joined, becomes ``ProcessPoolExecutor().map``."""
    module = Module(source)
    threads = _find(source, module)
    if threads is None:
        return False
    first, last = threads.statements[0], threads.statements[-1]
    site = source.function_of(first)
    if isinstance(site, ast.AsyncFunctionDef):
        raise Withheld("the threads are joined in a coroutine, which a pool would block, too")
    if threads.target not in module.functions:
        raise Withheld(f"{threads.target} is no plain function of this file")
    function = module.functions[threads.target]
    if _count(source.tree, threads.target) != len(threads.calls):
        raise Withheld(f"{threads.target} is used in other places, too")
    if any(isinstance(one, ast.Raise) for one in ast.walk(function)):
        raise Withheld(f"{threads.target} may raise, which ends a thread and no more than that")
    ours = set().union(*(stored(one) for one in threads.statements))
    inside = {one for statement in threads.statements for one in ast.walk(statement)}
    for one in ast.walk(site or source.tree):
        if isinstance(one, ast.Name) and one.id in ours and one not in inside and one.lineno > first.lineno:
            raise Withheld(f"{one.id} is used after the threads were joined")
    lines = range(first.lineno, (last.end_lineno or last.lineno) + 1)
    if "\n" in threads.text or any("#" in source.line_text(line) for line in lines):
        raise Withheld("a comment stands in what would be replaced")
    source.request.tell(module.count_of(threads.items, site), source.request.pool_size)
    if not module.has_length(threads.items, site):
        raise Withheld(f"whether {threads.text} can be counted and taken as a whole cannot be told")
    if not module.has_small_items(threads.items, site):
        raise Withheld(f"how much would be sent to the processes cannot be told ({threads.text})")
    shared = _give_back(source, module, threads)
    replaced = _replace_import(source, module, threads)
    module = Module(source)
    require_once(source, first)
    require_worth(source, module.count_of(threads.items, site), chunked=True)
    require_memory(source.request, source.request.pool_size)
    process_task(source, module, threads.target, threads.statements)
    pool = next(one for one in ("executor", "pool", "fix_executor") if not _count(source.tree, one))
    call = f"{pool}.map({threads.target}, {threads.text})"
    indent, step = source.indent(first), source.step()
    work = f"{shared}.extend({call})" if shared else f"list({call})"
    made = f"{indent}with ProcessPoolExecutor({source.request.number}) as {pool}:"
    source.replace_block(lines[0], lines[-1], [made, f"{indent}{step}{work}"])
    if not replaced:
        import_line(source, "ProcessPoolExecutor")
    return True
