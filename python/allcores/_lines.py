"""Where the rest of a map() runs: threads, or processes beside the calling thread; and the pools kept for the next.

A line takes rows from the plan's source as results are asked for, so that what is under way is bounded, and gives
the results in order. When the work is not what it was when the line was chosen, it takes no more rows, hands out
what is under way and gives back to the measured loop (`Plan.again`).
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, Any

from allcores import _cost
from allcores._auto import IDLE_S
from allcores._effects import Effects, State, digest
from allcores._plan import here, told

if TYPE_CHECKING:
    from allcores import _ext
    from allcores._executor import ProcessPoolExecutor
    from allcores._plan import Plan

QUEUED, RUNNING, OVER, UNPICKLABLE = range(4)  # MapIterator.poll()
RAMP_S = 0.003  # between two looks at whether more threads would help
LOOK_S = 0.1  # between two looks at whether threads take turns
LONGEST_CHUNK_S = 0.02
MOST_CHUNK_BYTES = 1 << 26

_lock = threading.Lock()
warm: dict[tuple[str, int], Any] = {}
_used: dict[tuple[str, int], float] = {}


def _pool(kind: str, workers: int) -> Any:
    with _lock:
        pool = warm.get((kind, workers))
        if pool is None or getattr(pool, "_broken", False):
            pool = warm[kind, workers] = _make(kind, workers)
        _used[kind, workers] = time.monotonic()
        return pool


def _make(kind: str, workers: int) -> Any:
    if kind == "threads":
        from allcores._threads import ThreadPoolExecutor

        return ThreadPoolExecutor(workers, "allcores.map")
    if kind == "interpreters":
        from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined,unused-ignore]

        return InterpreterPoolExecutor(workers)
    from allcores._executor import ProcessPoolExecutor

    return ProcessPoolExecutor(workers)


def processes_cold() -> bool:
    return not any(kind == "processes" for kind, _ in warm)


def close_idle() -> None:
    """Called by the watcher when there was no tick for IDLE_S."""
    with _lock:
        old = [key for key, used in _used.items() if time.monotonic() - used >= IDLE_S]
        pools = [warm.pop(key) for key in old]
        for key in old:
            del _used[key]
    for pool in pools:
        pool.shutdown(wait=False)


def _forget() -> None:
    """In a fork's child: the pools are the parent's."""
    global _lock
    _lock = threading.Lock()
    warm.clear()
    _used.clear()


os.register_at_fork(after_in_child=_forget)


def make(plan: Plan, choice: _cost.Choice, early: bool = False) -> Threads | Processes:
    """The line that was chosen. Its pool is there; nothing is taken from the source yet."""
    if choice.backend == "processes":
        return Processes(plan, choice.workers, LONGEST_CHUNK_S if early else max(plan.wall, 1e-7))
    return Threads(plan, choice.workers, choice.backend)


def enter(line: Threads | Processes, loop: _ext.Inline, made: int) -> bool:
    """Begin the line at item `made`, behind the call that the loop is in. False: that call is over by now."""
    entry = _Entry(line)
    with entry.lock:
        if not loop.switch_to(entry, loop.calls):
            return False
        line.begin(made)
        return True


class _Entry:
    """What the loop goes on with: the line, once it has begun."""

    def __init__(self, line: Threads | Processes) -> None:
        self.line, self.lock = line, threading.Lock()
        self.results: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.results is None:
            with self.lock:
                self.results = self.line.run()
        return next(self.results)

    def close(self) -> None:
        with self.lock:
            self.line.close()


class _Line:
    """What both kinds of line have: the source, and how it ends."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.window: deque[Any] = deque()
        self.made = 0  # results handed out, and items before this line's first
        self.taken = 0  # rows, and items before this line's first
        self.ended = False
        self.give_back = False
        self.failure: BaseException | None = None  # of the source

    def begin(self, made: int) -> None:
        """Start the first items; `made` were made before."""
        self.made = self.taken = made
        self._fill()

    def _fill(self) -> None:
        raise NotImplementedError

    def _each(self) -> Iterator[Any]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def _rows(self, count: int) -> list[Any]:
        rows: list[Any] = []
        try:
            rows.extend(islice(self.plan.source, count))
        except BaseException as error:  # comes out behind the results of the rows before it
            self.failure = error
        self.ended = len(rows) < count
        self.taken += len(rows)
        return rows

    def run(self) -> Iterator[Any]:
        """The results; behind them those of the loop, if it is given back to."""
        try:
            yield from self._each()
        finally:
            self.close()
        if self.failure is not None:
            raise self.failure
        if self.give_back:
            yield from self.plan.again(self.made)


