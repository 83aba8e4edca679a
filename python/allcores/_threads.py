"""ThreadPoolExecutor: concurrent.futures' own, with the queue and the futures in C (src/ext/threads.c)."""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import _base
from concurrent.futures.thread import BrokenThreadPool
from typing import Any, Literal, TypeVar

from allcores._executor import Future
from allcores._ext import Tasks, usable_cpus

T = TypeVar("T")
MOST_AUTO = 64  # threads of an "auto" pool: nobody's service should meet hundreds of connections unasked

_exiting = False
_lock = threading.Lock()  # as the standard one's: no thread starts while the interpreter goes down
_threads: weakref.WeakKeyDictionary[threading.Thread, Tasks] = weakref.WeakKeyDictionary()
_names = itertools.count()


def _at_exit() -> None:
    global _exiting
    with _lock:
        _exiting = True
        running = list(_threads.items())
    for _, tasks in running:
        tasks.refuse = RuntimeError("cannot schedule new futures after interpreter shutdown")
        tasks.close()
    for thread, _ in running:
        thread.join()


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(
    before=_lock.acquire,
    after_in_child=_lock._at_fork_reinit,  # type: ignore[attr-defined]
    after_in_parent=_lock.release,
)
os.register_at_fork(after_in_child=lambda: _threads.clear())


def _work(
    owner: weakref.ref[ThreadPoolExecutor],
    tasks: Tasks,
    initializer: Callable[..., object] | None,
    initargs: tuple[Any, ...],
) -> None:
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException:
            _base.LOGGER.critical("Exception in initializer:", exc_info=True)
            executor = owner()
            if executor is not None:
                executor._initializer_failed()
            return
    tasks.run()


def _govern(owner: weakref.ref[ThreadPoolExecutor], tasks: Tasks) -> None:
    def start() -> bool:
        executor = owner()
        return executor is not None and executor._start_another()

    tasks.govern(start)


def _default_workers() -> int:
    count = getattr(os, "process_cpu_count", os.cpu_count)  # 3.13 counts those that we may use
    return min(32, (count() or 1) + 4)


class ThreadPoolExecutor(_base.Executor):
    """Runs calls in threads of this process; concurrent.futures.ThreadPoolExecutor with a C queue.

    Args:
        max_workers: most threads; default: as the standard library of this Python has it. They are started
            as calls come in and none is idle. "auto": at first as many as usable CPUs; then, while calls are
            queued, as many as keep the CPUs or the GIL busy, up to 64.
        thread_name_prefix: of the threads' names.
        initializer: called with *initargs in each thread before its first call. If it raises, the pool is broken.
        initargs: its arguments.
    """

    def __init__(
        self,
        max_workers: int | Literal["auto"] | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        least = usable_cpus() if max_workers == "auto" else 0
        if max_workers == "auto":
            max_workers = max(MOST_AUTO, least)
        elif max_workers is None:
            max_workers = _default_workers()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._max_workers = max_workers
        self._broken: str | bool = False
        self._thread_name_prefix = thread_name_prefix or f"ThreadPoolExecutor-{next(_names)}"
        self._initializer, self._initargs = initializer, initargs
        self._threads: set[threading.Thread] = set()
        self._shutdown_lock = threading.Lock()
        self._started_all = False
        self._least = least or max_workers  # threads that are started for each call that finds none idle
        self._governor: threading.Thread | None = None
        self._tasks = tasks = Tasks(Future, least)
        self._self = weakref.ref(self, lambda _: tasks.close())

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Any:
        if self._started_all and not _exiting:
            return self._tasks.submit(fn, *args, **kwargs)
        with self._shutdown_lock, _lock:
            if _exiting and self._tasks.refuse is None:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            idle = self._tasks.idle
            future = self._tasks.submit(fn, *args, **kwargs)
            if len(self._threads) >= self._least:
                self._started_all = True
                self._govern()
            elif not idle:
                self._start_thread()
            return future

    submit.__doc__ = _base.Executor.submit.__doc__

    def _start_thread(self) -> None:
        thread = threading.Thread(
            name=f"{self._thread_name_prefix}_{len(self._threads)}",
            target=_work,
            args=(self._self, self._tasks, self._initializer, self._initargs),
        )
        thread.start()
        self._threads.add(thread)
        _threads[thread] = self._tasks

    def _govern(self) -> None:
        """Of an auto pool: have the number of threads follow the calls, from here on."""
        if self._governor is not None or self._least >= self._max_workers:
            return
        self._governor = threading.Thread(
            name=f"{self._thread_name_prefix}_governor", target=_govern, args=(self._self, self._tasks)
        )
        self._governor.start()
        _threads[self._governor] = self._tasks

    def _start_another(self) -> bool:
        with self._shutdown_lock, _lock:
            if _exiting or self._broken or len(self._threads) >= self._max_workers:
                return False
            self._start_thread()
            return True

    def _initializer_failed(self) -> None:
        text = "A thread initializer failed, the thread pool is not usable anymore"
        with self._shutdown_lock:
            self._broken = text
            self._tasks.refuse = BrokenThreadPool(text)
            for future in self._tasks.drain():
                future.set_exception(BrokenThreadPool(text))

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Like map(fn, *iterables), in the threads and in order; `buffersize`: results not yet taken, at most."""
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end = None if timeout is None else timeout + time.monotonic()
        rows = zip(*iterables)  # noqa: B905 - as map
        submit = self.submit
        futures = deque(submit(fn, *row) for row in itertools.islice(rows, buffersize))
        again = rows if buffersize is not None else iter(())
        return _results(futures, weakref.ref(self), fn, again, end)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._shutdown_lock:
            if self._tasks.refuse is None:
                self._tasks.refuse = RuntimeError("cannot schedule new futures after shutdown")
            if cancel_futures:
                for future in self._tasks.drain():
                    future.cancel()
            self._tasks.close()
        if wait and self._governor is not None:
            self._governor.join()  # no more threads are started from here on
        if wait:
            for thread in self._threads:
                thread.join()

    shutdown.__doc__ = _base.Executor.shutdown.__doc__


def _results(
    futures: deque[Any],
    owner: weakref.ref[ThreadPoolExecutor],
    fn: Callable[..., T],
    rows: Iterator[tuple[Any, ...]],
    end: float | None,
) -> Iterator[T]:
    try:
        while futures:
            executor = owner()
            if executor is not None and (row := next(rows, None)) is not None:
                futures.append(executor.submit(fn, *row))
            del executor
            left = None if end is None else end - time.monotonic()
            yield _base._result_or_cancel(futures.popleft(), left)  # type: ignore[attr-defined]
    finally:
        for future in futures:
            future.cancel()
