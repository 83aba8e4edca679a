"""AutoExecutor: submit() and map() whose calls go to threads or processes by what was seen of their function.

The first calls of a function run in a thread, where they are measured as allcores.map() measures (`_plan`). What is
queued behind them waits in `_held`, with one token in the thread pool for each: so that it can still be sent to the
processes when the function turns out to compute under the GIL, be it while its first call runs (the watcher's thread
looks at that). Every call that is sent is looked at by map()'s rules (`_effects`); what fails them runs in a thread.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import CancelledError, InvalidStateError, _base
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from allcores import _auto, _cost, _ext
from allcores._effects import Effects, ambient, is_fixed
from allcores._executor import ProcessPoolExecutor
from allcores._lines import WorkerDiffers, _Checked
from allcores._plan import LEAST_LOOKS, Plan, delayed_s
from allcores._threads import MOST_AUTO, ThreadPoolExecutor

if TYPE_CHECKING:
    from allcores._effects import State

T = TypeVar("T")
LOOK_EVERY = 32  # calls of a function of which one is measured, when its place is known
LEAST_CPU = 2e-4  # seconds of a call below which processes are not thought of: sending it takes as much
SEND_S = 2e-4  # what sending a call is taken to cost until it was measured
COMPARED = 4  # calls before and after which all that they could change is compared; then one in 8
HOLDS = 0.4  # of its time that a function holds the GIL, from which on it is taken not to wait
ENOUGH = 3  # short calls after which a function is known to be short
SURE_LOOKS = 64  # at the GIL, to be sure that a function leaves it: threads may just have had turns
HURRY_S = 0.2  # that the watcher hurries for a first call; by then it has looked at it some ten times
MOST_PROVED = 64
MOST_SEEN = 1024  # functions
_OPTIONS = {"timeout": None, "max_workers": None}


class _Seen:
    """What is known of one function's calls; of the function itself it holds nothing but its code."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.place: str | None = None  # where calls go: "threads", "processes"; None while they are measured
        self.reason = "its first calls are measured in a thread"
        self.no_processes: str | None = None
        self.walls: deque[float] = deque(maxlen=12)  # seconds, as they were
        self.cpu: deque[float] = deque(maxlen=12)
        self.waits: deque[float] = deque(
            maxlen=12
        )  # without those for the GIL, of calls where that could be told
        self.pickling: deque[float] = deque(maxlen=4)
        self.sends: deque[float] = deque(maxlen=9)  # seconds of CPU
        self.held = self.looks = 0  # at the GIL
        self.looked_s = self.looked_cpu_s = 0.0  # what the calls took meanwhile
        self.bytes = 0
        self.spent = 0.0  # seconds of CPU in threads
        self.submitted = self.to_processes = self.compares = 0
        self.costs: dict[str, float] = {}
        self.compared = False  # arguments that could have changed did not
        self.proved: dict[tuple[int, ...], list[Any]] = {}  # state that calls did not change

    def keep_here(self, why: str) -> None:
        """No call of it leaves this process any more."""
        self.no_processes = self.no_processes or why
        self.place, self.reason = "threads", self.no_processes

    def own_error(self, error: Exception) -> None:
        """Never the user's trouble: its calls are made here."""
        self.keep_here(f"allcores' own error: {error!r}")

    def measured(self, wall: float, cpu: float, others: float) -> None:
        """A call took so long; others: seconds of CPU that the process spent on something else meanwhile."""
        self.walls.append(wall)
        self.cpu.append(cpu)
        self.spent += cpu
        if others < 0.3 * wall:  # else it may have waited for the GIL
            self.waits.append(max(0.0, wall - cpu))

    def looked(self, held: int, looks: int, wall: float, cpu: float) -> None:
        """A call that took so long held the GIL at so many of the looks."""
        if looks:
            self.held, self.looks = self.held + held, self.looks + looks
            self.looked_s, self.looked_cpu_s = self.looked_s + wall, self.looked_cpu_s + cpu

    @property
    def send_s(self) -> float:
        """What sending a call takes; the first few, which import and look up, and a rare long one do not count."""
        return sorted(self.sends)[len(self.sends) // 2] if len(self.sends) > 2 else SEND_S

    @property
    def gil_of_cpu(self) -> float:
        """The share of its CPU time that is under the GIL: however many threads take turns there."""
        if self.looks < LEAST_LOOKS:
            return 1.0
        return min(1.0, self.looked_s * self.held / self.looks / max(self.looked_cpu_s, 1e-9))

    def estimate(self, cpus: int, threads: int, workers: int) -> None:
        """Seconds a call while many are asked for."""
        cpu, waits = _mean(self.cpu), _mean(self.waits)
        if self.looks >= LEAST_LOOKS and self.held >= HOLDS * self.looks:
            waits = 0.0  # for the GIL's next holder to get a CPU, most likely
        gil = cpu * self.gil_of_cpu if _cost.HAS_GIL else 0.0
        threads_s = max(gil + _cost.THREAD_S, cpu / cpus, (cpu + waits) / threads)
        send_s = self.send_s + _mean(self.pickling)
        self.costs = {"threads": threads_s, "processes": max((cpu + waits) / workers, cpu / cpus, send_s)}


class _Call(_base.Future[Any]):
    """A call that waits, or runs in a thread, or (inner) was sent to a process from there."""

    def __init__(self, seen: _Seen, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.seen, self.fn, self.args, self.kwargs = seen, fn, args, kwargs
        self.here = False  # it must run in a thread
        self.checked = False  # the worker's answer is the list that `_Checked` makes
        self.inner: Any = None
        self.gate = threading.Lock()  # it is cancelled, or sent
        self.called_off = False

    @property
    def bound(self) -> Any:
        return functools.partial(self.fn, **self.kwargs) if self.kwargs else self.fn

    @property
    def row(self) -> tuple[Any, ...]:
        return (*self.args, *self.kwargs.values())

    def cancel(self) -> bool:
        """As the standard's; a worker may have it meanwhile."""
        with self.gate:
            inner = self.inner
            self.called_off = inner is None
        return (inner is None or inner.cancel()) and super().cancel()

    def running(self) -> bool:
        return bool(self.inner is not None and self.inner.running()) or super().running()

    def over(self, result: Any, error: BaseException | None) -> None:
        self.fn = self.args = self.kwargs = None  # type: ignore[assignment]
        try:
            if error is None:
                self.set_result(result)
            else:
                self.set_exception(error)
        except InvalidStateError:  # set from outside
            pass


class _Once(Plan):
    """One measured call: a loop over one item, which the watcher sees."""

    def __init__(self, call: _Call, early: Callable[[_Once, _ext.Inline], None]) -> None:
        super().__init__(call.fn, self.timed, iter((call.args,)), _OPTIONS, total=1, arity=2, portable=False)
        self.call, self.meet, self.bound = call, early, call.bound
        self.clock = time.pthread_getcpuclockid(threading.get_ident())
        self.ran = time.thread_time()
        self.inline: Any = self.loop()
        self.delay = delayed_s()
        self.wall_s = self.thread_s = self.others_s = 0.0
        self.held = self.looks = 0
        self.hurry: _auto.Hurry | None = None

    def timed(self, *args: Any) -> Any:
        """The call, and the clocks right before and behind it, where another thread seldom gets the GIL. The delay
        is read from a file, which gives the GIL away: not in here, where the watcher looks at it."""
        held, looks = self.inline.gil
        others = time.process_time()
        cpu, wall = time.thread_time(), time.perf_counter()
        try:
            return self.bound(*args)
        finally:
            cpu, wall = time.thread_time() - cpu, time.perf_counter() - wall
            self.held, self.looks = self.inline.gil[0] - held, self.inline.gil[1] - looks
            self.others_s = time.process_time() - others - cpu
            self.wall_s, self.thread_s = max(cpu, wall - (delayed_s() - self.delay)), cpu

    def __call__(self, loop: _ext.Inline) -> Any:
        return loop.timed(loop.take())[0]

    def failed(self, loop: _ext.Inline, error: Exception) -> BaseException:
        return error

    def early(self, loop: _ext.Inline, own_s: float) -> None:
        self.meet(self, loop)
        if time.perf_counter() - self.began > HURRY_S:
            self.no_hurry()

    def no_hurry(self) -> None:
        if self.hurry is not None:
            self.hurry.close()


class _Run:
    """The results of one map(), which shutdown() may have to make before they are asked for."""

    def __init__(self, source: Any, drains: bool) -> None:
        self.source, self.drains = source, drains
        self.begun = self.over = False
        self.ready: deque[tuple[Any, BaseException | None]] = deque()
        self.lock = threading.RLock()

    def next(self) -> Any:
        with self.lock:
            self.begun = True
            if not self.ready and not self.over:
                self._make()
            if not self.ready:
                raise StopIteration
            result, error = self.ready.popleft()
        if error is not None:
            raise error
        return result

    def _make(self) -> None:
        try:
            self.ready.append((next(self.source), None))
            return
        except StopIteration:
            pass
        except BaseException as error:
            self.ready.append((None, error))
        self.over, self.source = True, None

    def drain(self) -> None:
        """Make all that is left."""
        with self.lock:
            while not self.over:
                self._make()

    def close(self, error: BaseException | None = None) -> None:
        with self.lock:
            if not self.over:
                self.over, source, self.source = True, self.source, None
                source.close()
                if error is not None:
                    self.ready.append((None, error))


class _Results(Iterator[Any]):
    """What map() gives. Dropped half way it calls off the rest; dropped unasked, its calls are made nevertheless."""

    def __init__(self, run: _Run, threads: ThreadPoolExecutor) -> None:
        self._run, self._threads = run, threads

    def __next__(self) -> Any:
        return self._run.next()

    def close(self) -> None:
        """Call off what has not begun."""
        self._run.close()

    def __del__(self) -> None:
        if self._run.begun:
            self._run.close()
        elif not self._run.over:
            try:
                self._threads.submit(self._run.drain)
            except RuntimeError:  # the interpreter ends, or shutdown() makes them
                pass


class AutoExecutor(_base.Executor):
    """Runs calls in threads or in worker processes, whichever their function gains from.

    The first calls of a function run in threads and are measured. When it is seen to compute under the GIL for long
    enough, its further calls go to processes, also those that are queued; what waits, or leaves the GIL, stays in
    threads. What map() keeps in this process stays here, too: functions that change what they share, or reach what
    cannot be pickled or looked into. submit() returns at once and may cost more than a short call itself.

    Args:
        max_workers: most threads, and most processes; default: up to 64 threads as the calls need them, and as
            many processes as usable CPUs. Processes are started when there is work for them.
        thread_name_prefix: of the threads' names.
    """

    def __init__(self, max_workers: int | None = None, thread_name_prefix: str = "") -> None:
        prefix = thread_name_prefix or "allcores.AutoExecutor"
        self._threads = ThreadPoolExecutor("auto" if max_workers is None else max_workers, prefix)
        self._max_workers = max_workers
        self._cpus = _ext.usable_cpus()
        self._workers = max_workers or self._cpus
        self._lock = threading.RLock()
        self._functions: dict[Hashable, _Seen] = {}
        self._held: deque[_Call] = deque()
        self._pool: ProcessPoolExecutor | None = None
        self._surroundings: Any = None  # when the pool was made
        self._old: list[ProcessPoolExecutor] = []
        self._runs: set[_Run] = set()
        self._shut = self._ended = False
        _auto._begin_watch()

    # --- submit

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Any:
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        seen = self._seen_of(fn)
        seen.submitted += 1
        looks = seen.submitted % LOOK_EVERY == 0
        if seen.place == "threads" and not looks:
            return self._threads.submit(fn, *args, **kwargs)
        call = _Call(seen, fn, args, kwargs)
        call.here = looks
        if seen.place != "processes" or looks or not self._send(call):
            self._held.append(call)
            try:
                self._threads.submit(self._next)
            except RuntimeError:
                call.cancel()
                raise
        return call

    submit.__doc__ = _base.Executor.submit.__doc__

    def _seen_of(self, fn: Any) -> _Seen:
        key = _key_of(fn)
        seen = self._functions.get(key)
        if seen is None:
            with self._lock:
                if len(self._functions) >= MOST_SEEN:
                    self._functions.clear()
                name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
                seen = self._functions.setdefault(key, _Seen(name))
        return seen

    # --- in this process

    def _next(self) -> None:
        """In a thread: the call that has waited longest."""
        try:
            call = self._held.popleft()
        except IndexError:  # it went to a process
            return
        seen = call.seen
        if seen.place == "processes" and not call.here and self._send(call):
            return
        if not call.set_running_or_notify_cancel():
            return
        if seen.place == "threads" and not call.here:
            self._run(call)
        else:
            self._measure(call)

    @staticmethod
    def _run(call: _Call) -> None:
        try:
            result = call.fn(*call.args, **call.kwargs)
        except BaseException as error:
            call.over(None, error)
            del call  # the traceback has this frame
        else:
            call.over(result, None)

    def _measure(self, call: _Call) -> None:
        """Make the call; what it takes and, if it is long, what it changes."""
        seen, result, error = call.seen, None, None
        once = _Once(call, self._early)
        if seen.place is None and not seen.cpu:
            once.hurry = _auto.Hurry()  # or the watcher may not get the GIL to look at the call
        state = before = None
        try:
            state, before = self._look(once, call)
        except Exception as trouble:
            seen.own_error(trouble)
        try:
            result = next(once.inline)
        except BaseException as raised:
            error = raised
        once.inline.close()
        once.no_hurry()
        try:
            with self._lock:
                seen.looked(once.held, once.looks, once.wall_s, once.thread_s)
                seen.measured(once.wall_s, once.thread_s, once.others_s)
                if state is not None and once.effects is not None:
                    self._compare(once, call, state, before, result, error)
            self._decide(seen)
        except Exception as trouble:
            seen.own_error(trouble)
        once.inline = None  # which holds it
        del once, state, before
        call.over(result, error)
        del call, error  # the traceback has this frame

    def _look(self, once: _Once, call: _Call) -> tuple[State | None, Any]:
        """What the call might change, as it is before; nothing for short calls, or where it does not matter."""
        seen = call.seen
        if seen.no_processes is not None or not seen.cpu or _mean(seen.cpu) < LEAST_CPU:
            return None, None
        seen.compares += 1
        if seen.place is None and seen.compares > COMPARED and seen.compares % 8:
            return None, None
        once.effects = effects = Effects(call.fn)
        why = effects.stays(seen.name) or effects.against_processes()
        before = None
        if why is None:
            before = once._frozen(call.row)
            why = once.facts.no_processes
        if why is not None:
            seen.keep_here(why)
            return None, None
        return effects.seen(), before

    @staticmethod
    def _compare(
        once: _Once, call: _Call, state: State, before: Any, result: Any, error: BaseException | None
    ) -> None:
        seen, effects = call.seen, once.effects
        assert effects is not None
        if (changed := state.changed()) is not None:
            seen.keep_here(f"{seen.name} changed {changed}")
            return
        if before is not None and error is None:
            once._weigh(call.row, before, result)
        if (why := once.facts.stays or once.facts.no_processes) is not None:
            seen.keep_here(why)
            return
        seen.pickling.extend(once.pickling)
        seen.bytes = max(seen.bytes, once.facts.bytes)
        seen.compared |= not is_fixed(call.row)
        if len(seen.proved) >= MOST_PROVED:
            seen.proved.clear()
        seen.proved[_identity(effects)] = [thing for _, thing in effects.own_state]

    def _early(self, once: _Once, loop: _ext.Inline) -> None:
        """In the watcher's thread, while the call runs: have those behind it go elsewhere already."""
        seen = once.call.seen
        held, looks = loop.gil
        if seen.place is not None or looks < LEAST_LOOKS or seen.cpu:
            return
        cpu = time.clock_gettime(once.clock) - once.ran  # no file, the reading of which gives the GIL away
        with self._lock:
            guess = _Seen(seen.name)
            guess.sends = seen.sends
            wall = max(cpu, time.perf_counter() - once.began)
            guess.looked(held, looks, wall, cpu)
            guess.measured(wall, cpu, wall)  # how much of it is waiting is not known
            guess.estimate(self._cpus, self._most_threads, self._workers)
            seen.costs = guess.costs
            if not self._pays(seen, cpu, cpu):
                return
            seen.place, seen.reason = "processes", "it computes under the GIL"
        self._release(seen)
        if not seen.cpu and seen.place == "processes":
            seen.place = None  # the end of the call tells what a call takes

    # --- deciding

    @property
    def _most_threads(self) -> int:
        return self._max_workers or MOST_AUTO

    @staticmethod
    def _least_gain(seen: _Seen) -> float:
        """What it takes to go to processes; to stay there it takes none, for figures of short calls waver."""
        return 1.0 if seen.place == "processes" else _cost.GAIN

    def _pays(self, seen: _Seen, cpu: float, spent: float) -> bool:
        """Whether processes are estimated to gain enough, and what they have to do is worth starting them."""
        if seen.costs["processes"] >= _cost.GAIN * seen.costs["threads"]:
            return False
        queued = sum(1 for call in tuple(self._held) if call.seen is seen)
        return self._pool is not None or spent + queued * cpu >= _cost.COLD_S

    def _decide(self, seen: _Seen) -> None:
        with self._lock:
            seen.estimate(self._cpus, self._most_threads, self._workers)
            if seen.no_processes is not None:
                return
            cpu, wall = _mean(seen.cpu), _mean(seen.walls)
            processes, threads = seen.costs["processes"] / self._least_gain(seen), seen.costs["threads"]
            if cpu < LEAST_CPU:
                seen.place = "threads" if len(seen.cpu) >= ENOUGH or wall > LEAST_CPU else None
                seen.reason = "it waits" if wall > 4 * cpu and wall > LEAST_CPU else "its calls are short"
            elif cpu < 0.25 * wall and seen.waits and seen.held < HOLDS * seen.looks:
                seen.place, seen.reason = "threads", f"it waits for {1 - cpu / wall:.0%} of its time"
            elif processes >= max(threads, cpu if _cost.HAS_GIL else 0.0):  # however long it holds the GIL
                seen.place, seen.reason = "threads", "processes are not estimated to be sooner"
            elif seen.looks < LEAST_LOOKS:
                seen.reason = "how long it holds the GIL is not known yet"
            elif processes >= threads:
                if seen.looks >= SURE_LOOKS:
                    seen.place, seen.reason = "threads", "it leaves the GIL"
                else:
                    seen.reason = "how long it holds the GIL is not known well yet"
            elif self._pays(seen, cpu, seen.spent):
                seen.place, seen.reason = "processes", "it computes under the GIL"
            else:
                seen.place, seen.reason = None, "it has computed too little to start processes for"
        if seen.place == "processes":
            self._release(seen)

    def _release(self, seen: _Seen) -> None:
        """Send what is queued of this function; what may not be sent goes on waiting for a thread."""
        for call in tuple(self._held):
            if call.seen is not seen or call.here:
                continue
            if seen.place != "processes":
                return
            try:
                self._held.remove(call)
            except (ValueError, IndexError):  # a thread has it
                continue
            if not self._send(call):
                self._hold_again(call)

    def _hold_again(self, call: _Call) -> None:
        """With a token of its own: a thread may have come for it meanwhile, and gone."""
        self._held.append(call)
        try:
            self._threads.submit(self._next)
        except RuntimeError:  # the threads have ended
            self._next()

    # --- processes

    def _send(self, call: _Call) -> bool:
        """Send the call to a process. False: it may not or cannot go there, and has not begun."""
        try:
            return self._could_send(call)
        except Exception as trouble:  # no reason to lose the call
            call.seen.own_error(trouble)
            return call.inner is not None

    def _could_send(self, call: _Call) -> bool:
        seen, began = call.seen, time.thread_time()
        fresh = self._pool is None
        effects = Effects(call.fn)
        effects.items(call.row)
        why = effects.stays(seen.name) or effects.against_processes()
        fixed = is_fixed(call.row)
        if why is None and effects.writes_arguments and not fixed:
            why = "its code may change an argument"
        if why is not None:
            seen.keep_here(why)
            return False
        if (effects.own_state and _identity(effects) not in seen.proved) or not (fixed or seen.compared):
            return False  # it is seen in a thread first what it changes
        with call.gate, self._lock:
            if call.called_off:
                return True
            call.inner = inner = None if self._ended or seen.no_processes else self._sent(call, effects)
        if inner is None:
            return False
        seen.to_processes += 1
        if not fresh:  # else that made the pool
            seen.sends.append(time.thread_time() - began)
        if seen.cpu and seen.send_s > 0.5 * _mean(seen.cpu):
            seen.place, seen.reason = "threads", "sending a call takes half as long as the call"
        inner.add_done_callback(functools.partial(self._came, call))
        return True

    def _sent(self, call: _Call, effects: Effects) -> Any:
        """The worker's future, or None."""
        seen = call.seen
        try:
            pool = self._processes()
            before = _sent_to(pool)
            if effects.wants_check:
                fn: Any = _Checked(call.bound, call.fn, effects, True)
                inner = pool.submit(fn, [call.args])
            else:
                inner = pool.submit(call.fn, *call.args, **call.kwargs)
        except (OSError, RuntimeError) as error:  # no shared memory, no processes to be had
            seen.keep_here(f"processes cannot be had: {error}")
            return None
        if _sent_to(pool) == before:
            said = str(inner.exception()).partition("\n")[0]
            seen.keep_here(f"it, or an argument, cannot be pickled: {said}")
            return None
        call.checked = effects.wants_check
        return inner

    def _processes(self) -> ProcessPoolExecutor:
        now = ambient()
        if self._pool is None or self._pool._broken or self._surroundings != now:
            if self._pool is not None:
                self._pool.shutdown(wait=False)
                self._old.append(self._pool)
            self._pool, self._surroundings = ProcessPoolExecutor(self._workers), now
        return self._pool

    def _came(self, call: _Call, inner: Any) -> None:
        """A worker has done the call, or it was cancelled."""
        if inner.cancelled():
            super(_Call, call).cancel()
            call.set_running_or_notify_cancel()
            return
        error = inner.exception()
        if isinstance(error, WorkerDiffers):
            call.seen.keep_here(f"a worker imports other values: {error}")
            call.inner, call.here = None, True
            self._hold_again(call)
            return
        if not call.set_running_or_notify_cancel():
            return
        if error is not None:
            getattr(error, "__dict__", {}).pop("_allcores_made", None)
            call.over(None, error)
        else:
            call.over(inner.result()[0] if call.checked else inner.result(), None)

    # --- the rest of the interface

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | Literal["auto"] = "auto",
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """allcores.map(): it begins when a result is asked for, and has made all of them when shutdown() returns.

        Args:
            fn: takes as many arguments as there are iterables.
            timeout: seconds from now until TimeoutError.
            chunksize: items that travel to a process together; "auto": by their time.
            buffersize: most items begun whose results were not asked for; with it, shutdown() makes none.
        """
        if self._shut:
            raise RuntimeError("cannot schedule new futures after shutdown")
        source = _auto.map(
            fn, *iterables, timeout=timeout, chunksize=chunksize, max_workers=self._max_workers,
            buffersize="auto" if buffersize is None else buffersize,
        )  # fmt: skip
        run = _Run(source, buffersize is None)
        self._runs = {one for one in self._runs if not one.over} | {run}
        return _Results(run, self._threads)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._shut = True
            runs, self._runs = [one for one in self._runs if not one.over], set()
        if cancel_futures:
            self._cancel(runs)
        if wait:
            self._end(runs)
        elif not self._ended:
            threading.Thread(target=self._end, args=(runs,), name="allcores.AutoExecutor shutdown").start()

    shutdown.__doc__ = _base.Executor.shutdown.__doc__

    def _cancel(self, runs: list[_Run]) -> None:
        for run in runs:
            run.close(CancelledError())
        while self._held:
            try:
                call = self._held.popleft()
            except IndexError:
                break
            if call.cancel():
                call.set_running_or_notify_cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for pool in (*self._old, self._pool):
            if pool is not None:
                pool.shutdown(wait=False, cancel_futures=True)

    def _end(self, runs: list[_Run]) -> None:
        """When the threads are done nothing can be sent any more."""
        for run in runs:
            if run.drains:
                run.drain()
        self._threads.shutdown()
        with self._lock:
            self._ended = True
            pools, self._pool, self._old = [*self._old, self._pool], None, []
        for pool in pools:
            if pool is not None:
                pool.shutdown()

    def explain(self) -> Explained:
        """What was chosen for each function, from which measurements; a dict by its name, and as text."""
        found = Explained()
        with self._lock:
            for seen in self._functions.values():
                name, more = seen.name, 2
                while name in found:
                    name, more = f"{seen.name} ({more})", more + 1
                found[name] = _facts(seen)
        return found


class Explained(dict[str, dict[str, Any]]):
    """By the functions' names; as text what a person reads."""

    def __str__(self) -> str:
        lines: list[str] = []
        for name, facts in self.items():
            lines.append(f"{name}: {facts['backend']} ({facts['reason']})")
            here, there = facts["calls"] - facts["in_processes"], facts["in_processes"]
            lines.append(f"  {facts['calls']} calls: {here} in threads, {there} in processes")
            measured = facts["measured"]
            if measured["item_s"] is not None:
                share = measured["gil_share"]
                lines.append(
                    f"  a call: {1e3 * measured['item_s']:.3g} ms, {1e3 * measured['cpu_s']:.3g} ms of CPU"
                    + (f", the GIL held for {share:.0%}" if share is not None else "")
                )
            if facts["estimates_s"]:
                costs = (f"{where} {1e3 * cost:.3g} ms" for where, cost in facts["estimates_s"].items())
                lines.append("  of many calls one would take: " + ", ".join(costs))
        return "\n".join(lines) or "no call was submitted yet"


def _facts(seen: _Seen) -> dict[str, Any]:
    return {
        "backend": seen.place or "threads",
        "reason": seen.reason,
        "no_processes": seen.no_processes,
        "calls": seen.submitted,
        "in_processes": seen.to_processes,
        "measured": {
            "item_s": _mean(seen.walls) if seen.walls else None,
            "cpu_s": _mean(seen.cpu),
            "gil_share": seen.held / seen.looks if seen.looks >= LEAST_LOOKS else None,
            "bytes": seen.bytes,
        },
        "estimates_s": dict(seen.costs),
    }


def _mean(values: deque[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _sent_to(pool: ProcessPoolExecutor) -> int:
    """Calls that went to its workers so far; not those that could not be pickled."""
    return 0 if pool._engine is None else pool._engine.stats()["submitted"]


def _identity(effects: Effects) -> tuple[int, ...]:
    """Of the state that it reaches."""
    return tuple(id(thing) for _, thing in effects.own_state)


def _key_of(fn: Any) -> Hashable:
    """What a function's measurements are kept under: its code, so that they are lost when it is defined anew."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if isinstance(fn, MethodType):
        fn = fn.__func__
    if isinstance(fn, FunctionType):
        return fn.__code__
    if isinstance(fn, BuiltinFunctionType):
        owner = fn.__self__
        return fn if isinstance(owner, ModuleType | type | None) else (type(owner), fn.__name__)
    return fn if isinstance(fn, type) else type(fn)