class _Inside:
    """fn of a row, marked as running for a map: one inside it stays in its thread."""

    def __init__(self, fn: Callable[..., Any], spread: bool) -> None:
        self.fn, self.spread = fn, spread

    def __call__(self, row: Any) -> Any:
        here.inside = True
        return self.fn(*row) if self.spread else self.fn(row)


class Threads(_Line):
    """Items in threads, as many as are estimated, and more while those in flight leave the CPUs idle; or in
    interpreters."""

    def __init__(self, plan: Plan, workers: int, kind: str) -> None:
        super().__init__(plan)
        most = _cost.MOST_THREADS if workers > plan.cpus else workers
        self.limit = plan.options["max_workers"] or most
        self.flight = min(workers, self.limit)
        self.pool = _pool(kind, self.limit)
        self.kind = kind
        self.inside = _Inside(plan.fn, plan.arity != 1)

    def _submit(self, row: Any) -> Any:
        if self.kind == "threads":
            return self.pool.submit(self.inside, row)
        return (
            self.pool.submit(self.plan.fn, *row)
            if self.inside.spread
            else self.pool.submit(self.plan.fn, row)
        )

    def _fill(self) -> None:
        buffer = self.plan.options["buffersize"]
        most = 2 * self.flight if buffer == "auto" else min(index(buffer), 2 * self.flight)
        while len(self.window) < most and not self.ended and not self.give_back:
            for row in self._rows(1):
                self.window.append(self._submit(row))

    def _next(self) -> Any:
        """The future whose result comes next."""
        window = self.window
        if not self.plan.options["ordered"]:
            for future in window:
                if future.done():
                    window.remove(future)
                    return future
        if window[0].done():
            return window.popleft()
        self._wait(window[0])
        return window.popleft() if self.plan.options["ordered"] or window[0].done() else self._next()

    def _wait(self, future: Any) -> None:
        from concurrent.futures import TimeoutError as Late

        while not future.done():
            left = _left(self.plan)
            ramps = self.flight < self.limit and not self.ended
            pause = RAMP_S if ramps or not self.plan.options["ordered"] else left
            began, cpu = time.perf_counter(), time.process_time()
            try:
                future.exception(pause if left is None or pause is None else min(pause, left))
            except Late:
                pass
            idle = time.process_time() - cpu < 0.5 * (time.perf_counter() - began)
            if ramps and idle and not future.done():
                self.flight = min(self.limit, 2 * self.flight)
                self.plan.workers = max(self.plan.workers, self.flight)
                self._fill()

    def _each(self) -> Iterator[Any]:
        looked, cpu, seen = time.perf_counter(), time.process_time(), self.made
        while self.window:
            future = self._next()
            self._fill()
            error = future.exception()
            if error is not None:
                raise told(error, self.made)
            self.made += 1
            yield future.result()
            now = time.perf_counter()
            if now - looked > LOOK_S:
                self._look(now - looked, time.process_time() - cpu, self.made - seen)
                looked, cpu, seen = now, time.process_time(), self.made

    def _look(self, wall: float, cpu: float, items: int) -> None:
        """Threads that take turns at the GIL are no gain: back to the loop, which measures anew."""
        plan = self.plan
        if plan.options["backend"] == "auto" and cpu > 0.9 * wall and cpu < 1.15 * wall and items:
            expected = plan.costs.get("threads", 0.0)
            if wall / items > 1.5 * expected:
                self.give_back = True
                plan.reason = "in threads the calls took turns"

    def close(self) -> None:
        for future in self.window:
            future.cancel()
        self.window.clear()


