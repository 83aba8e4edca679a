"""Rewrites of pools: threads that should be processes, and pools that are used badly."""

from __future__ import annotations

import ast

from allcores.fixes._apart import require_kept_small, require_left_alone, require_once, require_worth
from allcores.fixes._guard import process_task, require_memory
from allcores.fixes._made import FUTURES, PROCESSES, THREADS, kind, pool_of, pools
from allcores.fixes._module import GIVE, READERS, Module, loaded, root, stored
from allcores.fixes._request import Withheld
from allcores.fixes._safe import require_task
from allcores.fixes._source import Source


def _methods(node: ast.AST, pool: str) -> list[ast.Call]:
    """Calls of the pool's methods; withheld where the pool is used in any other way."""
    calls = [
        one
        for one in ast.walk(node)
        if isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and isinstance(one.func.value, ast.Name)
        and one.func.value.id == pool
    ]
    uses = sum(
        isinstance(one, ast.Name) and one.id == pool and isinstance(one.ctx, ast.Load)
        for one in ast.walk(node)
    )
    if uses != len(calls) or not calls:
        raise Withheld(f"{pool} is handed on, and what is done with it there was not looked into")
    return calls


def _is_called(call: ast.Call, *names: str) -> bool:
    """Is it one of these methods?"""
    return isinstance(call.func, ast.Attribute) and call.func.attr in names


def _task_of(call: ast.Call) -> str:
    match call.args:
        case [ast.Name(id=name), *_]:
            return name
        case [ast.Lambda(), *_]:
            raise Withheld("a lambda cannot be sent to another process")
        case [ast.Attribute(), *_]:
            raise Withheld("the tasks are methods: their object would have to be sent along")
    raise Withheld("what the tasks run cannot be told")


def _check_arguments(source: Source, module: Module, call: ast.Call) -> None:
    """Withheld where what is sent may be large."""
    function = source.function_of(call)
    attr = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if any(isinstance(one, ast.Starred) for one in call.args) or any(
        one.arg is None for one in call.keywords
    ):
        raise Withheld("the arguments cannot be told")
    targets = {
        name: one.iter
        for up in source.above(call)
        for one in (getattr(up, "generators", []) or ([up] if isinstance(up, ast.For) else []))
        for name in stored(one.target)
    }
    for one in call.args[1:]:
        if attr == "map":
            fine = module.has_small_items(one, function)
        elif isinstance(one, ast.Name) and one.id in targets:
            fine = module.has_small_items(targets[one.id], function)
        else:
            fine = module.is_small(one, function)
        if not fine:
            raise Withheld(f"how much would be sent to the processes cannot be told ({source.text(one)})")


def _rename_import(source: Source, old: str, new: str) -> None:
    for node in source.tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "concurrent.futures":
            names = [one.name for one in node.names]
            plain = not any(one.asname for one in node.names) and node.lineno == node.end_lineno
            if new in names:
                return
            if old in names and plain:
                kept = [new if one == old else one for one in names]
                source.replace(node, "from concurrent.futures import " + ", ".join(kept))
                return
    raise Withheld("its import is written in a way that was not thought of")


def _workers(source: Source, module: Module, call: ast.Call) -> int:
    """How many processes a pool starts that is made by this call; as many as there were threads where only the
    run can tell."""
    given = [*call.args[:1], *[one.value for one in call.keywords if one.arg in ("max_workers", "processes")]]
    if not given:
        return source.request.default_workers
    size = given[0]
    if isinstance(size, ast.Name):
        size = module.value_of(size.id, source.function_of(call)) or size
    match size:
        case ast.Constant(value=None):
            return source.request.default_workers
        case ast.Constant(value=int() as number):
            return number
    return max(source.request.threads - 1, source.request.default_workers)


def _turns_of(source: Source, module: Module, call: ast.Call) -> int | None:
    """How often a call is made: once, or for each item of the one loop around it."""
    count: int | None = 1
    for one in source.loops_above(call):
        if count != 1 or isinstance(one, ast.While) or getattr(one, "ifs", []):
            return None
        count = module.count_of(one.iter, source.function_of(call))
    return count


