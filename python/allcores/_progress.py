"""map(..., progress=True): items that are done, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from operator import length_hint
from typing import TypeVar

T = TypeVar("T")

EVERY = 0.2  # seconds between two looks of the plain line


def shown(results: Iterator[T]) -> Iterator[T]:
    """The same results, counted where the user sees it: tqdm if it is installed, else a plain line."""
    total = length_hint(results) or None
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return _plain(results, total)
    return iter(tqdm(results, total=total))


def _plain(results: Iterator[T], total: int | None) -> Iterator[T]:
    start = last = time.monotonic()
    done = 0
    try:
        for done, result in enumerate(results, 1):
            if (now := time.monotonic()) - last >= EVERY:
                last = now
                _line(done, total, now - start)
            yield result
    finally:
        _line(done, total, time.monotonic() - start)
        sys.stderr.write("\n")


def _line(done: int, total: int | None, seconds: float) -> None:
    of = f"/{total}" if total else ""
    sys.stderr.write(f"\r{done}{of} items, {done / max(seconds, 1e-9):.0f}/s")
    sys.stderr.flush()