class _Chunk:
    """Items that travel together: in a worker (`remote`), or made here (`results`)."""

    __slots__ = ("error", "remote", "results", "rows", "whole")

    def __init__(self, rows: list[Any], remote: Any, whole: bool) -> None:
        self.rows, self.remote, self.whole = rows, remote, whole
        self.results: list[Any] | None = None
        self.error: Any = None


class WorkerDiffers(Exception):
    """A worker that imports the function's module has other values there."""


class _Checked:
    """A chunk's calls in a worker, with a look at what the function reaches before and after."""

    def __init__(self, fn: Callable[..., Any], user_fn: Any, effects: Effects, spread: bool) -> None:
        self.fn, self.user_fn, self.spread = fn, user_fn, spread
        self.data, self.seen = effects.data, effects.digest
        self.looks = effects.mutates

    def __call__(self, rows: list[Any]) -> list[Any]:
        if digest(self.data) != self.seen:
            raise WorkerDiffers(", ".join(f"{module}.{name}" for module, name in self.data))
        state = State(Effects(self.user_fn)) if self.looks else None
        results = [self.fn(*row) for row in rows] if self.spread else [self.fn(row) for row in rows]
        changed = state.changed() if state else None
        if changed:
            raise RuntimeError(
                f"allcores.map: a call changed {changed} in a worker process, which earlier calls had not: "
                'use backend="inline" or "threads"'
            )
        return results


