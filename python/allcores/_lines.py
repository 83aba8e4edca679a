"""Where the rest of a map() runs: threads, or processes beside the calling thread; and the pools kept for the next.

A line takes rows from the plan's source as results are asked for, so that what is under way is bounded, and gives
the results in order. When the work is not what it was when the line was chosen, it takes no more rows, hands out
what is under way and gives back to the measured loop (`Plan.again`).

A line gives batches of results, as iterators that `_ext.Inline` goes through in C; it throws what comes out of one
into the generator that gave it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from operator import index
from typing import TYPE_CHECKING, Any

from allcores import _cost, _ext
from allcores._effects import Effects, State, ambient, digest
from allcores._plan import all_delayed_s, delayed_s, here, told

if TYPE_CHECKING:
    from allcores._executor import ProcessPoolExecutor
    from allcores._plan import Plan

QUEUED, RUNNING, OVER, UNPICKLABLE = range(4)  # MapIterator.poll()
RAMP_S = 0.003  # between two looks at whether more threads would help
LOOK_S = 0.1  # between two looks at whether threads take turns
LONGEST_CHUNK_S = 0.02
MOST_CHUNK_BYTES = 1 << 26
IDLE_S = 10.0  # after which a pool without work goes away

_Key = tuple[str, int]
_lock = threading.RLock()  # a line may be collected, and ended, while a thread has it
_shared: dict[_Key, Any] = {}  # process pools; any number of lines use one
_kept: dict[_Key, list[Any]] = {}  # pools of threads that no line has: each line has its own, or a call that
# waits for a map in its turn might wait for its own thread
_users: dict[_Key, weakref.WeakSet[Any]] = {}
_used: dict[_Key, float] = {}
_surroundings: dict[_Key, Any] = {}  # of a process pool, when it was made
_born: dict[_Key, float] = {}  # when that was
_inherited: list[Any] = []  # a fork's child must not end its parent's pools
_keeper: threading.Thread | None = None


def _lend(line: Any, key: _Key) -> Any:
    """A pool for the line, until `_take_back`."""
    with _lock:
        if key[0] == "processes":
            pool = _shared.get(key)
            if pool is None or getattr(pool, "_broken", False) or _surroundings.get(key) != ambient():
                if pool is not None and not _users.get(key):
                    pool.shutdown(wait=False)
                _surroundings[key], _born[key] = ambient(), time.monotonic()
                pool = _shared[key] = _make(*key)
        else:
            kept = _kept.get(key)
            pool = kept.pop() if kept else _make(*key)
        _users.setdefault(key, weakref.WeakSet()).add(line)
        _used[key] = time.monotonic()
        return pool


def _take_back(line: Any, key: _Key, pool: Any, busy: bool) -> None:
    """The line needs it no more. busy: calls that cannot be called off still run in it."""
    with _lock:
        if line not in _users.get(key, ()):  # a fork's parent's: its threads are not here
            return
        _users[key].discard(line)
        _used[key] = time.monotonic()
        if key[0] == "processes" or not busy:
            if key[0] != "processes":
                _kept.setdefault(key, []).append(pool)
            _begin_keeping()
            return
    pool.shutdown(wait=False)


def _make(kind: str, workers: int) -> Any:
    if kind == "threads":
        from allcores._threads import ThreadPoolExecutor

        return ThreadPoolExecutor(workers, "allcores.map")
    if kind == "interpreters":
        from concurrent.futures import InterpreterPoolExecutor  # type: ignore[attr-defined,unused-ignore]

        return InterpreterPoolExecutor(workers)
    from allcores._executor import ProcessPoolExecutor

    return ProcessPoolExecutor(workers)


def processes_in_s() -> float:
    """Seconds until a worker is there, about; COLD_S where all has to be started: there are no processes of ours, or
    not with today's surroundings."""
    with _lock:
        pools = [(pool, _surroundings.get(key), _born[key]) for key, pool in _shared.items()]
    now = ambient() if pools else None
    births = [born for pool, surroundings, born in pools if not pool._broken and surroundings == now]
    return max(0.0, _cost.COLD_S - (time.monotonic() - min(births))) if births else _cost.COLD_S


