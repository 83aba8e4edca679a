"""Rewrites of coroutines: awaits one after another become one gather, a call that blocks goes to a thread."""

from __future__ import annotations

import ast

from allcores.fixes._apart import require_kept_small, require_left_alone
from allcores.fixes._loops import AT_ONCE, add_import
from allcores.fixes._module import Module, loaded, stored, words
from allcores.fixes._pools import in_every_turn, is_used_after, require_given_apart
from allcores.fixes._request import Withheld
from allcores.fixes._safe import CLIENTS, NETWORK, require_coroutine, require_task
from allcores.fixes._source import AnyFunction, Source


def _asyncio(source: Source, module: Module) -> str:
    """The name of asyncio, which is imported where it is not."""
    for name, what in module.imports.items():
        if what == "asyncio":
            return name
    if "asyncio" in loaded(source.tree) | stored(source.tree):
        raise Withheld("the file has something else that is called asyncio")
    add_import(source, "import asyncio")
    return "asyncio"


def _clients_at(module: Module, site: AnyFunction) -> set[str]:
    """Names that ``async with aiohttp.ClientSession() as name`` binds in a coroutine."""
    return {
        name
        for one in ast.walk(site)
        if isinstance(one, ast.withitem) and one.optional_vars is not None
        if isinstance(one.context_expr, ast.Call) and module.dotted(one.context_expr.func) in CLIENTS
        for name in stored(one.optional_vars)
    }


def _require_apart(module: Module, call: ast.Call, site: AnyFunction) -> None:
    """The calls of the coroutine may run side by side. Withheld where that is not sure."""
    if not isinstance(call.func, ast.Name) or call.func.id not in module.functions:
        raise Withheld("what is awaited is no plain coroutine of this file")
    function = module.functions[call.func.id]
    if not isinstance(function, ast.AsyncFunctionDef):
        raise Withheld(f"{function.name} is no coroutine")
    if call.keywords or any(isinstance(one, ast.Starred) for one in call.args):
        raise Withheld("the arguments cannot be told")
    open_clients = _clients_at(module, site)
    names = [one.arg for one in function.args.args]
    given = zip(names, call.args, strict=False)
    clients = {name for name, one in given if isinstance(one, ast.Name) and one.id in open_clients}
    require_coroutine(module, function.name, frozenset(clients))


def _awaited(node: ast.AST) -> list[ast.Await]:
    return [one for one in ast.walk(node) if isinstance(one, ast.Await)]


class _Gather:
    """The words of a gather over a loop's items, and the lines that must stand before it."""

    def __init__(
        self, source: Source, module: Module, call: ast.Call, target: ast.expr, items: ast.expr
    ) -> None:
        asyncio = _asyncio(source, module)
        taken = loaded(source.tree) | stored(source.tree)
        limited, gate, given = (
            next(one for one in names if one not in taken)
            for names in (
                ("limited", "at_most", "_limited"),
                ("gate", "slots", "_gate"),
                ("call", "one", "_call"),
            )
        )
        text, count = source.text(call), module.count_of(items, source.function_of(call))
        source.request.tell(count, AT_ONCE)
        few = count is not None and count <= AT_ONCE
        each = text if few else f"{limited}({text})"
        self.text = f"await {asyncio}.gather(*({each} for {source.text(target)} in {source.text(items)}))"
        step = source.step()
        self.before = (
            []
            if few
            else [
                f"{gate} = {asyncio}.Semaphore({AT_ONCE})",
                "",
                f"async def {limited}({given}):",
                f"{step}async with {gate}:",
                f"{step * 2}return await {given}",
                "",
            ]
        )


def _comprehension_of(statement: ast.stmt) -> ast.ListComp | None:
    """``[await f(x) for x in items]`` somewhere in a simple statement."""
    if not isinstance(statement, ast.Assign | ast.Return | ast.Expr | ast.AugAssign):
        return None
    found = [one for one in ast.walk(statement) if isinstance(one, ast.ListComp) and _awaited(one)]
    if len(found) == 1 and len(_awaited(statement)) == 1 and isinstance(found[0].elt, ast.Await):
        generators = found[0].generators
        if len(generators) == 1 and not generators[0].ifs and not generators[0].is_async:
            return found[0]
    return None


