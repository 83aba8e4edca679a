"""ThreadPoolExecutor, beyond what CPython's own cases (tests/test_cpython.py) ask."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import hashlib
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable, Iterator

import allcores
from allcores import _ext


class Threads(unittest.TestCase):
    def test_task_that_blocks_holds_up_no_other(self) -> None:
        gate = threading.Event()
        with allcores.ThreadPoolExecutor(2) as pool:
            blocked = pool.submit(gate.wait, 30)
            self.assertEqual([pool.submit(abs, -i).result(30) for i in range(100)], list(range(100)))
            self.assertFalse(blocked.done())
            gate.set()

    def test_several_threads_wait_for_one_future(self) -> None:
        gate, seen = threading.Event(), []
        with allcores.ThreadPoolExecutor(1) as pool:
            future = pool.submit(gate.wait, 30)
            waiting = [threading.Thread(target=lambda: seen.append(future.result(30))) for _ in range(4)]
            for thread in waiting:
                thread.start()
            gate.set()
            for thread in waiting:
                thread.join()
        self.assertEqual(seen, [True] * 4)

    def test_future_that_is_pending_is_cancelled_and_one_that_runs_is_not(self) -> None:
        gate, begun = threading.Event(), threading.Event()
        ran: list[int] = []

        def block() -> None:
            begun.set()
            gate.wait(30)

        with allcores.ThreadPoolExecutor(1) as pool:
            first = pool.submit(block)
            second = pool.submit(ran.append, 1)
            begun.wait(30)
            self.assertEqual((first.cancel(), second.cancel()), (False, True))
            gate.set()
        self.assertEqual(ran, [])
        self.assertRaises(concurrent.futures.CancelledError, second.result)

    def test_result_set_from_outside_stays(self) -> None:
        gate = threading.Event()
        with allcores.ThreadPoolExecutor(1) as pool:
            pool.submit(gate.wait, 30)
            future = pool.submit(abs, -1)
            future.set_result("ours")
            gate.set()
        self.assertEqual(future.result(), "ours")

    def test_buffersize_bounds_what_is_taken(self) -> None:
        taken: list[int] = []

        def read() -> Iterator[int]:
            for i in range(100):
                taken.append(i)
                yield i

        rows = read()
        with allcores.ThreadPoolExecutor(2) as pool:
            results = pool.map(abs, rows, buffersize=3)
            self.assertEqual(len(taken), 3)
            self.assertEqual(list(results), list(range(100)))

    def test_threads_end_with_a_dropped_executor(self) -> None:
        pool = allcores.ThreadPoolExecutor(1)
        pool.submit(abs, 1).result()
        (thread,) = pool._threads
        del pool
        gc.collect()
        thread.join(30)
        self.assertFalse(thread.is_alive())

    def test_asyncio_takes_it(self) -> None:
        async def ask() -> int:
            return await asyncio.get_running_loop().run_in_executor(pool, abs, -3)

        with allcores.ThreadPoolExecutor(1) as pool:
            self.assertEqual(asyncio.run(ask()), 3)


class Gauge:
    """Counts the calls that are in flight."""

    def __init__(self) -> None:
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __call__(self, call: Callable[..., object], *args: object) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        call(*args)
        with self.lock:
            self.now -= 1


def spin(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


class Auto(unittest.TestCase):
    """max_workers="auto": how many threads there are, by what the calls do."""

    def setUp(self) -> None:
        self.gauge = Gauge()
        self.cpus = _ext.usable_cpus()

    def run_all(
        self, pool: allcores.ThreadPoolExecutor, count: int, call: Callable[..., object], *args: object
    ) -> int:
        """Most calls in flight at once in the last half of so many."""
        futures = [pool.submit(self.gauge, call, *args) for _ in range(count)]
        futures[count // 2].result(60)
        self.gauge.most = 0
        for future in futures:
            future.result(60)
        return self.gauge.most

    def test_waits_are_met_by_many_threads(self) -> None:
        with allcores.ThreadPoolExecutor("auto") as pool:
            most = self.run_all(pool, 200, time.sleep, 0.05)
            self.assertGreaterEqual(most, 32)
            self.assertLessEqual(len(pool._threads), max(64, self.cpus))

    def test_bytecode_gets_few(self) -> None:
        with allcores.ThreadPoolExecutor("auto") as pool:
            self.run_all(pool, 300, spin, 0.002)
            self.assertLessEqual(len(pool._threads), self.cpus + 2)

    def test_native_code_gets_the_cpus(self) -> None:
        data = bytes(4_000_000)
        with allcores.ThreadPoolExecutor("auto") as pool:
            self.run_all(pool, 150, hashlib.sha256, data)
            self.assertLessEqual(len(pool._threads), self.cpus + 2)
            self.assertGreaterEqual(len(pool._threads), self.cpus)

    def test_threads_of_waits_do_not_all_compute(self) -> None:
        with allcores.ThreadPoolExecutor("auto") as pool:
            self.run_all(pool, 200, time.sleep, 0.05)
            self.assertGreater(len(pool._threads), 4 * self.cpus)
            self.assertLessEqual(self.run_all(pool, 1500, spin, 0.002), max(8, 2 * self.cpus))

    def test_call_that_waits_for_a_later_one_gets_it(self) -> None:
        gates = [threading.Event() for _ in range(20)]
        with allcores.ThreadPoolExecutor("auto") as pool:
            waiting = [pool.submit(gate.wait, 60) for gate in gates]
            for gate in gates:
                pool.submit(gate.set)
            self.assertEqual([future.result(60) for future in waiting], [True] * 20)

    def test_shutdown_waits_for_what_is_queued(self) -> None:
        pool = allcores.ThreadPoolExecutor("auto")
        futures = [pool.submit(time.sleep, 0.01) for _ in range(300)]
        pool.shutdown()
        self.assertTrue(all(future.done() for future in futures))
        self.assertRaises(RuntimeError, pool.submit, abs, 1)
        self.assertFalse(any(thread.is_alive() for thread in pool._threads))

    def test_few_calls_start_no_more_than_they_need(self) -> None:
        with allcores.ThreadPoolExecutor("auto") as pool:
            self.assertEqual([pool.submit(abs, -i).result() for i in range(1000)], list(range(1000)))
            self.assertLessEqual(len(pool._threads), self.cpus)

    def test_dropped_pool_ends_its_threads(self) -> None:
        pool = allcores.ThreadPoolExecutor("auto")
        for future in [pool.submit(time.sleep, 0.01) for _ in range(50)]:
            future.result()
        threads = [*pool._threads, pool._governor]
        del pool
        gc.collect()
        for thread in threads:
            assert thread is not None
            thread.join(30)
            self.assertFalse(thread.is_alive())

    def test_end_of_the_interpreter(self) -> None:
        script = "import allcores, time\npool = allcores.ThreadPoolExecutor('auto')\n"
        script += "for i in range(100): pool.submit(lambda: (time.sleep(0.01), print('done')))\n"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr, done.stdout.count("done")), (0, "", 100))


if __name__ == "__main__":
    unittest.main()