def _begin_keeping() -> None:
    global _keeper
    if _keeper is None:
        _keeper = threading.Thread(target=_keep, name="allcores.map pools", daemon=True)
        try:
            _keeper.start()
        except RuntimeError:  # no thread to be had, or the interpreter is ending
            _keeper = None


def _keep() -> None:
    """The keeper's thread: sends away what had no work for so long, and ends with the last."""
    global _keeper
    while True:
        time.sleep(IDLE_S)
        with _lock:
            old = [
                key for key in list(_used) if not _users.get(key) and time.monotonic() - _used[key] >= IDLE_S
            ]
            gone = [pool for key in old for pool in _kept.pop(key, [])]
            gone += [_shared.pop(key) for key in old if key in _shared]
            for key in old:
                del _used[key]
            ends = not _used
            if ends:
                _keeper = None
        for pool in gone:
            pool.shutdown(wait=False)
        del gone
        if ends:
            return


def _forget() -> None:
    """In a fork's child: the pools are the parent's."""
    global _lock, _keeper
    _lock, _keeper = threading.RLock(), None
    _inherited.append((dict(_shared), dict(_kept)))
    for table in (_shared, _kept, _users, _used):
        table.clear()


os.register_at_fork(after_in_child=_forget)


def _left(plan: Plan) -> float | None:
    """Seconds until the caller's timeout; None without."""
    if plan.deadline is None:
        return None
    left = plan.deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def make(plan: Plan, choice: _cost.Choice, early: bool = False) -> Threads | Processes:
    """The line that was chosen. Its pool is there; nothing is taken from the source yet."""
    if choice.backend == "processes":
        return Processes(plan, choice.workers, LONGEST_CHUNK_S if early else max(plan.wall, 1e-7))
    return Threads(plan, choice.workers, choice.backend)


def enter(line: Threads | Processes, loop: _ext.Inline, made: int) -> bool:
    """Begin the line at item `made`, behind the call that the loop is in. False: that call is over by now."""
    begun = threading.Lock()
    with begun:
        if not loop.switch_to(_entry(line, begun), loop.calls):
            return False
        line.begin(made, loop)
        return True


def _entry(line: Threads | Processes, begun: threading.Lock) -> Iterator[Iterator[Any]]:
    """What the loop goes on with: the line, once it has begun."""
    with begun:
        pass
    yield from line.run()


