"""One allcores.map(): what is known of its work, and the choice of the place where it goes on.

The loop (src/ext/inline.c) sends an item through `Plan` at times, which measures wall time, CPU time and pickled size,
looks for state that the calls change (`_effects`), and asks `_cost` what an item would take elsewhere.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from allcores import _cost, _ext

if TYPE_CHECKING:
    from allcores._effects import Effects, State

LEAST_WORK = 0.008  # seconds of work left below which nothing is tried
LEAST_ITEM = 3e-7  # seconds; an item that is shorter is not worth sending anywhere
SHORT = 2e-5  # seconds; the CPU clock is not exact for less
SAMPLES = 6  # items measured at a look, at most
LOOK = 0.0004  # seconds spent on them, about
MOST_BYTES = 1 << 26  # of one item's pickled arguments that are compared
LEAST_LOOKS = 8  # at the GIL, for a share of them to mean something
here = threading.local()  # .depth: how many maps this thread runs an item for
_PLAIN = frozenset((int, float, bool, type(None)))


@dataclass
class Facts:
    """What came of a map(), for explain(); it holds nothing of the user's."""

    name: str
    backend: str = "inline"
    workers: int = 0
    chunk: int = 1  # items of the largest one
    reason: str = "too little work to look at"
    stays: str | None = None  # why it stays in the calling thread
    no_processes: str | None = None
    seen_wall: float | None = None  # seconds an item
    seen_cpu: float = 0.0
    gil_share: float | None = None  # of the time
    bytes: int = 0  # of a sample, arguments and result
    costs: dict[str, float] = field(default_factory=dict)
    moves: list[str] = field(default_factory=list)


