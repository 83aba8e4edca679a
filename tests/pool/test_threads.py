"""ThreadPoolExecutor, beyond what CPython's own cases (tests/test_cpython.py) ask."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import unittest
from collections.abc import Iterator

import allcores


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


if __name__ == "__main__":
    unittest.main()