class _Line:
    """What both kinds of line have: the source, and how it ends."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.window: deque[Any] = deque()
        self.made = 0  # results handed out, and items before this line's first
        self.taken = 0  # rows, and items before this line's first
        self.ended = False
        self.give_back = False
        self.closed = False
        self.failure: Exception | None = None  # of the source, or no thread to be had

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ends():
            self.close()  # run() may never have been asked

    def begin(self, made: int, beside: _ext.Inline | None = None) -> None:
        """Start the first items; `made` were made before. beside: the loop, where it is still in a call."""
        self.made = self.taken = made
        self._fill()

    def _fill(self) -> None:
        """Take rows; what goes wrong comes out behind the results of those before."""
        try:
            self._take_more()
        except Exception as error:
            self.failure, self.ended = error, True

    def _take_more(self) -> None:
        raise NotImplementedError

    def _each(self) -> Iterator[Iterator[Any]]:
        raise NotImplementedError

    def close(self) -> None:
        """Call off what has not begun, and give the pool back."""
        if not self.closed and not sys.is_finalizing():
            self.closed = True
            self._close()

    def _close(self) -> None:
        raise NotImplementedError

    def _rows(self, count: int) -> list[Any]:
        rows: list[Any] = []
        try:
            rows.extend(islice(self.plan.source, count))
        except Exception as error:  # comes out behind the results of the rows before it
            self.failure = error
        self.ended = len(rows) < count
        self.taken += len(rows)
        return rows

    def run(self) -> Iterator[Iterator[Any]]:
        """Batches of results; behind them those of the loop, if it is given back to."""
        try:
            yield from self._each()
        finally:
            self.close()
        if self.failure is not None:
            raise self.failure
        if self.give_back and not self.ended:
            loop = self.plan.again(self.made)
            try:
                yield loop
            finally:
                loop.close()


class _Inside:
    """fn of a row, marked as running for a map: one inside it stays in its thread."""

    def __init__(self, fn: Callable[..., Any], spread: bool) -> None:
        self.fn, self.spread = fn, spread
        self.depth = getattr(here, "depth", 0) + 1

    def __call__(self, row: Any) -> Any:
        here.depth = self.depth
        return self.fn(*row) if self.spread else self.fn(row)


def _stand_aside(loop: _ext.Inline) -> None:
    """What one of the threads does while the calling thread computes: so each that computes has a CPU."""
    from allcores import _threads

    while loop.row is not NotImplemented and not _threads._exiting:
        time.sleep(0.002)


class Threads(_Line):
    """Items in threads, as many as are estimated, and more while those in flight leave the CPUs idle; or in
    interpreters. The window holds (index, future)."""

    def __init__(self, plan: Plan, workers: int, kind: str) -> None:
        super().__init__(plan)
        most = _cost.MOST_THREADS if workers > plan.cpus else workers
        self.limit = plan.options["max_workers"] or most
        self.flight = min(workers, self.limit)
        self.key = (kind, self.limit)
        self.pool: Any = None
        self.call: Callable[[Any], Any] = _Inside(plan.fn, plan.arity != 1)
        self.kind = kind
        self.effects = plan.effects
        self.state: State | None = None
        self.cap: _Cap | None = None
        self.delayed: float | None = None  # at the last look, if the calls seemed to take turns

    def begin(self, made: int, beside: _ext.Inline | None = None) -> None:
        self.pool = _lend(self, self.key)
        if beside is not None and 1 < self.flight <= self.plan.cpus:
            self.pool.submit(_stand_aside, beside)
        facts = self.plan.facts
        if self.effects is not None and self.effects.mutates and self.effects.own_state:
            self.state = self.effects.seen(surroundings=False)  # those may be the caller's doing
        if self.kind == "threads" and facts.seen_cpu >= 0.3 * (facts.seen_wall or 0):
            self.cap = _Cap.of(self.limit)
        super().begin(made)

    def _submit(self, row: Any) -> Any:
        if self.kind == "threads":
            return self.pool.submit(self.call, row)
        rows = row if self.plan.arity != 1 else (row,)
        return self.pool.submit(self.plan.fn, *rows)

    def _take_more(self) -> None:
        buffer = self.plan.options["buffersize"]
        most = 2 * self.flight if buffer == "auto" else min(index(buffer), 2 * self.flight)
        while (room := most - len(self.window)) > 0 and not self.ended and not self.give_back:
            at = self.taken
            many = room if self.plan.portable else 1  # another source may keep us waiting for its next row
            for row in self._rows(many):
                self.window.append((at, self._submit(row)))
                at += 1

    def _next(self) -> tuple[int, Any]:
        """The item whose result comes next."""
        window = self.window
        if self.plan.options["ordered"]:
            if not window[0][1].done():
                self._wait(window[0][1])
            return window.popleft()  # type: ignore[no-any-return]
        while True:
            for entry in window:
                if entry[1].done():
                    window.remove(entry)
                    return entry  # type: ignore[no-any-return]
            self._wait(window[0][1])

    def _also_done(self) -> list[Any]:
        """The results that can be given with the one that comes next."""
        results: list[Any] = []
        window, most = self.window, 64 if self.plan.options["buffersize"] == "auto" else 0
        while len(results) < most and window and (future := window[0][1]).done() and not future.exception():
            results.append(future.result())
            window.popleft()
        return results

    def _wait(self, future: Any) -> None:
        """Until it is done; where results come in any order, at most for a moment."""
        from concurrent.futures import TimeoutError as Late

        while not future.done():
            left = _left(self.plan)
            ramps = self.flight < self.limit and not self.ended and self.kind == "threads"
            pause = RAMP_S if ramps or not self.plan.options["ordered"] else left
            began, cpu = time.perf_counter(), time.process_time()
            try:
                future.exception(pause if left is None or pause is None else min(pause, left))
            except Late:
                pass
            idle = time.process_time() - cpu < 0.5 * (time.perf_counter() - began)
            if ramps and idle and not future.done():
                self.flight = min(self.limit, 2 * self.flight)
                self.plan.facts.workers = max(self.plan.facts.workers, self.flight)
                self._fill()
            if not self.plan.options["ordered"]:
                return

    def _each(self) -> Iterator[Iterator[Any]]:
        looked, cpu, seen = time.perf_counter(), time.process_time(), self.made
        while self.window:
            at, future = self._next()
            results = self._also_done()
            self._fill()
            error = future.exception()
            if error is not None:
                if (shown := told(error, at)) is error:
                    raise error
                raise shown from error
            results.insert(0, future.result())
            self.made += len(results)
            yield iter(results)
            now = time.perf_counter()
            if now - looked > LOOK_S:
                self._look(now - looked, time.process_time() - cpu, self.made - seen)
                looked, cpu, seen = time.perf_counter(), time.process_time(), self.made
        self._look_at_state()

    def _look_at_state(self) -> None:
        """Threads go no further with calls that begin to change what they share: back to the loop. Those under way
        may have done so in another order than the loop's."""
        changed = self.state.changed() if self.state is not None else None
        if changed is None:
            return
        facts = self.plan.facts
        self.give_back, self.state = True, None
        facts.stays = facts.reason = f"{facts.name} changed {changed}"
        warnings.warn(
            f"allcores.map: calls of {facts.name} in several threads changed {changed}, which earlier calls had not, "
            'maybe in another order than the loop would: use backend="inline", or backend="threads" to allow it',
            RuntimeWarning,
            stacklevel=2,
        )

    def _look(self, wall: float, cpu: float, items: int) -> None:
        """Threads that take turns at the GIL are no gain: back to the loop, which measures anew."""
        plan = self.plan
        if plan.options["backend"] != "auto":
            return
        self._look_at_state()
        if self.give_back:
            return
        facts = plan.facts
        slow = 1.5 * facts.costs.get("threads", 0.0)
        if cpu < 2 * items * facts.seen_cpu:  # the work that threads were chosen for: they are still a gain
            slow = max(slow, _cost.GAIN * facts.costs.get("inline", 0.0))
        if not (0.9 * wall < cpu < 1.15 * wall and items and wall / items > slow):
            self.delayed = None
            return
        # of many threads it says nothing, and takes long: each wakes up to ask for the GIL; but all other programs
        # together would not leave so many just one CPU
        before, self.delayed = self.delayed, all_delayed_s() if self.flight <= 2 * plan.cpus else 0.0
        if before is not None and self.delayed - before < 0.3 * wall:  # else another program has the CPUs
            self.give_back = True
            facts.reason = "in threads the calls took turns"

    def _close(self) -> None:
        for _, future in self.window:
            future.cancel()
        busy = not all(future.done() for _, future in self.window)
        self.window.clear()
        if self.cap is not None:
            self.cap.lift()
        if self.pool is not None:
            _take_back(self, self.key, self.pool, busy)