class Plan:
    """What is known of one map()'s work, and what was chosen.

    fn: the user's function. call: what is called with a row; the same, or around it. source: the rows. total: their
    number where it is known. arity: of fn's arguments; a row is a tuple where it is not 1. portable: whether any
    thread may take rows from the source.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        call: Callable[..., Any],
        source: Iterator[Any],
        options: dict[str, Any],
        *,
        total: int | None,
        arity: int,
        portable: bool,
    ) -> None:
        self.user_fn, self.fn = fn, call
        self.source, self.options = source, options
        self.total, self.arity, self.portable = total, arity, portable
        self.cpus = _ext.usable_cpus()
        self.offset = 0  # items before the present loop's first
        self.walls: deque[float] = deque(maxlen=12)
        self.cpu_s: deque[float] = deque(maxlen=12)
        self.pickling: deque[float] = deque(maxlen=4)  # seconds a sample, one way
        self.gil_seen = (0, 0)
        self.effects: Effects | None = None
        self.state: State | None = None
        self.looked = -1  # the call behind which the state was compared
        self.lock = threading.Lock()  # one decision at a time
        self.began = time.perf_counter()
        self.began_cpu = time.process_time()
        self.deadline: float | None = None
        if options["timeout"] is not None:
            self.deadline = time.monotonic() + options["timeout"]
        self.facts = Facts(name=getattr(fn, "__qualname__", type(fn).__qualname__))

    def loop(self) -> _ext.Inline:
        """The measured loop over what is left of the source."""
        return _ext.Inline(self.fn, self.source, self.arity != 1, self, self.deadline is not None)

    # --- called by the loop

    def __call__(self, loop: _ext.Inline) -> Any:
        """One item, measured; the loop comes here instead of making the call itself."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError
        row = loop.take()
        effects, looks = self.effects, self.effects is not None and self.state is None
        compared = (looks or len(self.pickling) < 3) and self.facts.stays is None and self._worth_it(loop)
        before = self._frozen(row) if compared else None
        if effects is not None and looks:
            effects.items(row)
            self._heed(effects)
            self.state = effects.seen()  # here, so that only the call comes in between
        long = not self.walls or self.walls[-1] > 0.001
        delay = delayed_s() if long else 0.0
        try:
            result, wall, cpu = loop.timed(row)
        except Exception as error:
            if (shown := self.failed(loop, error)) is error:
                raise
            raise shown from error
        if long and wall > 0.001:  # the thread waited for a CPU, not for what it asked
            wall = max(cpu / self.cpus, wall - (delayed_s() - delay))
        with self.lock:
            if loop.rest is not None:  # the watcher has decided meanwhile
                return result
            if not looks or wall > SHORT:  # or the look has cooled the caches
                self.walls.append(wall)
                self.cpu_s.append(min(cpu, wall) if wall < SHORT else cpu)
            if looks and self.state is not None:
                self.looked = loop.calls
                if (changed := self.state.changed()) is not None:
                    self._stay(f"{self.facts.name} changed {changed}")
            if before is not None:
                self._weigh(row, before, result)
            self.facts.seen_wall, self.facts.seen_cpu = self.wall, sum(self.cpu_s) / len(self.cpu_s)
            if sum(self.walls) < LOOK and len(self.walls) < SAMPLES:
                loop.due = True
            elif self.facts.stays is None:
                self.decide(loop)
        return result

    def failed(self, loop: _ext.Inline, error: Exception) -> BaseException:
        """The exception that comes out for what the loop's present call raised."""
        return told(error, self.offset + loop.calls)

    # --- measuring

    @property
    def wall(self) -> float:
        """Seconds an item, of late."""
        return sum(self.walls) / len(self.walls)

    def left(self, loop: _ext.Inline) -> int | None:
        """Items that are not made yet; None where nobody knows."""
        return None if self.total is None else max(0, self.total - self.offset - loop.calls)

    def _worth_it(self, loop: _ext.Inline) -> bool:
        """Whether there is enough to do, by what the loop has done so far."""
        item_s = (time.perf_counter() - self.began) / (loop.calls + 1)
        left = self.left(loop)
        return item_s >= LEAST_ITEM and (left is None or left * item_s >= LEAST_WORK)

    def _frozen(self, row: Any) -> tuple[Any, ...] | None:
        """(seconds of pickling, bytes, and what is equal as long as the row is)"""
        from allcores._effects import is_fixed

        if _is_plain(row):
            return 0.0, 16
        try:
            took, size, *parts = _pickled(row)
        except Exception as error:
            self.facts.no_processes = f"an argument cannot be pickled: {_first_line(error)}"
            return None
        if is_fixed(row):
            return took, size
        if size > MOST_BYTES:
            self.facts.no_processes = "an argument is too large to see whether the call changes it"
            return None
        return took, size, parts[0], *(view.tobytes() for view in parts[1:])

    def _weigh(self, row: Any, before: tuple[Any, ...], result: Any) -> None:
        after = self._frozen(row)
        if after is not None and before[2:] != after[2:]:
            self._stay("the call changes its argument")
            return
        took, size = 0.0, 16
        if self.effects is not None and len(before) > 2 and self.effects.writes_arguments:
            self.facts.no_processes = "its code may change an argument"
            return
        if self.effects is not None and self.effects.shares(result):
            self.facts.no_processes = "a result is an object that others have, too"
            return
        if not _is_plain(result):
            try:
                took, size, _, *views = _pickled(result)
            except Exception as error:
                self.facts.no_processes = f"a result cannot be pickled: {_first_line(error)}"
                return
            took += sum(view.nbytes for view in views) * _cost.PER_BYTE
        self.pickling.append(before[0] + took)
        self.facts.bytes = max(self.facts.bytes, before[1] + size)

    # --- deciding

    def _stay(self, why: str) -> None:
        self.facts.stays = self.facts.reason = why

    def _heed(self, effects: Effects) -> bool:
        """Take over what is known of the effects. Whether the function stays in the calling thread."""
        if (why := effects.stays(self.facts.name)) is not None:
            self._stay(why)
            return True
        self.facts.no_processes = self.facts.no_processes or effects.against_processes()
        return False

    def _look_at_effects(self, early: bool) -> bool:
        """Whether it is known by now what the function may change; an item has to be seen in between, but for a call
        beside which the watcher decides: that goes on where there is no state to be seen."""
        if self.effects is None:
            from allcores._effects import Effects

            self.effects = Effects(self.user_fn)
            if self._heed(self.effects):
                return True
        return self.state is not None or (early and not self.effects.own_state)

    def _gil(self, loop: _ext.Inline, early: bool) -> None:
        """The share of the looks since the last decision; while the first call runs, of all."""
        held, looks = (now - seen for now, seen in zip(loop.gil, self.gil_seen, strict=True))
        if looks >= LEAST_LOOKS:
            self.facts.gil_share = held / looks
            if not early:
                self.gil_seen = loop.gil

    def decide(self, loop: _ext.Inline, early: bool = False) -> None:
        """Go on elsewhere where that is cheaper."""
        self._gil(loop, early)
        left = self.left(loop)
        if self.wall < LEAST_ITEM:
            self.facts.reason = "the items are too small to send"
        elif left is not None and left * self.wall < LEAST_WORK:
            self.facts.reason = "too little work left"
        elif not self._look_at_effects(early):
            loop.due = True  # the next item, then what it changed
        elif self.facts.stays is None and (choice := _cost.choose(self, left, early)) is not None:
            if early or self.looked == loop.calls:
                self._take(loop, choice, early)
            else:  # it may have begun to change something since
                self.state, loop.due = None, True

    def _take(self, loop: _ext.Inline, choice: _cost.Choice, early: bool) -> None:
        from allcores import _lines

        made = loop.calls + early
        try:
            line = _lines.make(self, choice, early)
        except OSError as error:  # no shared memory, no processes to be had
            self._stay(f"{choice.backend} cannot be had: {error}")
            return
        if early and not _lines.enter(line, loop, self.offset + made):
            return
        self.facts.backend, self.facts.workers, self.facts.reason = (
            choice.backend,
            choice.workers,
            choice.reason,
        )
        self.facts.moves.append(f"{choice.backend} from item {self.offset + made}: {choice.reason}")
        if not early:
            line.begin(self.offset + made)
            loop.rest = line.run()

    def early(self, loop: _ext.Inline, own_s: float) -> None:
        """Beside a call that runs for some time: another thread, which has used own_s of CPU meanwhile, decides.
        Where its effects are to be seen first, the end of the call is waited for."""
        wall = (time.perf_counter() - self.began) / (loop.calls + 1)
        cpu = max(time.process_time() - self.began_cpu - own_s, 0.0)
        from allcores._effects import is_fixed

        with self.lock:
            row = loop.row
            if self.walls or loop.rest is not None or not self.portable or not is_fixed(row):
                return
            self.walls.append(wall)
            self.cpu_s.append(min(wall * self.cpus, max(cpu, wall * (1 - loop.asleep))))
            self.decide(loop, early=True)
            self.walls.clear()
            self.cpu_s.clear()
            self.effects = self.state = None

    def again(self, made: int) -> _ext.Inline:
        """The loop that goes on from item `made`, when the work is not what it was."""
        self.offset = made
        for figures in (self.walls, self.cpu_s):
            figures.clear()
        self.facts.gil_share, self.gil_seen = None, (0, 0)
        self.effects = self.state = None
        self.began, self.began_cpu = time.perf_counter(), time.process_time()
        self.facts.backend, self.facts.workers = "inline", 0
        self.facts.moves.append(f"inline from item {made}: {self.facts.reason}")
        return self.loop()


