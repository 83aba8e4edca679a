"""allcores.map(): begins as the plain loop, measures it, and moves the rest of the work where it is done sooner.

The loop is C (src/ext/inline.c). Every few milliseconds it sends one item through `_plan.Plan`, which measures it and
decides; `_lines` is where the rest of the work then goes on. A call that is still running after a few milliseconds
is met by the watcher's thread, which has the plan decide beside it.
"""

from __future__ import annotations

import operator
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, Literal

from allcores import _ext
from allcores._plan import Facts, Plan, here

Backend = Literal["auto", "inline", "threads", "processes", "interpreters"]
BACKENDS = ("auto", "inline", "threads", "processes", "interpreters")
HURRIED_S = (
    1e-4  # a thread's turn at the GIL while the watcher decides; with 5e-4 it waits three times as long
)
_EMPTY: tuple[Any, ...] = ([], (), range(0), range(1 << 70), "", b"")
_PORTABLE = frozenset(type(iter(one)) for one in _EMPTY)  # iterators that any thread may ask

_last: Facts | None = None  # of the last map(), for explain()


class _Catch:
    """fn whose exceptions are results."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, *args: Any) -> Any:
        try:
            return self.fn(*args)
        except Exception as error:
            from allcores import _state

            if not _state.in_worker:
                return error
            from allcores._errors import as_result

            return as_result(error)


class _Star:
    """fn of one tuple of arguments."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, row: Iterable[Any]) -> Any:
        return self.fn(*row)


# --- the watcher


class Hurry:
    """A short switch interval until `close` is called. Beside a thread that computes, each return from a system call
    waits a switch interval for the GIL: imports and the start of a pool take dozens, 0.3 s in all. Beside threads
    that let it go more often than that it is worse: each time a waiter is woken in vain its wait for the interval's
    end begins anew, seconds in all. Whoever sets another interval keeps it."""

    def __init__(self) -> None:
        self._usual = sys.getswitchinterval()
        if self._usual > HURRIED_S:  # else somebody hurries already
            sys.setswitchinterval(HURRIED_S)

    def close(self) -> None:
        if self._usual > HURRIED_S and abs(sys.getswitchinterval() - HURRIED_S) < 1e-6:
            sys.setswitchinterval(self._usual)


def _watch() -> None:
    while True:
        own_s = time.thread_time()
        for loop in _ext.watch():
            plan = loop.look
            try:
                if plan is not None:
                    with closing(Hurry()):
                        plan.early(loop, time.thread_time() - own_s)
            except Exception:  # never the user's trouble: the loop goes on without
                plan.facts.reason = f"allcores' own error: {sys.exc_info()[1]!r}"
            del loop, plan


def _begin_watch() -> None:
    if _ext.watch_begin():
        try:
            threading.Thread(target=_watch, name="allcores.map watcher", daemon=True).start()
        except RuntimeError:  # no more threads to be had: the first calls are judged when they end
            pass


def _inside() -> bool:
    from allcores import _state

    return _state.in_worker or getattr(here, "depth", 0) > 0


# --- the interface


def map(
    fn: Callable[..., Any],
    /,
    *iterables: Iterable[Any],
    timeout: float | None = None,
    chunksize: int | Literal["auto"] = "auto",
    backend: Backend = "auto",
    max_workers: int | None = None,
    ordered: bool = True,
    buffersize: int | Literal["auto"] = "auto",
    progress: bool = False,
    return_exceptions: bool = False,
) -> Iterator[Any]:
    """Like map(fn, *iterables), on as many cores as pay: for r in allcores.map(fn, items).

    The loop begins in the calling thread; after some milliseconds of work the rest moves to threads or processes
    if that is estimated to be sooner (docs/map.md). No item runs twice. A function that is seen to change what it
    shares stays in the calling thread; one that holds what cannot be looked into stays in this process.

    Args:
        fn: takes as many arguments as there are iterables.
        timeout: seconds from now until TimeoutError.
        chunksize: items that travel to a process together; "auto": by their time.
        backend: "auto", or where all of it runs, whatever it changes: "inline", "threads", "processes",
            "interpreters" (3.14 and newer).
        max_workers: most threads or processes; default: 64 threads for waiting, else the usable CPUs.
        ordered: results in the order of the items; False: as they are done.
        buffersize: most items begun whose results were not asked for; "auto": by their time and size.
        progress: show on stderr how many items are done.
        return_exceptions: an exception that fn raised is its item's result.

    Raises, from the iterator: what fn raised, with a note that tells the item's index; TimeoutError; WorkerDied.
    """
    if not iterables:
        raise TypeError("map() must have at least two arguments: a function and an iterable")
    options = dict(
        timeout=timeout, chunksize=chunksize, backend=backend, max_workers=max_workers, ordered=ordered,
        buffersize=buffersize, progress=progress, return_exceptions=return_exceptions)  # fmt: skip
    return _start(fn, fn, iterables, options)


