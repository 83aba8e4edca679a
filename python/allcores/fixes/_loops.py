"""Rewrites of a loop over a function: its calls go to a pool."""

from __future__ import annotations

import ast

from allcores.fixes._apart import require_once, require_worth
from allcores.fixes._guard import process_task, require_memory
from allcores.fixes._module import Module
from allcores.fixes._pools import is_used_after
from allcores.fixes._request import Withheld
from allcores.fixes._safe import require_task
from allcores.fixes._source import Source

AT_ONCE = 8  # as the estimate says; servers take that from one client


def _append_of(loop: ast.For) -> tuple[str, str] | None:
    """``for x in items: results.append(f(x))``: the list's and the function's name."""
    match loop:
        case ast.For(
            target=ast.Name(id=item),
            orelse=[],
            body=[
                ast.Expr(
                    value=ast.Call(
                        func=ast.Attribute(value=ast.Name(id=results), attr="append"),
                        keywords=[],
                        args=[ast.Call(func=ast.Name(id=name), args=[ast.Name(id=given)], keywords=[])],
                    )
                )
            ],
        ) if item == given:
            return results, name
    return None


def _expression_of(source: Source, statement: ast.stmt) -> tuple[ast.expr, str, ast.expr] | None:
    """``[f(x) for x in items]``, alone or in sum(): the expression, f and the items."""
    match statement:
        case ast.Assign(value=value) | ast.Return(value=ast.expr() as value) | ast.Expr(value=value):
            pass
        case _:
            return None
    for node in ast.walk(value):
        match node:
            case ast.ListComp(
                elt=ast.Call(func=ast.Name(id=name), args=[ast.Name(id=given)], keywords=[]),
                generators=[ast.comprehension(target=ast.Name(id=item), iter=items, ifs=[], is_async=0)],
            ) if item == given and not _is_inside(source, node, statement):
                return node, name, items
    return None


def _is_inside(source: Source, node: ast.AST, statement: ast.stmt) -> bool:
    """In something that runs later, or many times?"""
    later = ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp
    for up in source.above(node):
        if up is statement:
            return False
        if isinstance(up, later):
            return True
    return False


def import_line(source: Source, name: str) -> None:
    """``from concurrent.futures import name``, where it is not there yet."""
    for node in source.tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "concurrent.futures":
            if name not in [one.name for one in node.names]:
                raise Withheld("its import is written in a way that was not thought of")
            return
    add_import(source, f"from concurrent.futures import {name}")


def add_import(source: Source, text: str) -> None:
    """One more line below the imports."""
    imports = [one for one in source.tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
    if not imports:
        raise Withheld("the file has no imports to put one more below")
    future = [one for one in imports if isinstance(one, ast.ImportFrom) and one.module == "__future__"]
    others = [one for one in imports if one not in future]
    if text.startswith("import ") and others:
        source.indent(others[0])
        source.replace_lines(others[0].lineno, others[0].lineno - 1, [text])
        return
    last = (others or imports)[-1]
    source.indent(last)
    line = (last.end_lineno or last.lineno) + 1
    source.replace_lines(line, line - 1, [text])


def _to_pool(source: Source, processes: bool) -> bool:
    module = Module(source)
    names = {node.id for node in ast.walk(source.tree) if isinstance(node, ast.Name)}
    pool = next(one for one in ("executor", "pool", "fix_executor", "allcores_executor") if one not in names)
    for statement in source.nearest([one for one in ast.walk(source.tree) if isinstance(one, ast.stmt)]):
        found = _append_of(statement) if isinstance(statement, ast.For) else None
        made = _expression_of(source, statement)
        if found:
            assert isinstance(statement, ast.For)
            items, name = statement.iter, found[1]
            if is_used_after(source, statement):
                raise Withheld("the loop's variable is used after it")
        elif made:
            _, name, items = made
        else:
            continue
        function = source.function_of(statement)
        waits = source.request.verdict == "io-sequential"
        at_once = AT_ONCE if waits else source.request.pool_size if processes else source.request.workers
        source.request.tell(module.count_of(items, function), at_once)
        text, chunk = source.text(items), ""
        last = statement.end_lineno or statement.lineno
        if "\n" in text or (made and statement.lineno != last):
            raise Withheld("the loop is written in a way that was not thought of")
        if not module.has_length(items, function):
            raise Withheld(f"whether {text} can be counted and taken as a whole cannot be told")
        _check_shared(statement, function)
        if processes:
            if not module.has_small_items(items, function):
                raise Withheld(f"how much would be sent to the processes cannot be told ({text})")
            require_once(source, statement)
            require_worth(source, module.count_of(items, function), chunked=True)
            require_memory(source.request, source.request.pool_size)
            process_task(source, module, name)
            workers = source.request.number
            chunk = f", chunksize=max(1, len({text}) // {4 * source.request.workers})"
        else:
            require_task(module, name, process=False, network=True)
            workers = str(at_once)
        kind = "ProcessPoolExecutor" if processes else "ThreadPoolExecutor"
        call = f"{pool}.map({name}, {text}{chunk})"
        indent = source.indent(statement)
        step = source.step()
        start, end = source.span(statement)
        if source.line_text(last).encode()[statement.end_col_offset or 0 :].strip():
            raise Withheld("a comment stands behind what would be replaced")
        if found:
            work = f"{found[0]}.extend({call})"
        else:
            assert made is not None
            a, b = source.span(made[0])
            work = source.data[start:a].decode() + f"list({call})" + source.data[b:end].decode()
        source.replace_block(
            statement.lineno, last, [f"{indent}with {kind}({workers}) as {pool}:", f"{indent}{step}{work}"]
        )
        import_line(source, kind)
        return True
    return False


def _check_shared(statement: ast.stmt, function: object) -> None:
    if any(isinstance(one, ast.Await | ast.Yield | ast.NamedExpr) for one in ast.walk(statement)):
        raise Withheld("the loop awaits or yields")
    if isinstance(function, ast.AsyncFunctionDef):
        raise Withheld("the loop stands in a coroutine, which it would block")


def loop_to_processes(source: Source) -> bool:
    """A pool of processes; of threads on a build without the GIL."""
    return _to_pool(source, processes=not source.request.free_threaded)


def loop_to_threads(source: Source) -> bool:
    """A pool of threads, for waits and for native code."""
    return _to_pool(source, processes=False)