def _chunked(source: Source, module: Module, call: ast.Call, workers: int, alone: bool) -> None:
    """Tasks that are worth a process: those of a map in chunks. ``alone``: they are all that there are."""
    if not _is_called(call, "map"):
        turns = _turns_of(source, module, call)
        require_worth(source, turns, chunked=False)
        if alone:
            source.request.tell(turns, min(workers, source.request.workers))
        return
    function = source.function_of(call)
    items = call.args[1] if len(call.args) == 2 else None
    if items is None or not module.has_length(items, function):
        raise Withheld(
            "whether the tasks can be counted cannot be told, so not whether they are worth a process"
        )
    count = module.count_of(items, function)
    require_worth(source, count, chunked=True)
    if alone:
        source.request.tell(count, min(workers, source.request.workers))
    if not any(one.arg == "chunksize" for one in call.keywords):
        _add_chunksize(source, items)


def _add_chunksize(source: Source, items: ast.expr) -> None:
    size = f"max(1, len({source.text(items)}) // {4 * source.request.workers})"
    end = source.span(items)[1]
    source.edits.append((end, end, f", chunksize={size}"))


def threads_to_processes(source: Source) -> bool:
    """ThreadPoolExecutor becomes ProcessPoolExecutor, in the one place where it is used."""
    old, new = "ThreadPoolExecutor", "ProcessPoolExecutor"
    module = Module(source)
    uses = [
        one
        for one in ast.walk(source.tree)
        if isinstance(one, ast.Name | ast.Attribute) and module.dotted(one) in THREADS
    ]
    found = pools(source, module, THREADS)
    if not found:
        return False
    call, methods = found[0].made, _methods(found[0].scope, found[0].name)
    if len(uses) != 1:
        raise Withheld("the file has several thread pools")
    if any(one.arg != "max_workers" for one in call.keywords) or len(call.args) > 1:
        raise Withheld("the pool has options that mean threads")
    tasks = [one for one in methods if not _is_called(one, "shutdown")]
    if not tasks:
        raise Withheld("the pool is given no task")
    for one in tasks:
        if not _is_called(one, "map", "submit"):
            raise Withheld("the pool is used in ways that were not thought of")
        _check_arguments(source, module, one)
    require_once(source, call)
    numbered = bool(call.args or call.keywords)
    workers = _workers(source, module, call) if numbered else source.request.pool_size
    for one in tasks:
        _chunked(source, module, one, workers, len(tasks) == 1)
    require_memory(source.request, workers)
    # the pool's tasks: each checked, the guard made once
    names = sorted({_task_of(one) for one in tasks})
    for name in names[1:]:
        require_task(module, name, process=True)
    process_task(source, module, names[0])
    if not numbered:
        end = source.span(call)[1] - 1
        source.edits.append((end, end, source.request.number))
    if isinstance(call.func, ast.Name):
        if call.func.id != old:
            raise Withheld("its import is written in a way that was not thought of")
        _rename_import(source, old, new)
        source.replace(call.func, new)
    else:
        source.replace(call.func, source.text(call.func).replace(old, new))
    return True


def chunks(source: Source) -> bool:
    """A ``chunksize`` for ``map``, ``imap`` and ``imap_unordered`` of many small tasks."""
    module = Module(source)
    for pool in pools(source, module, PROCESSES):
        futures = kind(module, pool.made).startswith(FUTURES)
        wanted = ("map",) if futures else ("imap", "imap_unordered")
        done = False
        for call in _methods(pool.scope, pool.name):
            assert isinstance(call.func, ast.Attribute)
            has = any(one.arg in ("chunksize", None) for one in call.keywords) or (
                not futures and len(call.args) > 2
            )
            if call.func.attr in wanted and len(call.args) >= 2 and not has:
                items = call.args[1]
                if len(call.args) > 2 or not module.has_length(items, source.function_of(call)):
                    raise Withheld(f"whether {source.text(items)} can be counted cannot be told")
                _add_chunksize(source, items)
                done = True
        if done:
            return True
    return False


def _plain_loop(node: ast.For) -> None:
    for one in ast.walk(node):
        if isinstance(one, ast.Break | ast.Return | ast.Continue | ast.Yield | ast.Await | ast.Try):
            raise Withheld("the loop may end before its last item")
    if node.orelse:
        raise Withheld("the loop has an else")