def starmap(fn: Callable[..., Any], rows: Iterable[Iterable[Any]], /, **options: Any) -> Iterator[Any]:
    """Like itertools.starmap(fn, rows); options as map() has them."""
    return _start(fn, _Star(fn), (rows,), {**_DEFAULTS, **options})


def for_each(fn: Callable[..., Any], /, *iterables: Iterable[Any], **options: Any) -> None:
    """Calls fn for each item and drops the results; options as map() has them."""
    deque(map(fn, *iterables, **options), maxlen=0)


_DEFAULTS: dict[str, Any] = dict(timeout=None, chunksize="auto", backend="auto", max_workers=None, ordered=True,
                                 buffersize="auto", progress=False, return_exceptions=False)  # fmt: skip


def _length(items: Any) -> int | None:
    return len(items) if hasattr(type(items), "__len__") else None


def _checked(fn: Any, options: dict[str, Any]) -> None:
    if not callable(fn):
        raise TypeError(f"the first argument is the function to call, not {type(fn).__name__}")
    unknown = set(options) - set(_DEFAULTS)
    if unknown:
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}")
    if options["backend"] not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {options['backend']!r}")
    if options["backend"] == "interpreters" and sys.version_info < (3, 14):
        raise ValueError('backend="interpreters" needs Python 3.14 or newer')
    for name in ("chunksize", "buffersize"):
        if options[name] != "auto" and operator.index(options[name]) < 1:
            raise ValueError(f'{name} must be "auto" or at least 1')
    if options["max_workers"] is not None and operator.index(options["max_workers"]) < 1:
        raise ValueError("max_workers must be greater than 0")


def _start(
    fn: Callable[..., Any],
    call: Callable[..., Any],
    iterables: tuple[Iterable[Any], ...],
    options: dict[str, Any],
) -> Iterator[Any]:
    global _last
    _checked(fn, options)
    lengths = [_length(one) for one in iterables]
    sources = [iter(one) for one in iterables]
    plan = Plan(
        fn,
        _Catch(call) if options["return_exceptions"] else call,
        sources[0] if len(sources) == 1 else zip(*sources, strict=False),
        options,
        total=None if None in lengths else min(lengths),  # type: ignore[type-var]
        arity=len(sources),
        portable=all(type(one) in _PORTABLE for one in sources),
    )
    _last = plan.facts
    results = _results(plan, options["backend"])
    if options["progress"]:
        from allcores import _progress

        return _progress.shown(results)
    return results


def _results(plan: Plan, backend: str) -> Iterator[Any]:
    if backend == "auto" and _inside():
        backend, plan.facts.stays = "inline", "it is inside another map"
    elif backend == "inline":
        plan.facts.stays = "it was asked for"
    if backend in ("auto", "inline"):
        plan.facts.reason = plan.facts.stays or plan.facts.reason
        _begin_watch()
        return plan.loop()
    from allcores import _lines

    return _lines.forced(plan, backend)


# --- explain


class Explanation(dict[str, Any]):
    """What map() chose and why; a dict, and as text what a person reads."""

    def __str__(self) -> str:
        if not self:
            return "allcores.map() has not been called yet"
        ms = {name: f"{1e3 * value:.3g} ms" for name, value in self["estimates_s"].items()}
        measured = self["measured"]
        lines = [
            f"{self['function']}: {self['backend']}"
            + (f", {self['workers']} workers" if self["workers"] else "")
            + f" ({self['reason']})"
        ]
        if measured["item_s"] is not None:
            lines.append(
                f"  an item: {1e3 * measured['item_s']:.3g} ms, {1e3 * measured['cpu_s']:.3g} ms of CPU"
                + (
                    f", the GIL held for {measured['gil_share']:.0%}"
                    if measured["gil_share"] is not None
                    else ""
                )
                + (f", {measured['bytes']} bytes pickled" if measured["bytes"] else "")
            )
        if ms:
            lines.append(
                "  an item would take: " + ", ".join(f"{name} {value}" for name, value in ms.items())
            )
        if self["no_processes"]:
            lines.append(f'  no processes: {self["no_processes"]}; backend="processes" would allow them')
        lines += [f"  {move}" for move in self["moves"]]
        if self["stays_because"]:
            lines.append(
                '  it would go elsewhere with backend="threads" or backend="processes", on your word'
            )
        return "\n".join(lines)


def explain() -> Explanation:
    """What the last allcores.map() of this process chose, from which measurements, and what else was estimated."""
    facts = _last
    if facts is None:
        return Explanation()
    return Explanation(
        function=facts.name, backend=facts.backend, workers=facts.workers, chunksize=facts.chunk, reason=facts.reason,
        measured={
            "item_s": facts.seen_wall,
            "cpu_s": facts.seen_cpu,
            "gil_share": facts.gil_share,
            "bytes": facts.bytes,
        },
        estimates_s=dict(facts.costs), stays_because=facts.stays, no_processes=facts.no_processes,
        moves=list(facts.moves),
    )  # fmt: skip
