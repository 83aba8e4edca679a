"""ProcessPoolExecutor: the standard one's interface over the C engine.

What is done for each task is C (src/ext); here is what is done for each pool.
"""

from __future__ import annotations

import os
import sys
import threading
from _weakref import ref
from itertools import islice

from allcores import _ext, _spawn
from allcores._late import join
from allcores._outcomes import Outcomes
from allcores._state import PoolState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor
    from concurrent.futures import Future as BaseFuture
    from typing import Any, Literal, TypeVar

    from allcores._manager import Manager

    T = TypeVar("T")

    class _FutureBase(_ext.FutureCore[T], BaseFuture[T]):
        pass

    class _ExecutorBase(_ext.ExecutorCore, Executor):
        pass
else:
    _FutureBase = _ext.FutureCore
    _ExecutorBase = _ext.ExecutorCore

MOST_OF_RANGE = 1 << 32
GRACE = 0.3  # seconds that running tasks get after Ctrl-C


def _inherited(name: str) -> Any:
    """A method of concurrent.futures.Future, which is imported when it is called."""

    def method(self: Any, *args: Any) -> Any:
        from concurrent.futures import _base

        return getattr(_base.Future, name)(self, *args)

    method.__name__ = name
    return method


class Future(_FutureBase["Any"] if TYPE_CHECKING else _FutureBase):  # type: ignore[misc]
    """A concurrent.futures.Future whose result stands in shared memory until it is asked for."""

    if not TYPE_CHECKING:
        for _name in (
            "set_result",
            "set_exception",
            "set_running_or_notify_cancel",
            "_invoke_callbacks",
            "__repr__",
        ):
            locals()[_name] = _inherited(_name)
        del _name

        def __class_getitem__(cls, item):
            from types import GenericAlias

            return GenericAlias(cls, item)

    def _callback_failed(self, callback: object) -> None:
        from concurrent.futures import _base

        _base.LOGGER.exception("exception calling callback for %r", self)