def collect_later(source: Source) -> bool:
    """``submit().result()`` or ``apply()`` in a for loop: all are submitted first."""
    module = Module(source)
    loops: list[ast.stmt] = [one for one in ast.walk(source.tree) if isinstance(one, ast.For)]
    for loop in source.nearest(loops):
        assert isinstance(loop, ast.For)
        waits = [one for one in ast.walk(loop) if isinstance(one, ast.Call) and _submitted(one)]
        if len(waits) != 1:
            continue
        wait = waits[0]
        made = _submitted(wait)
        assert made is not None and isinstance(made.func, ast.Attribute)
        assert isinstance(made.func.value, ast.Name)
        pool = pool_of(source, module, made.func.value.id, loop)
        source.request.tell(
            module.count_of(loop.iter, source.function_of(loop)), _workers(source, module, pool)
        )
        _plain_loop(loop)
        if not in_every_turn(source, loop, wait):
            raise Withheld("the task is not submitted in every turn of the loop")
        require_task(module, _task_of(made), process=False)
        require_kept_small(module, _task_of(made))
        if not module.has_length(loop.iter, source.function_of(loop)):
            raise Withheld(f"whether {source.text(loop.iter)} can be taken as a whole cannot be told")
        require_left_alone(source, module, loop, made)
        require_given_apart(loop, [*made.args[1:], *[k.value for k in made.keywords]], "a task")
        if not isinstance(loop.target, ast.Name) or wait.lineno != wait.end_lineno:
            raise Withheld("the loop is written in a way that was not thought of")
        target, indent = loop.target.id, source.indent(loop)
        taken = loaded(source.tree) | stored(source.tree)
        job, jobs = next((j, j + "s") for j in ("job", "future", "pending_job") if not {j, j + "s"} & taken)
        rest = [one for one in ast.walk(loop) if isinstance(one, ast.Name) and one.id == target]
        within = [one for one in ast.walk(made) if isinstance(one, ast.Name) and one.id == target]
        kept = len(rest) - 1 > len(within) or is_used_after(source, loop)
        text = source.text(made).replace(".apply(", ".apply_async(", 1)
        value = f"({target}, {text})" if kept else text
        end = source.at(loop.body[0].lineno) if loop.body[0].lineno > loop.lineno else 0
        if not end or loop.body[0].lineno != loop.lineno + 1:
            raise Withheld("the loop is written in a way that was not thought of")
        get = "get" if made.func.attr != "submit" else "result"
        source.replace(wait, f"{job}.{get}()")
        source.replace_lines(
            loop.lineno,
            loop.lineno,
            [
                f"{indent}{jobs} = [{value} for {target} in {source.text(loop.iter)}]",
                f"{indent}for {f'{target}, ' if kept else ''}{job} in {jobs}:",
            ],
        )
        return True
    return False


def in_every_turn(source: Source, loop: ast.For, node: ast.AST) -> bool:
    """Is this part of a loop's body reached once in each turn?"""
    some = (
        ast.For | ast.While | ast.ListComp | ast.If | ast.IfExp | ast.BoolOp | ast.Lambda | ast.GeneratorExp
    )
    within = set(ast.walk(loop)) - {loop}
    return not any(isinstance(up, some) for up in source.above(node) if up in within)


def require_given_apart(loop: ast.For, given: list[ast.expr], what: str) -> None:
    """What each turn hands out must not come from an earlier turn. Withheld where it may."""
    names = set().union(*(loaded(one) for one in given))
    inside = set().union(*(stored(one) for one in loop.body))
    changed = {
        root(one.func if isinstance(one, ast.Call) else one)
        for statement in loop.body
        for one in ast.walk(statement)
        if (isinstance(one, ast.Attribute | ast.Subscript) and not isinstance(one.ctx, ast.Load))
        or (
            isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr not in READERS
        )
    }
    if names & (inside | changed) or stored(loop.target) & inside:
        raise Withheld(f"{what} is given what an earlier turn of the loop made")


