"""The interface of concurrent.futures, and what map and stats add."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import multiprocessing
import operator
import os
import sys
import threading
import time
import unittest
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from allcores import Future, ProcessPoolExecutor
from common import Case, wait_until


def fail(kind: type[BaseException], *args: object) -> None:
    raise kind(*args)


def nap(seconds: float, value: object = None) -> object:
    time.sleep(seconds)
    return value


def slow_pid(_: int) -> int:
    time.sleep(0.005)
    return os.getpid()


def keep_shared(*things: Any) -> None:
    sys.shared = things  # type: ignore[attr-defined]


def count_up(_: int) -> None:
    lock, value, _ = sys.shared  # type: ignore[attr-defined]
    with lock:
        value.value += 1


def send_back(text: str) -> None:
    sys.shared[2].put(text)  # type: ignore[attr-defined]


def send_on(connection: Any, text: str) -> None:
    connection.send(text)
    connection.close()


class SlowToPickle:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __reduce__(self) -> Any:
        time.sleep(self.seconds)
        return SlowToPickle, (0,)


class SlowToUnpickle(SlowToPickle):
    def __reduce__(self) -> Any:
        return nap, (self.seconds, 1)


class CannotUnpickle(Exception):
    def __init__(self, a: object, b: object) -> None:
        super().__init__(a)


class NoLongerOne(Exception):
    def __reduce__(self) -> Any:
        return int, ("no number",)


class CannotPickle(Exception):
    def __init__(self) -> None:
        super().__init__("here")
        self.lock = threading.Lock()


class Submit(Case):
    def setUp(self) -> None:
        super().setUp()
        self.pool = ProcessPoolExecutor(2)
        self.addCleanup(self.pool.shutdown)

    def test_values_of_every_kind_come_back_equal(self) -> None:
        values = [0, -1, 2**63, 2**200, 1.5, float("inf"), "", "é\ud800", b"", b"x" * 100_000, None, True, False,
                  (1, (2, [3, {"a": {4}}])), {"k": [1, 2]}, [], 3j, Ellipsis, NotImplemented, int, len, range(5),
                  bytearray(b"x" * 50_000), frozenset({1})]  # fmt: skip
        for value in values:
            back = self.pool.submit(operator.itemgetter(0), (value,)).result()
            self.assertEqual(back, value)
            self.assertIs(type(back), type(value))

    def test_aliases_and_cycles_of_one_task_survive(self) -> None:
        shared: list[object] = [1]
        a, b = self.pool.submit(operator.itemgetter(0, 1), [shared, shared]).result()
        self.assertIs(a, b)
        shared.append(shared)
        back = self.pool.submit(operator.itemgetter(0), [shared]).result()
        self.assertIs(back[1], back)

    def test_keyword_arguments(self) -> None:
        self.assertEqual(self.pool.submit(dict, a=1, b=[2]).result(), {"a": 1, "b": [2]})
        self.assertEqual(self.pool.submit(int, "ff", base=16).result(), 255)

    def test_what_multiprocessing_knows_to_pickle(self) -> None:
        ours, theirs = multiprocessing.Pipe()
        self.pool.submit(send_on, theirs, "hello").result()
        self.assertEqual(ours.recv(), "hello")

    def test_an_exception_carries_the_workers_traceback(self) -> None:
        with self.assertRaisesRegex(ValueError, "deep down") as caught:
            self.pool.submit(fail, ValueError, "deep down").result()
        self.assertIn("in fail", str(caught.exception.__cause__))

    def test_exceptions_that_do_not_travel(self) -> None:
        with self.assertRaises(CannotUnpickle) as raised:  # without a second call of its __init__
            self.pool.submit(fail, CannotUnpickle, 1, 2).result()
        self.assertEqual(raised.exception.args, (1,))
        with self.assertRaisesRegex(RuntimeError, "NoLongerOne"):
            self.pool.submit(fail, NoLongerOne).result()
        with self.assertRaisesRegex(Exception, "CannotPickle: here"):
            self.pool.submit(fail, CannotPickle).result()
        self.assertEqual(self.pool.submit(abs, -1).result(), 1)

    def test_what_cannot_be_pickled_fails_its_future_only(self) -> None:
        future = self.pool.submit(abs, threading.Lock())
        with self.assertRaisesRegex(TypeError, "pickle"):
            future.result()
        with self.assertRaisesRegex(TypeError, "pickle"):
            self.pool.submit(threading.Lock).result()
        self.assertEqual(self.pool.submit(abs, -1).result(), 1)

    def test_base_exceptions_of_a_task_are_the_futures(self) -> None:
        for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):
            with self.assertRaises(kind):
                self.pool.submit(fail, kind, 3).result()
        self.assertEqual(self.pool.submit(abs, -1).result(), 1)

    def test_timeout_and_cancel(self) -> None:
        running = [self.pool.submit(nap, 0.5) for _ in range(2)]
        queued = self.pool.submit(abs, -1)
        with self.assertRaises(TimeoutError):
            running[0].result(timeout=0.01)
        wait_until(lambda: all(one.running() for one in running))
        self.assertFalse(running[0].cancel())
        self.assertTrue(queued.cancel())
        self.assertTrue(queued.cancelled())
        with self.assertRaises(cf.CancelledError):
            queued.result()

    def test_wait_as_completed_and_callbacks(self) -> None:
        futures = [self.pool.submit(nap, 0.02 * (i % 3), i) for i in range(12)]
        self.assertTrue(all(isinstance(one, cf.Future) and isinstance(one, Future) for one in futures))
        called: list[object] = []
        futures[3].add_done_callback(lambda one: called.append(one.result()))
        self.assertEqual({one.result() for one in cf.as_completed(futures, timeout=20)}, set(range(12)))
        done, pending = cf.wait(futures, timeout=20)
        self.assertEqual((len(done), len(pending)), (12, 0))
        wait_until(lambda: called == [3])
        futures[3].add_done_callback(lambda one: called.append("late"))
        self.assertEqual(called, [3, "late"])

    def test_asyncio(self) -> None:
        async def main() -> list[int]:
            loop = asyncio.get_running_loop()
            return list(await asyncio.gather(*(loop.run_in_executor(self.pool, abs, -i) for i in range(500))))

        self.assertEqual(asyncio.run(main()), list(range(500)))

    def test_futures_from_many_threads(self) -> None:
        sums: list[int] = []

        def use() -> None:
            sums.append(sum(one.result() for one in [self.pool.submit(abs, -i) for i in range(300)]))

        threads = [threading.Thread(target=use) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(sums, [sum(range(300))] * 8)

    def test_after_shutdown(self) -> None:
        future = self.pool.submit(nap, 0.1, 5)
        self.pool.shutdown(wait=False)
        with self.assertRaisesRegex(RuntimeError, "after shutdown"):
            self.pool.submit(abs, 1)
        self.assertEqual(future.result(), 5)

    def test_stats(self) -> None:
        for future in [self.pool.submit(nap, 0.01) for _ in range(4)]:
            future.result()
        stats = self.pool.stats()
        self.assertEqual((stats["submitted"], stats["done"]), (4, 4))
        self.assertGreaterEqual(stats["run_ns"], 40_000_000)

    def test_stats_say_what_dominated(self) -> None:
        with ProcessPoolExecutor(1) as pool:
            self.assertIsNone(pool.stats()["dominant"])
            pool.submit(nap, 0.3).result()
            self.assertEqual(pool.stats()["dominant"], "run")
            self.assertLess(pool.stats()["pickle_ns"], 300_000_000)
            for slow in (SlowToPickle(0.3), SlowToUnpickle(0.3)):
                pool.submit(id, slow).result()
            self.assertGreaterEqual(pool.stats()["pickle_ns"], 600_000_000)
            self.assertEqual(pool.stats()["dominant"], "pickle")
            future = pool.submit(nap, 0.01)
            time.sleep(1.5)
            future.result()
            self.assertEqual(pool.stats()["dominant"], "return")


class Map(Case):
    def setUp(self) -> None:
        super().setUp()
        self.pool = ProcessPoolExecutor(2)
        self.addCleanup(self.pool.shutdown)

    def test_like_the_builtin(self) -> None:
        self.assertEqual(list(self.pool.map(pow, range(1000), [2] * 1000)), [i * i for i in range(1000)])
        self.assertEqual(list(self.pool.map(max, "abc", "bca", "cab")), list(map(max, "abc", "bca", "cab")))
        self.assertEqual(list(self.pool.map(abs, [])), [])
        self.assertEqual(list(self.pool.map(pow, [2, 3], [1])), [2])
        for chunk in (1, 7, 5000):
            self.assertEqual(
                list(self.pool.map(str, range(100), chunksize=chunk)), list(map(str, range(100)))
            )

    def test_its_length_is_known(self) -> None:
        results = self.pool.map(abs, range(10))
        self.assertEqual(operator.length_hint(results), 10)
        next(results)
        self.assertEqual(operator.length_hint(results), 9)

    def test_an_error_comes_where_it_stands(self) -> None:
        results = self.pool.map(operator.truediv, [1] * 6, [1, 2, 0, 4, 5, 6])
        self.assertEqual([next(results), next(results)], [1, 0.5])
        with self.assertRaises(ZeroDivisionError):
            next(results)

    def test_timeout(self) -> None:
        with self.assertRaises(TimeoutError):
            list(self.pool.map(nap, [0.8, 0.8], timeout=0.05))

    def test_buffersize_reads_lazily(self) -> None:
        taken: list[int] = []

        def endless() -> object:
            i = 0
            while True:
                taken.append(i)
                yield i
                i += 1

        results = self.pool.map(abs, endless(), buffersize=8)  # type: ignore[arg-type]
        self.assertEqual([next(results) for _ in range(20)], list(range(20)))
        self.assertLessEqual(len(taken), 29)

    def test_chunks_are_spread(self) -> None:
        pids = set(self.pool.map(slow_pid, range(100)))
        self.assertEqual(len(pids), 2)

    def test_progress_counts(self) -> None:
        done = self.run_script(
            "import sys; sys.modules['tqdm'] = None; sys.modules['tqdm.auto'] = None\n"
            "from allcores import ProcessPoolExecutor\n"
            "with ProcessPoolExecutor(2) as pool: print(sum(pool.map(abs, range(100), progress=True)))\n"
        )
        self.assertEqual(done.stdout, "4950\n")
        self.assertIn("100/100 items", done.stderr)

    def test_bad_arguments(self) -> None:
        for bad in (0, -1):
            with self.assertRaisesRegex(ValueError, "chunksize"):
                self.pool.map(abs, [1], chunksize=bad)
            with self.assertRaisesRegex(ValueError, "buffersize"):
                self.pool.map(abs, [1], buffersize=bad)


class Pool(Case):
    def test_bad_arguments(self) -> None:
        for bad in (0, -1):
            with self.assertRaisesRegex(ValueError, "max_workers"):
                ProcessPoolExecutor(bad)
        with self.assertRaisesRegex(TypeError, "initializer"):
            ProcessPoolExecutor(1, initializer=3)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "on_crash"):
            ProcessPoolExecutor(1, on_crash="never")  # type: ignore[arg-type]

    def test_the_default_is_the_usable_cpus(self) -> None:
        with ProcessPoolExecutor() as pool:
            self.assertLessEqual(pool._max_workers, len(os.sched_getaffinity(0)))

    def test_initializer(self) -> None:
        with ProcessPoolExecutor(1, initializer=sys.setrecursionlimit, initargs=(4321,)) as pool:
            self.assertEqual(pool.submit(sys.getrecursionlimit).result(), 4321)
        pool = ProcessPoolExecutor(1, initializer=fail, initargs=(ValueError, "no"))
        with self.assertRaisesRegex(BrokenProcessPool, "initializer"):
            pool.submit(abs, 1).result()
        pool.shutdown()

    def test_shared_things_of_the_default_context_reach_the_workers(self) -> None:
        things: tuple[Any, ...] = (
            multiprocessing.Lock(),
            multiprocessing.Value("i", 0),
            multiprocessing.Queue(),
        )
        with ProcessPoolExecutor(2, initializer=keep_shared, initargs=things) as pool:
            list(pool.map(count_up, range(200)))
            pool.submit(send_back, "here").result()
        self.assertEqual(things[1].value, 200)
        self.assertEqual(things[2].get(timeout=10), "here")

    def test_max_tasks_per_child(self) -> None:
        with ProcessPoolExecutor(1, max_tasks_per_child=3) as pool:
            pids = [pool.submit(os.getpid).result() for _ in range(9)]
        self.assertEqual([pids.count(pid) for pid in dict.fromkeys(pids)], [3, 3, 3])

    def test_nested(self) -> None:
        def inner(n: int) -> int:
            with ProcessPoolExecutor(2) as pool:
                return sum(pool.map(abs, range(n)))

        with ProcessPoolExecutor(2) as pool:
            self.assertEqual(list(pool.map(inner, [10, 20, 30])), [45, 190, 435])

    def test_no_worker_is_left(self) -> None:
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(abs, range(10), chunksize=1))
            pids = list(pool._processes or ())
        self.assertEqual(len(pids), 2)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))

    def test_kill_and_terminate_workers(self) -> None:
        for method in ("kill_workers", "terminate_workers"):
            pool = ProcessPoolExecutor(2)
            futures = [pool.submit(nap, 60) for _ in range(4)]
            wait_until(lambda: sum(one.running() for one in futures) == 2)
            getattr(pool, method)()
            for future in futures:
                with self.assertRaises((BrokenProcessPool, cf.CancelledError)):
                    future.result(timeout=20)


if __name__ == "__main__":
    unittest.main()
