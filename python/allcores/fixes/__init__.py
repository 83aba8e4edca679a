"""The fix of a verdict as a diff of the user's own lines.

``allcores why`` runs this in a process of its own: a request as JSON on stdin, an answer as JSON on stdout.
The user's file is read and parsed, never run or imported. A diff is given only where it is certain, as far as
the source tells, that the program prints the same afterwards; else the reason why not.
"""

from __future__ import annotations

import json
import sys

from allcores.fixes._request import Request, Withheld
from allcores.fixes._source import Source
from allcores.fixes._table import REWRITES

__all__ = ["answer", "main"]

MAX_REQUEST = 1 << 20


def answer(text: str) -> dict[str, str | int]:
    """``{"diff": ...}``, ``{"withheld": reason}``, or nothing for a verdict without rewrites; with ``calls`` and
    ``at_once`` where the source tells them. Never raises."""
    try:
        request = Request.parse(text)
    except Exception:
        return {"withheld": "the request cannot be read"}
    return {**_answer(request), **request.told}


def _answer(request: Request) -> dict[str, str | int]:
    try:
        return {"diff": _diff(request)} if request.verdict in REWRITES else {}
    except Withheld as withheld:
        return {"withheld": str(withheld)}
    except (RecursionError, MemoryError):
        return {"withheld": "the file is nested too deeply"}
    except Exception as error:  # a request or a file that nobody thought of costs the diff, not the report
        return {"withheld": f"the file could not be looked through ({type(error).__name__})"}


def _diff(request: Request) -> str:
    rewrites = REWRITES[request.verdict]
    reason = "no pattern of code that can be rewritten safely was found"
    for rewrite in rewrites:
        source = Source(request)
        try:
            if rewrite(source):
                return source.diff()
        except Withheld as withheld:
            reason = str(withheld)
    raise Withheld(reason)


def main() -> None:
    """One request, one answer."""
    sys.setrecursionlimit(5000)
    print(json.dumps(answer(sys.stdin.buffer.read(MAX_REQUEST).decode("utf-8", "replace"))))