def pool_hoisted(source: Source) -> bool:
    """A pool that each turn of a loop makes anew is made once, around the loop."""
    module = Module(source)
    for pool in pools(source, module, PROCESSES):
        assigned = not isinstance(pool.scope, ast.With)
        node = source.parent[pool.made] if assigned else pool.scope
        loop = source.parent.get(node)
        if not isinstance(loop, ast.For | ast.While) or node not in loop.body:
            continue
        assert isinstance(node, ast.With | ast.Assign)
        made = pool.made
        if any(one.arg not in ("max_workers", "processes", "mp_context") for one in made.keywords):
            raise Withheld("the pool has options that may mean each turn of the loop")
        if len(made.args) > 1 or loaded(made) & (stored(loop) | {pool.name}):
            raise Withheld("the pool is made from what the loop changes")
        calls = _methods(pool.scope, pool.name)
        ends = [one for one in calls if assigned and _is_called(one, "close", "join", "shutdown")]
        for one in calls:
            if one not in ends and not _is_called(one, *GIVE):
                raise Withheld("the pool is used in ways that were not thought of")
            if one not in ends:
                require_task(module, _task_of(one), process=False)
        used = [one for one in ast.walk(source.tree) if isinstance(one, ast.Name) and one.id == pool.name]
        if set(used) - set(ast.walk(loop if assigned else node)):
            raise Withheld(f"{pool.name} is used in other places, too")
        if assigned:
            _hoist_assigned(source, loop, node, ends)
        else:
            assert isinstance(node, ast.With)
            _hoist_with(source, loop, node)
        return True
    return False


def _hoist_with(source: Source, loop: ast.For | ast.While, node: ast.With) -> None:
    named = node.items[0].optional_vars
    if named is None or named.end_lineno != node.lineno or node.body[0].lineno == node.lineno:
        raise Withheld("the pool is made in a way that was not thought of")
    indent, step = source.indent(loop), source.step()
    source.indent(node)
    source.replace_lines(loop.lineno, loop.lineno - 1, [indent + source.line_text(node.lineno).lstrip(" \t")])
    source.replace_lines(node.lineno, node.lineno, [])
    source.shift(loop.lineno, node.lineno - 1, step)
    source.shift((node.end_lineno or node.lineno) + 1, loop.end_lineno or loop.lineno, step)


def _hoist_assigned(source: Source, loop: ast.For | ast.While, node: ast.stmt, ends: list[ast.Call]) -> None:
    """The line that makes it goes above the loop, those that close it below."""
    closing = [source.parent[one] for one in ends]
    last = loop.end_lineno or loop.lineno
    moved: list[ast.stmt] = [node]
    for one in closing:
        if not isinstance(one, ast.Expr) or one not in loop.body:
            raise Withheld("the pool is closed in a way that was not thought of")
        moved.append(one)
    indent = source.indent(loop)
    for statement in moved:
        source.indent(statement)
        tail = source.line_text(statement.lineno).encode()[statement.end_col_offset or 0 :].strip()
        if statement.lineno != statement.end_lineno or tail:
            raise Withheld("the pool is made or closed in a way that was not thought of")
        source.replace_lines(statement.lineno, statement.lineno, [])
    source.replace_lines(loop.lineno, loop.lineno - 1, [indent + source.text(node)])
    source.replace_lines(last + 1, last, [indent + source.text(one) for one in moved[1:]])


def is_used_after(source: Source, loop: ast.For) -> bool:
    """Is the loop's variable read below it, in whatever scope?"""
    name = loop.target.id if isinstance(loop.target, ast.Name) else ""
    last = loop.end_lineno or loop.lineno
    return any(
        isinstance(one, ast.Name) and one.id == name and one.lineno > last for one in ast.walk(source.tree)
    )


def _submitted(node: ast.AST) -> ast.Call | None:
    """The call that hands a task out, of an expression that waits for its result at once."""
    match node:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Attribute(attr="submit", value=ast.Name())) as made, attr="result"
            ),
            args=[],
            keywords=[],
        ):
            return made
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Attribute(attr="apply_async", value=ast.Name())) as made, attr="get"
            ),
            args=[],
            keywords=[],
        ):
            return made
        case ast.Call(func=ast.Attribute(attr="apply", value=ast.Name()), args=[ast.Name(), *_]):
            return node
    return None