def _check_lines(source: Source, first: int, last: int) -> None:
    if any("#" in source.line_text(line) for line in range(first, last + 1)):
        raise Withheld("a comment stands in what would be replaced")


def _put(source: Source, statement: ast.stmt, last: int, before: list[str], lines: list[str]) -> None:
    indent = source.indent(statement)
    text = [indent + one if one else "" for one in [*before, *lines]]
    source.replace_lines(statement.lineno, last, text)


def _gather_comprehension(source: Source, module: Module, statement: ast.stmt, site: AnyFunction) -> bool:
    made = _comprehension_of(statement)
    if made is None or not isinstance(made.elt, ast.Await) or not isinstance(made.elt.value, ast.Call):
        return False
    call, generator = made.elt.value, made.generators[0]
    _require_apart(module, call, site)
    if not module.has_length(generator.iter, site):
        raise Withheld(f"whether {source.text(generator.iter)} can be taken as a whole cannot be told")
    last = statement.end_lineno or statement.lineno
    _check_lines(source, statement.lineno, last)
    gather = _Gather(source, module, call, generator.target, generator.iter)
    (start, end), (inner, outer) = source.span(statement), source.span(made)
    words = gather.text if isinstance(source.parent[made], ast.Assign | ast.Return) else f"({gather.text})"
    text = source.data[start:inner].decode() + words + source.data[outer:end].decode()
    if "\n" in text or source.line_text(last).encode()[statement.end_col_offset or 0 :].strip():
        raise Withheld("the loop is written in a way that was not thought of")
    _put(source, statement, last, gather.before, [text])
    return True


def _plain_turns(source: Source, loop: ast.For, wait: ast.Await) -> None:
    for one in ast.walk(loop):
        if isinstance(one, ast.Break | ast.Return | ast.Continue | ast.Yield | ast.Try | ast.AsyncWith):
            raise Withheld("the loop may end before its last item, or holds something in each turn")
    if loop.orelse or not in_every_turn(source, loop, wait):
        raise Withheld("the coroutine is not awaited in every turn of the loop")


def _gather_loop(source: Source, module: Module, loop: ast.For, site: AnyFunction) -> bool:
    waits = _awaited(loop)
    if len(waits) != 1 or not isinstance(waits[0].value, ast.Call):
        return False
    wait, call = waits[0], waits[0].value
    assert isinstance(call, ast.Call)
    _plain_turns(source, loop, wait)
    _require_apart(module, call, site)
    require_given_apart(loop, call.args, "a call")
    require_left_alone(source, module, loop, call)
    if not module.has_length(loop.iter, site):
        raise Withheld(f"whether {source.text(loop.iter)} can be taken as a whole cannot be told")
    if not isinstance(loop.target, ast.Name) or wait.lineno != wait.end_lineno:
        raise Withheld("the loop is written in a way that was not thought of")
    target, last = loop.target.id, loop.end_lineno or loop.lineno
    used = [one for one in ast.walk(loop) if isinstance(one, ast.Name) and one.id == target]
    inside = [one for one in ast.walk(call) if isinstance(one, ast.Name) and one.id == target]
    kept = len(used) - 1 > len(inside)
    if is_used_after(source, loop):
        raise Withheld("the loop's variable is used after it")
    if loop.lineno + 1 != loop.body[0].lineno:
        raise Withheld("the loop is written in a way that was not thought of")
    gather = _Gather(source, module, call, loop.target, loop.iter)
    match loop.body:
        case [
            ast.Expr(
                value=ast.Call(func=ast.Attribute(value=ast.Name(id=results), attr="append"), args=[value])
            )
        ] if value is wait:
            _check_lines(source, loop.lineno, last)
            _put(source, loop, last, gather.before, [f"{results}.extend({gather.text})"])
            return True  # the results are kept anyway
    assert isinstance(call.func, ast.Name)
    require_kept_small(module, call.func.id)
    match loop.body:
        case [ast.Expr(value=value)] if value is wait:
            _check_lines(source, loop.lineno, last)
            _put(source, loop, last, gather.before, [gather.text])
        case [ast.Assign(targets=[ast.Name(id=answer)], value=value), _, *_] if (
            value is wait and answer != target
        ):
            over = f"zip({source.text(loop.iter)}, {gather.text})" if kept else gather.text
            names = f"{target}, {answer}" if kept else answer
            _check_lines(source, loop.lineno, loop.body[0].lineno)
            _put(source, loop, loop.body[0].lineno, gather.before, [f"for {names} in {over}:"])
        case _:
            taken = loaded(source.tree) | stored(source.tree)
            answer = next(one for one in ("answer", "gathered", "_answer") if one not in taken)
            over = f"zip({source.text(loop.iter)}, {gather.text})" if kept else gather.text
            names = f"{target}, {answer}" if kept else answer
            _check_lines(source, loop.lineno, loop.lineno)
            _put(source, loop, loop.lineno, gather.before, [f"for {names} in {over}:"])
            source.replace(wait, answer)
    return True