class _Cap:
    """BLAS libraries with one thread each while several threads call them; theirs would multiply with ours."""

    count = 0  # lines that have it
    limits: Any = None
    lock = threading.Lock()

    @classmethod
    def of(cls, threads: int) -> _Cap | None:
        if threads < 2 or sys.modules.keys().isdisjoint(("numpy", "scipy", "torch")):
            return None
        try:
            import threadpoolctl
        except ImportError:
            return None
        with cls.lock:
            if cls.count == 0:
                cls.limits = threadpoolctl.threadpool_limits(limits=1)
            cls.count += 1
        return cls()

    def lift(self) -> None:
        with self.lock:
            _Cap.count -= 1
            if _Cap.count == 0:
                self.limits.restore_original_limits()


class _Chunk:
    """Items that travel together: in a worker (`remote`), or made here (`results`)."""

    __slots__ = ("error", "first", "remote", "results", "rows", "whole")

    def __init__(self, rows: list[Any], first: int, whole: bool) -> None:
        self.rows, self.first, self.whole = rows, first, whole
        self.remote: Any = None
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
        state = Effects(self.user_fn).seen() if self.looks else None
        results: list[Any] = []
        try:
            for row in rows:
                results.append(self.fn(*row) if self.spread else self.fn(row))
        except Exception as error:
            with suppress(Exception):  # of an exception that lets nothing be set on it
                error._allcores_made = results  # type: ignore[attr-defined]
            raise
        changed = state.changed() if state else None
        if changed:
            raise RuntimeError(
                f"allcores.map: a call changed {changed} in a worker process, which earlier calls had not; its caller "
                'does not see that, and no item runs twice: use backend="inline" or "threads"'
            )
        return results