class ProcessPoolExecutor(_ExecutorBase):
    """Runs calls in worker processes; concurrent.futures.ProcessPoolExecutor with a C engine.

    Args:
        max_workers: most worker processes; default: the usable CPUs (affinity and cgroup quota). They are
            started as tasks come in.
        mp_context: a multiprocessing context. One of "fork" forks this process at the first task; any other, and
            none, gives workers from a clean interpreter that needs no ``__main__`` guard.
        initializer: called with *initargs in each worker before its first task. If it raises, the pool is broken.
        initargs: its arguments.
        max_tasks_per_child: tasks after which a worker is replaced; not with "fork".
        on_crash: "task": a worker that dies fails only the task that it ran, with WorkerDied. "break": it breaks
            the pool, as the standard one does.

    Raises:
        ValueError, TypeError: for bad arguments, as the standard executor.
        RuntimeError: where sys.executable is not a Python that could be started.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        max_tasks_per_child: int | None = None,
        on_crash: Literal["task", "break"] = "task",
    ) -> None:
        if max_workers is None:
            max_workers = _ext.usable_cpus()
        elif max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if on_crash not in ("task", "break"):
            raise ValueError('on_crash must be "task" or "break"')
        self._max_workers = max_workers
        self._context = mp_context
        self._fork = mp_context is not None and mp_context.get_start_method(allow_none=False) == "fork"
        _check_max_tasks(max_tasks_per_child, self._fork)
        self._max_tasks_per_child = max_tasks_per_child
        self._initializer = initializer
        self._initargs = initargs
        self._state = PoolState(strict=on_crash == "break")
        self._shutdown_lock = threading.Lock()
        self._executor_manager_thread: Manager | None = None
        _refuse_while_main_loads()
        if not self._fork:
            _spawn.zygote()  # comes up while the caller goes on

    # --- what others look at

    @property
    def _mp_context(self) -> Any:
        if self._context is None:
            import multiprocessing

            self._context = multiprocessing.get_context("spawn" if self._max_tasks_per_child else None)
        return self._context

    @property
    def _broken(self) -> str | bool:
        return self._state.broken

    @property
    def _processes(self) -> dict[int, Any] | None:
        """Worker processes by pid; waits until those that were asked for have been started."""
        from allcores._process import WorkerProcess

        if self._state.shut:
            return None
        if self._engine is None:
            return {}
        known, shown = self._state.forked, self._state.processes
        return {
            pid: known.get(pid) or shown.setdefault(pid, WorkerProcess(pid, self._state))
            for _, pid, _, _, _ in self._started_workers(self._engine)
        }

    def _started_workers(self, engine: _ext.Engine) -> list[tuple[int, int, bool, bool, int]]:
        """The engine's workers once all that were asked for have been started."""
        import time

        until = time.monotonic() + 10
        while len(workers := engine.workers()) < self._started and time.monotonic() < until:
            if self._state.broken or self._state.shut:
                break
            time.sleep(0.0005)
        return workers

    def stats(self) -> dict[str, Any]:
        """Counts of this pool so far, and what its finished tasks spent their time on, in nanoseconds.

        ``queue_ns``: submitted, no worker had begun. ``pickle_ns``: pickling, unpickling and copying, on both sides
        (of what needs it: plain numbers and strings do not). ``run_ns``: the calls. ``return_ns``: done, nobody had
        asked for the result. ``dominant``: the largest of the four, "queue", "pickle", "run" or "return"; None
        before the first task is over. ``segment_bytes``, ``bytes_in``, ``bytes_out``: shared memory, payloads.
        """
        counts: dict[str, Any] = {} if self._engine is None else self._engine.stats()
        times = {key[:-3]: value for key, value in counts.items() if key.endswith("_ns")}
        counts["dominant"] = max(times, key=lambda name: times[name]) if any(times.values()) else None
        return counts

    # --- called by the C side

    def _begin(self) -> None:
        """Make the engine, at the first task. Raises RuntimeError after shutdown."""
        from allcores._functions import Functions
        from allcores._manager import Manager

        with self._shutdown_lock:
            if self._state.shut:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._engine is not None:
                return
            _refuse_at_exit()
            engine, reach = self._make_engine()
            self._state.engine = engine
            functions = Functions(engine, reach, self._state)
            self._function_keys = functions
            self._functions = functions.fixed
            fork = self._forker(engine) if self._fork else None
            manager = Manager(self, engine, self._state, fork, lambda ended: _live.pop(ended, None))
            _live[manager] = ref(self), self._state
            manager.start()
            self._executor_manager_thread = manager
            if self._fork:
                engine.start(self._max_workers)
                self._started = self._max_workers
                self._started_workers(
                    engine
                )  # the caller holds no lock now that they would copy; later it may
            self._engine = engine

    def _make_engine(self) -> tuple[_ext.Engine, Any]:
        from allcores import _config
        from allcores._reach import Reach

        if not self._fork:
            reach = Reach(False)
            try:
                initializer, fds = _config.pickled_initializer(self._initializer, self._initargs, reach)
            except _config.OnlyByFork as error:
                if self._context is not None or self._max_tasks_per_child is not None:
                    raise error.reason from None
                self._fork = True
        if self._fork:
            reach = Reach(True)
            return _ext.Engine(None, Future, Outcomes(self._state), reach, ()), reach
        self._state.fds = fds
        self._state.main = _config.main_module()
        zygote = _spawn.zygote()
        engine = _ext.Engine(zygote.handle, Future, Outcomes(self._state), reach, fds)
        most = self._max_tasks_per_child or 0
        config = _config.make(most, self._max_workers, initializer, self._state.main, zygote.environ)
        engine.share(_ext.CONFIG, config)
        engine.start(1)  # it comes up while the rest is made here
        self._started = 1
        return engine, reach

    def _forker(self, engine: _ext.Engine) -> Callable[[], Any]:
        from allcores import _config, _worker

        context = self._mp_context
        args = (engine, self._initializer, self._initargs, _config.thread_cap(self._max_workers))

        def fork() -> Any:
            process = context.Process(target=_worker.forked, args=args)
            process.start()
            return process

        return fork

    def _share(self, fn: Any) -> int:
        return self._function_keys.key(fn)

    # --- the executor's interface

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | Literal["auto"] = "auto",
        buffersize: int | None = None,
        progress: bool = False,
    ) -> Iterator[T]:
        """Like map(fn, *iterables), in the workers; results in order.

        Args:
            fn: takes as many arguments as there are iterables.
            timeout: seconds from now until TimeoutError.
            chunksize: calls that travel together; "auto" takes large chunks first and single calls at the end.
            buffersize: most calls submitted whose results were not asked for yet; the iterables are then read
                lazily. None submits everything at once.
            progress: show on stderr how many items are done, by tqdm if it is there.

        Raises, from the iterator: what a call raised, TimeoutError, WorkerDied.
        """
        if chunksize != "auto" and chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        chunk = 0 if chunksize == "auto" else chunksize
        results: Iterator[T]
        if buffersize is None:
            rows: Any = iterables[0] if len(iterables) == 1 else zip(*iterables, strict=False)
            if type(rows) is not range or len(rows) > MOST_OF_RANGE:  # of a range only the ends are sent
                rows = list(rows)
            results = self._map(fn, rows, len(iterables), chunk, timeout)
        else:
            results = self._lazy_map(fn, iterables, chunk or 1, buffersize, timeout)
        if progress:
            from allcores import _progress

            return _progress.shown(results)
        return results

    def _lazy_map(
        self,
        fn: Callable[..., T],
        iterables: tuple[Iterable[Any], ...],
        chunk: int,
        ahead: int,
        timeout: float | None,
    ) -> Iterator[T]:
        import time

        end = None if timeout is None else time.monotonic() + timeout
        source = iter(iterables[0]) if len(iterables) == 1 else zip(*iterables, strict=False)
        executor = ref(self)

        def send() -> Any:
            pool = executor()
            rows = list(islice(source, chunk)) if pool is not None else []
            left = None if end is None else end - time.monotonic()
            return pool._map(fn, rows, len(iterables), chunk, left) if pool is not None and rows else None

        from collections import deque

        sent = deque(part for part in (send() for _ in range(ahead)) if part is not None)

        def results() -> Iterator[T]:
            try:
                while sent:
                    if (more := send()) is not None:
                        sent.append(more)
                    yield from sent.popleft()
            finally:
                for part in sent:
                    part.close()

        return results()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks; with wait, return when all are done and the workers gone.

        Args:
            wait: wait for the tasks and the workers.
            cancel_futures: cancel the tasks that no worker has taken yet.
        """
        with self._shutdown_lock:
            self._state.shut = True
            engine, manager = self._engine, self._executor_manager_thread
            if engine is not None:
                if cancel_futures:
                    engine.cancel_queued(False)
                engine.shutdown()
                engine.wake()
        if manager is not None and wait and manager is not threading.current_thread():
            manager.join()
            self._executor_manager_thread = None

    def terminate_workers(self) -> None:
        """Cancel what waits, end the workers by SIGTERM, and shut down without waiting."""
        self._force_shutdown(operation="terminate")

    def kill_workers(self) -> None:
        """Cancel what waits, end the workers by SIGKILL, and shut down without waiting."""
        self._force_shutdown(operation="kill")

    def _force_shutdown(self, operation: str) -> None:
        if operation not in ("terminate", "kill"):
            raise ValueError(f'operation must be "terminate" or "kill", not {operation!r}')
        processes = dict(self._processes or {})
        self._force_shutting_down = True
        self.shutdown(wait=False, cancel_futures=True)
        for process in processes.values():
            try:
                if process.is_alive():
                    getattr(process, operation)()
            except (ProcessLookupError, ValueError):  # it has ended by itself
                pass

    @property
    def _force_shutting_down(self) -> bool:
        return bool(self._state.no_replacement)

    @_force_shutting_down.setter
    def _force_shutting_down(self, value: bool) -> None:
        if value:
            self._state.replace_no_worker("the pool was forcefully shut down")

    def __enter__(self) -> ProcessPoolExecutor:
        return self

    def __exit__(self, kind: Any, value: Any, traceback: Any) -> Literal[False]:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            interrupt(self._state)
        self.shutdown(wait=True)
        return False


def _check_max_tasks(most: int | None, fork: bool) -> None:
    if most is None:
        return
    if not isinstance(most, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if most <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    if fork:
        raise ValueError(
            "max_tasks_per_child is incompatible with the 'fork' multiprocessing start method; supply a different "
            "mp_context."
        )


def interrupt(state: PoolState) -> None:
    """Ctrl-C: what waits is cancelled, what runs has had its own SIGINT and gets GRACE seconds."""
    engine = state.engine
    state.shut = True
    if engine is None:
        return
    engine.cancel_queued(True)
    engine.shutdown()
    engine.wake()
    if not engine.join(GRACE):
        engine.kill(-1, 9)


# --- the end of the interpreter: pools that are still there finish what they have, as the standard ones do

_live: dict[Manager, tuple[Any, PoolState]] = {}
_exiting = False


def _refuse_while_main_loads() -> None:
    worker = sys.modules.get("allcores._worker")
    if worker is not None and worker.loading_main:
        raise RuntimeError(
            "a worker runs the main module to find a function that cannot be sent by value, and the module starts a "
            'pool as it is run: put that under if __name__ == "__main__":'
        )


def _refuse_at_exit() -> None:
    if _exiting:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


def _at_exit() -> None:
    global _exiting
    _exiting = True
    interrupted = issubclass(getattr(sys, "last_type", None) or Exception, KeyboardInterrupt)
    managers = list(_live.items())
    for _, (_, state) in managers:
        if interrupted:
            interrupt(state)
        state.shut = True
        if (engine := state.engine) is not None:
            engine.shutdown()
            engine.wake()
    for manager, _ in managers:
        manager.join()


def _in_child() -> None:
    """Pools are the parent's; a child forked by the user must not wait for their threads."""
    _live.clear()


# threading's hook is the only one that runs before the interpreter waits for its threads.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_in_child)
join(Future, "Future")
join(ProcessPoolExecutor, "Executor")