def gathered(source: Source) -> bool:
    """A loop that awaits one call of a coroutine after another awaits them all."""
    module = Module(source)
    for statement in source.nearest([one for one in ast.walk(source.tree) if isinstance(one, ast.stmt)]):
        site = source.function_of(statement)
        if not isinstance(site, ast.AsyncFunctionDef):
            continue
        if isinstance(statement, ast.For) and _gather_loop(source, module, statement, site):
            return True
        if _gather_comprehension(source, module, statement, site):
            return True
    return False


# --- calls that block

_STARTS = words("gather create_task ensure_future wait as_completed start_soon run_coroutine_threadsafe")
_ROUTES = words("get post put delete patch head options route websocket api_route on_event")


def _is_route(function: AnyFunction) -> bool:
    """Decorated as a handler of a web application: ``@app.get("/")``."""
    return bool(function.decorator_list) and all(
        isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in _ROUTES
        for one in function.decorator_list
    )


def _runs_beside_others(source: Source, module: Module, name: str, seen: set[str]) -> bool:
    """Are several calls of the coroutine alive at once?"""
    if name in seen or name not in module.functions:
        return False
    seen.add(name)
    if _is_route(module.functions[name]):
        return True
    for one in ast.walk(source.tree):
        if not (isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)):
            continue
        parent = source.parent[one]
        if not (isinstance(parent, ast.Call) and parent.func is one):
            return True  # handed on: to start_server, add_route
        above = source.parent[parent]
        if not isinstance(above, ast.Await):
            for up in source.above(parent):
                if isinstance(up, ast.ListComp | ast.GeneratorExp | ast.SetComp):
                    return True
                if isinstance(up, ast.Call) and isinstance(up.func, ast.Attribute | ast.Name):
                    last = up.func.attr if isinstance(up.func, ast.Attribute) else up.func.id
                    if last in _STARTS:
                        return True
        elif (site := source.function_of(parent)) and _runs_beside_others(source, module, site.name, seen):
            return True
    return False


def _alive(source: Source, module: Module, name: str, seen: set[str]) -> int | None:
    """How many calls of the coroutine are alive at once, where the source says so."""
    uses = [
        one
        for one in ast.walk(source.tree)
        if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)
    ]
    calls = [source.parent[one] for one in uses]
    if name in seen or not calls or not all(isinstance(one, ast.Call) for one in calls):
        return None
    seen.add(name)
    above = [source.parent[one] for one in calls]
    match above:
        case [ast.GeneratorExp(generators=[made]) | ast.ListComp(generators=[made])] if not made.ifs:
            return module.count_of(made.iter, source.function_of(calls[0]))
        case [ast.Await()]:
            site = source.function_of(calls[0])
            return _alive(source, module, site.name, seen) if site else None
        case [ast.Call(args=args), *_] if all(one is above[0] for one in above):
            return len(calls) if 1 < len(calls) == len(args) else None
    return None