class Processes(_Line):
    """Chunks in worker processes; while it would wait, the calling thread makes those that no worker has begun.

    item_s: seconds an item, estimated."""

    def __init__(self, plan: Plan, workers: int, item_s: float) -> None:
        super().__init__(plan)
        self.pool: ProcessPoolExecutor = _pool("processes", workers)
        self.workers, self.item_s = workers, item_s
        self.waits = bool(plan.seen_wall) and plan.seen_cpu < 0.5 * plan.seen_wall
        self.check: _Checked | None = None
        effects = plan.effects
        if effects is not None and effects.wants_check:
            self.check = _Checked(plan.fn, plan.user_fn, effects, plan.arity != 1)

    def _size(self) -> int:
        plan = self.plan
        if plan.options["chunksize"] != "auto":
            return index(plan.options["chunksize"])
        longest = LONGEST_CHUNK_S
        if plan.total is not None:
            longest = min(longest, (plan.total - self.taken) * self.item_s / (4 * (self.workers + 1)))
        size = int(max(longest, 0.0004) / self.item_s)
        if plan.bytes:
            size = min(size, MOST_CHUNK_BYTES // plan.bytes)
        if plan.options["buffersize"] != "auto":
            size = min(size, index(plan.options["buffersize"]) // (self.workers + 1))
        return max(1, size)

    def _fill(self) -> None:
        plan = self.plan
        while len(self.window) < 2 * self.workers + 2 and not self.ended and not self.give_back:
            plan.chunk = self._size()
            rows = self._rows(plan.chunk)
            if not rows:
                return
            chunk = _Chunk(rows, None, self.check is not None)
            self.window.append(chunk)
            try:
                chunk.remote = self._send(rows)
            except Exception as error:
                self._keep_here(chunk, f"{type(error).__name__}: {error}")
            else:
                if chunk.remote.poll() == UNPICKLABLE:
                    self._keep_here(chunk, "an item cannot be pickled")

    def _send(self, rows: list[Any]) -> _ext.MapIterator[Any]:
        if self.check is not None:
            return self.pool._map(self.check, [rows], 1, 1, None)
        return self.pool._map(self.plan.fn, rows, self.plan.arity, len(rows), None)

    def _keep_here(self, chunk: _Chunk, why: str) -> None:
        """The chunk has not run and will not run elsewhere."""
        chunk.remote = None
        self.give_back = True
        self.plan.no_processes = self.plan.reason = why

    def _make(self, chunk: _Chunk) -> None:
        """The chunk's calls, here."""
        plan = self.plan
        fn, spread = plan.fn, plan.arity != 1
        chunk.remote, chunk.results = None, []
        append = chunk.results.append
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            for row in chunk.rows:
                append(fn(*row) if spread else fn(row))
        except Exception as error:
            chunk.error = error
            return
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.item_s = 0.5 * self.item_s + 0.5 * max(wall / len(chunk.rows), 1e-8)
        if wall > 0.002 and (cpu < 0.3 * wall) != self.waits and plan.options["backend"] == "auto":
            self.give_back = True
            plan.reason = (
                "the work changed: it waits now" if not self.waits else "the work changed: it computes now"
            )
        changed = plan.state.changed() if plan.state is not None else None
        if changed:
            chunk.error = RuntimeError(
                f'allcores.map: a call changed {changed}, which earlier calls had not: use backend="inline"'
            )

    def _steal(self) -> bool:
        for chunk in self.window:
            if chunk.remote is not None and chunk.remote.poll() == QUEUED and chunk.remote.cancel():
                self._make(chunk)
                return True
        return False

    def _ready(self, chunk: _Chunk) -> bool:
        return chunk.results is not None or chunk.error is not None or (
            chunk.remote is not None and chunk.remote.poll() >= OVER
        )  # fmt: skip

    def _next(self) -> _Chunk:
        """The chunk whose results come next."""
        window = self.window
        while True:
            chunk = window[0]
            if not self.plan.options["ordered"]:
                chunk = next((one for one in window if self._ready(one)), chunk)
            if chunk.remote is None and chunk.results is None and chunk.error is None:
                self._make(chunk)
            if self._ready(chunk):
                window.remove(chunk)
                return chunk
            if not self._steal():
                left = _left(self.plan)
                pause = None if self.plan.options["ordered"] else 0.002
                chunk.remote.wait(left if pause is None else pause)
            _left(self.plan)

    def _results(self, chunk: _Chunk) -> Iterator[Any]:
        """The chunk's results; the error, if any, is raised where it belongs."""
        if chunk.remote is not None and chunk.whole:
            try:
                chunk.results = next(chunk.remote)
            except WorkerDiffers as error:
                self._keep_here(chunk, f"a worker imports other values: {error}")
                self._make(chunk)
        source: Iterator[Any] = chunk.remote if chunk.results is None else iter(chunk.results)
        try:
            for result in source:
                self.made += 1
                yield result
        except Exception as error:
            if chunk.results is not None:
                raise
            raise told(error, self.made) from error.__cause__
        if chunk.error is not None:
            raise told(chunk.error, self.made)

    def _each(self) -> Iterator[Any]:
        while self.window:
            chunk = self._next()
            self._fill()
            yield from self._results(chunk)
            self._fill()

    def close(self) -> None:
        for chunk in self.window:
            if chunk.remote is not None:
                chunk.remote.close()
        self.window.clear()


def forced(plan: Plan, backend: str) -> Iterator[Any]:
    """All of it where the user wants it."""
    most = plan.options["max_workers"] or (_cost.MOST_THREADS if backend == "threads" else plan.cpus)
    plan.backend, plan.workers, plan.reason = backend, most, "it was asked for"
    line: _Line
    if backend == "processes":
        line = Processes(plan, most, LONGEST_CHUNK_S / 4)
    else:
        line = Threads(plan, most, backend)
    line.begin(0)
    return line.run()