def told(error: BaseException, item: int | str) -> BaseException:
    """The error with its item's index, or what is known of it; StopIteration as an error, or it would end the
    iteration."""
    if isinstance(error, StopIteration):
        stop, error = error, RuntimeError("the function raised StopIteration")
        error.__cause__ = stop
    try:
        error.add_note(f"allcores.map: item {item}")
    except Exception:  # an error that lets nothing be set on it
        pass
    return error


def _pickled(value: Any) -> tuple[Any, ...]:
    """(seconds, bytes, stream, views of the buffers beside it...)"""
    buffers: list[Any] = []
    began = time.perf_counter()
    stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
    took = time.perf_counter() - began
    views = [one.raw() for one in buffers]
    return took, len(stream) + sum(view.nbytes for view in views), stream, *views


def _is_plain(value: Any) -> bool:
    """Whether the engine encodes it without pickle, in the time that _cost.SEND_S states."""
    kind = type(value)
    return kind in _PLAIN or (kind is tuple and all(type(part) in _PLAIN for part in value))


def _schedstat(thread: str) -> tuple[float, float]:
    """Seconds that a thread has run, and has waited for a CPU, so far; none where it has ended."""
    try:
        with open(f"/proc/{thread}/schedstat", "rb", buffering=0) as file:
            ran, waited, _ = file.read(64).split()
            return int(ran) / 1e9, int(waited) / 1e9
    except (OSError, ValueError):  # or a kernel without it
        return 0.0, 0.0


def delayed_s() -> float:
    """Seconds that this thread has waited for a CPU so far."""
    return _schedstat("thread-self")[1]


def all_delayed_s() -> float:
    """Seconds that the threads of this process that live have waited for a CPU so far."""
    return sum(_schedstat(f"self/task/{name}")[1] for name in os.listdir("/proc/self/task"))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0]