class Processes(_Line):
    """Chunks in worker processes; while it would wait, the calling thread makes those that no worker has begun.

    item_s: seconds an item, estimated."""

    def __init__(self, plan: Plan, workers: int, item_s: float) -> None:
        super().__init__(plan)
        self.key = ("processes", workers)
        self.pool: ProcessPoolExecutor | None = None
        self.pool = _lend(self, self.key)
        self.helps = plan.options["backend"] == "auto"  # the calling thread makes items, too
        self.workers, self.item_s = workers, item_s
        wall = plan.facts.seen_wall
        self.waits = wall is not None and plan.facts.seen_cpu < 0.5 * wall
        self.check: _Checked | None = None
        self.effects = effects = plan.effects
        if effects is not None and effects.wants_check:
            self.check = _Checked(plan.fn, plan.user_fn, effects, plan.arity != 1)

    def _size(self) -> int:
        plan = self.plan
        longest = LONGEST_CHUNK_S
        if plan.total is not None:
            longest = min(longest, (plan.total - self.taken) * self.item_s / (4 * (self.workers + 1)))
        size = int(max(longest, 0.0004) / self.item_s)
        if plan.options["chunksize"] != "auto":
            size = index(plan.options["chunksize"])
        if plan.facts.bytes:
            size = min(size, max(1, MOST_CHUNK_BYTES // plan.facts.bytes))
        if plan.options["buffersize"] != "auto":
            most = index(plan.options["buffersize"])
            size = min(size, max(1, most // (self.workers + 1)), most - (self.taken - self.made))
            return size
        return max(1, size)

    def _take_more(self) -> None:
        plan = self.plan
        while len(self.window) < 2 * self.workers + 2 and not self.ended and not self.give_back:
            size = self._size()
            if size < 1:
                return
            first = self.taken
            rows = self._rows(size)
            if not rows:
                return
            plan.facts.chunk = max(plan.facts.chunk, len(rows))
            chunk = _Chunk(rows, first, self.check is not None)
            self.window.append(chunk)
            try:
                chunk.remote = self._send(rows)
            except Exception as error:
                self._keep_here(chunk, f"{type(error).__name__}: {error}")
            else:
                if chunk.remote.poll() == UNPICKLABLE:
                    self._keep_here(chunk, "an item cannot be pickled")

    def _send(self, rows: list[Any]) -> _ext.MapIterator[Any]:
        assert self.pool is not None
        if self.check is not None:
            return self.pool._map(self.check, [rows], 1, 1, None, False)
        return self.pool._map(self.plan.fn, rows, self.plan.arity, len(rows), None, False)

    def _keep_here(self, chunk: _Chunk, why: str) -> None:
        """The chunk has not run and will not run elsewhere."""
        chunk.remote = None
        self.give_back = True
        self.plan.facts.no_processes = self.plan.facts.reason = why

    def _make(self, chunk: _Chunk) -> None:
        """The chunk's calls, here."""
        plan = self.plan
        fn, spread = plan.fn, plan.arity != 1
        chunk.remote, chunk.results = None, []
        append = chunk.results.append
        state = self.effects.seen(surroundings=False) if self.effects is not None else None
        delay, wall, cpu = delayed_s(), time.perf_counter(), time.process_time()
        try:
            for row in chunk.rows:
                append(fn(*row) if spread else fn(row))
        except Exception as error:
            chunk.error = error
            return
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.item_s = 0.5 * self.item_s + 0.5 * max(wall / len(chunk.rows), 1e-8)
        wall -= delayed_s() - delay  # waiting for a CPU is no waiting
        other = cpu > 0.8 * wall if self.waits else cpu < 0.3 * wall
        if wall > 0.002 and other and plan.options["backend"] == "auto":
            self.give_back = True
            plan.facts.reason = (
                "the work changed: it waits now" if not self.waits else "the work changed: it computes now"
            )
        changed = state.changed() if state is not None else None
        if changed:
            self._stay_behind(chunk, changed)

    def _stay_behind(self, chunk: _Chunk, changed: str) -> None:
        """This chunk's calls, made here, are the loop's; those behind it that a worker has begun did not see what
        they changed, so that nobody knows their results; all others are made here, too."""
        facts = self.plan.facts
        self.give_back = True
        facts.stays = facts.reason = f"{facts.name} changed {changed}"
        for later in self.window:
            if later.first <= chunk.first or later.remote is None:
                continue
            if later.remote.poll() == QUEUED and later.remote.cancel():
                later.remote = None
            else:
                later.remote.close()
                later.remote, later.results = None, []
                later.error = RuntimeError(
                    f"allcores.map: a call changed {changed}, which earlier calls had not, while this item was with "
                    'a worker process, which does not see that; no item runs twice: use backend="inline"'
                )

    def _steal(self) -> bool:
        if not self.helps:
            return False
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
                return chunk  # type: ignore[no-any-return]
            left = _left(self.plan)
            if not self._steal():
                pause = left if self.plan.options["ordered"] else min(0.002, left or 0.002)
                began = time.perf_counter()
                chunk.remote.wait(pause)
                self._learn((time.perf_counter() - began) * self.workers / len(chunk.rows))

    def _learn(self, item_s: float) -> None:
        """Where no item is made here, their time is known from how long they are waited for."""
        if not self.helps:
            self.item_s = max(1e-7, 0.5 * self.item_s + 0.5 * item_s)

    def _batch(self, chunk: _Chunk) -> Iterator[Iterator[Any]]:
        """The chunk's results; the error, if any, is raised behind them."""
        if chunk.remote is not None and chunk.whole:
            chunk.results = self._checked(chunk)
        source: Iterator[Any] = chunk.remote if chunk.results is None else iter(chunk.results)
        error: Exception | None = None
        try:
            yield source
        except Exception as raised:
            error = raised
        made = chunk.remote.handed() if chunk.results is None else len(chunk.results)
        self.made += made
        if made < len(chunk.rows):
            error = chunk.error or error or StopIteration()
            died = chunk.remote is not None and type(error).__name__ == "WorkerDied"
            raise told(error, self._killer(chunk, made) if died else chunk.first + made)

    @staticmethod
    def _killer(chunk: _Chunk, made: int) -> str:
        """Which item killed the worker, as far as it is known, and whose results it took with it."""
        first, last, lost = chunk.first + made, chunk.first + len(chunk.rows) - 1, chunk.remote.lost()
        if chunk.whole and last > first:
            return f"{first}, or one of those behind it up to {last}, whose results are lost with the worker"
        others = f"; results from item {first} on are lost with the worker" if lost else ""
        return f"{first + lost}{others}"

    def _checked(self, chunk: _Chunk) -> list[Any]:
        try:
            return next(chunk.remote)
        except WorkerDiffers as error:
            self._keep_here(chunk, f"a worker imports other values: {error}")
            self._make(chunk)
            return chunk.results or []
        except Exception as error:
            chunk.error = error
            return error.__dict__.pop("_allcores_made", [])  # type: ignore[no-any-return]

    def _each(self) -> Iterator[Iterator[Any]]:
        while self.window:
            chunk = self._next()
            self._fill()
            yield from self._batch(chunk)
            self._fill()

    def _close(self) -> None:
        for chunk in self.window:
            if chunk.remote is not None:
                chunk.remote.close()
        self.window.clear()
        if self.pool is not None:
            _take_back(self, self.key, self.pool, False)


def forced(plan: Plan, backend: str) -> Iterator[Any]:
    """All of it where the user wants it."""
    most = plan.options["max_workers"] or (_cost.MOST_THREADS if backend == "threads" else plan.cpus)
    plan.facts.backend, plan.facts.workers, plan.facts.reason = backend, most, "it was asked for"
    item_s = LONGEST_CHUNK_S / 4
    line = Processes(plan, most, item_s) if backend == "processes" else Threads(plan, most, backend)
    line.begin(0)
    loop = _ext.Inline(plan.fn, iter(()), False, None, False)
    loop.rest = line.run()
    return loop
