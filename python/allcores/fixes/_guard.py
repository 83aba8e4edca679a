"""Processes import the program's file again: what it does at module level must stand under the guard."""

from __future__ import annotations

import ast
from collections.abc import Collection

from allcores.fixes._module import Module, loaded, parameters, stored
from allcores.fixes._request import Request, Withheld
from allcores.fixes._safe import require_repeatable, require_task
from allcores.fixes._source import Source


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in loaded(node.test)


def _only_defines(module: Module, node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if not isinstance(node, ast.Assign) or not all(isinstance(one, ast.Name) for one in node.targets):
        return False
    try:
        require_repeatable(module, node.value, "")
    except Withheld:
        return False
    return True


def require_memory(request: Request, workers: int) -> None:
    """There is memory for so many processes."""
    if 0 < request.free_bytes < request.rss_bytes * workers:
        raise Withheld(
            f"each process may need as much memory as this one, {request.rss_bytes / 2**30:.1f} GiB, and "
            f"{workers} of them more than the {request.free_bytes / 2**30:.1f} GiB that are free"
        )


def _require_guarded_main(source: Source) -> None:
    """Each process imports the main file, too, which has its guard already. Withheld where it has not."""
    if source.request.main == "-":
        return
    main = source.main_file()
    module = Module(main)
    if not all(_only_defines(module, one) or _is_guard(one) for one in main.tree.body):
        raise Withheld(
            f"each process imports {main.request.name}, too, and what that does at module level is not under "
            'if __name__ == "__main__":'
        )


def process_task(source: Source, module: Module, name: str, made_by: Collection[ast.stmt] = ()) -> None:
    """``name`` may run in processes, and the file is guarded. Adds the guard where there is none, over ``made_by``."""
    require_task(module, name, process=True)
    body = source.tree.body
    first = next(
        (
            i
            for i, one in enumerate(body)
            if one in made_by or (not _only_defines(module, one) and not _is_guard(one))
        ),
        len(body),
    )
    if not source.is_main:
        _require_guarded_main(source)
        if first < len(body):
            raise Withheld("each process imports the file, and would do again what it does at module level")
    if first == len(body):
        return
    moved = body[first:]
    bound: set[str] = set()
    for one in moved:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or _is_guard(one):
            raise Withheld(
                "each process imports the file, and what it does at module level stands among its definitions"
            )
        bound |= stored(one)
    used = {n for one in module.functions.values() for n in loaded(one) - stored(one) - parameters(one)}
    if used & bound:
        raise Withheld(
            f"each process imports the file, and its functions need {sorted(used & bound)[0]} from module level"
        )
    start, last = moved[0].lineno, moved[-1].end_lineno or moved[-1].lineno
    source.indent(moved[0])
    step = source.step()
    source.replace_lines(start, start - 1, ['if __name__ == "__main__":  # each process imports this file'])
    source.shift(start, last, step)