def _blocking(source: Source, module: Module, coroutine: AnyFunction, line: int) -> ast.Call | None:
    """The outermost call on a line of a coroutine that is no await and that may go to a thread."""
    for one in ast.walk(coroutine):
        if isinstance(one, ast.Call) and one.lineno <= line <= (one.end_lineno or one.lineno):
            known = module.functions.get(one.func.id) if isinstance(one.func, ast.Name) else None
            sync = isinstance(known, ast.FunctionDef)
            dotted = module.dotted(one.func)
            awaited = isinstance(source.parent[one], ast.Await)
            if not awaited and (sync or dotted in NETWORK or dotted == "time.sleep"):
                return one
    return None


def _put_await(source: Source, call: ast.Call, text: str) -> None:
    parent = source.parent[call]
    plain = (
        ast.Expr | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.Call | ast.Tuple | ast.List
    )
    bare = isinstance(parent, plain) and not (isinstance(parent, ast.Call) and parent.func is call)
    source.replace(call, text if bare else f"({text})")


def in_a_thread(source: Source) -> bool:
    """What waits without await inside a coroutine waits in a thread; ``time.sleep`` becomes asyncio's."""
    module = Module(source)
    coroutines = [one for one in ast.walk(source.tree) if isinstance(one, ast.AsyncFunctionDef)]
    for line in source.request.lines:
        within = [one for one in coroutines if one.lineno <= line <= (one.end_lineno or one.lineno)]
        if not within:
            continue
        coroutine = within[-1]
        call = _blocking(source, module, coroutine, line)
        if call is None or source.function_of(call) is not coroutine:
            continue
        dotted = module.dotted(call.func)
        calls = _alive(source, module, coroutine.name, set())
        threads = min(32, source.request.default_workers + 4)  # of asyncio's own pool
        source.request.tell(calls, calls if calls and dotted == "time.sleep" else threads)
        if source.request.computes:
            raise Withheld("what blocks the loop computes: a thread would hold the GIL as long")
        _require_free(source, module, coroutine, call)
        asyncio = _asyncio(source, module)
        given = [source.text(one) for one in call.args]
        given += [
            f"{one.arg}={source.text(one.value)}" if one.arg else f"**{source.text(one.value)}"
            for one in call.keywords
        ]
        if any("\n" in one for one in given):
            raise Withheld("the call is written in a way that was not thought of")
        if dotted == "time.sleep":
            _put_await(source, call, f"await {asyncio}.sleep({', '.join(given)})")
            return True
        if source.request.python < (3, 9):
            raise Withheld("asyncio.to_thread came with Python 3.9")
        _put_await(source, call, f"await {asyncio}.to_thread({', '.join([source.text(call.func), *given])})")
        return True
    return False


def _require_free(source: Source, module: Module, coroutine: AnyFunction, call: ast.Call) -> None:
    """Other tasks may run where the call stands, and the call in a thread. Withheld where that is not sure."""
    if coroutine not in source.tree.body or module.functions.get(coroutine.name) is not coroutine:
        raise Withheld(f"{coroutine.name} is no plain coroutine of this file")
    for up in source.above(call):
        if up is coroutine:
            break
        if isinstance(up, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp | ast.Lambda):
            raise Withheld("the call stands in a comprehension")
        if isinstance(up, ast.With | ast.AsyncWith | ast.withitem):
            raise Withheld("the call stands in a with block, which others would then find entered")
    if isinstance(call.func, ast.Name) and call.func.id in module.functions:
        require_task(module, call.func.id, process=False, network=True)
    require_coroutine(module, coroutine.name, decorated=_is_route(coroutine))
    if not _runs_beside_others(source, module, coroutine.name, set()):
        raise Withheld(f"only one task at a time runs {coroutine.name}: it alone would wait for the thread")
