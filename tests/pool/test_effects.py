"""allcores.map() of functions that change something: always the loop's answer, and the loop's state behind it.

The functions are in effects_cases.py and effects_more.py. Each is called for enough items, each with some work in it,
that map() would leave the thread; the pure ones beside them do leave it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import unittest
import warnings
from collections.abc import Callable
from typing import Any

import allcores
from allcores import _effects
from common import Case
from effects_cases import LATE, work
from effects_more import CASES, NOT_FOUND, Scaled

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def enough() -> range:
    """Items that take 25 ms, 600 of them at least."""
    began = time.perf_counter()
    for x in range(200):
        work(x)
    return range(min(1900, max(600, int(200 * 0.025 / (time.perf_counter() - began)))))


def begin_at_a_late_item(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: fn(x) if x >= LATE else work(x)


def scaled(one: Any) -> int:
    result: int = one.scaled()
    return result


class Effects(Case):
    def setUp(self) -> None:
        super().setUp()
        self.items = enough()
        keep = warnings.catch_warnings()
        keep.__enter__()
        warnings.simplefilter("ignore", ResourceWarning)  # files that a case leaves open
        self.addCleanup(keep.__exit__, None, None, None)

    def warm(self) -> None:
        """The processes that map() would go to; a case may have changed what they were started with."""
        list(allcores.map(work, range(4), backend="processes", max_workers=max(1, 2 * self.cpus() - 1)))
        list(allcores.map(work, range(4), backend="processes", max_workers=max(1, self.cpus() - 1)))

    @staticmethod
    def cpus() -> int:
        return len(os.sched_getaffinity(0))

    def check_that_it_would_leave(self) -> None:
        moves = []
        for _ in range(10):
            self.warm()
            self.assertEqual(list(allcores.map(work, self.items)), list(map(work, self.items)))
            moves += allcores.explain()["moves"]
        self.assertTrue(moves or not HAS_GIL or self.cpus() < 2, str(allcores.explain()))

    def test_each_gives_the_loops_answer_and_leaves_its_state(self) -> None:
        self.assertGreater(len(CASES), 100)
        self.check_that_it_would_leave()
        only = os.environ.get("ALLCORES_CASES", "")
        for make in [one for one in CASES if only in one.__name__]:
            with self.subTest(case=make.__name__):
                fn, state, *items = make()
                expected, left = repr([fn(x) for x in (*items, self.items)[0]]), repr(state())
                fn, state, *items = make()
                self.warm()
                self.assertEqual(repr(list(allcores.map(fn, (*items, self.items)[0]))), expected)
                self.assertEqual(repr(state()), left, str(allcores.explain()))
        self.check_that_it_would_leave()

    def test_code_that_may_return_what_a_copy_is_not(self) -> None:
        def branches(x: int) -> Any:
            if x:
                return NOT_FOUND
            return x

        def local(x: int) -> Any:
            found = NOT_FOUND
            for one in range(x):
                found = work(one)
            return found

        def none(x: int) -> Any:
            return None if x else Case if x > 1 else work

        for fn in (branches, local, lambda x: NOT_FOUND if x else work(x), lambda x: x or NOT_FOUND):
            self.assertRegex(str(_effects.Effects(fn).against_processes()), "may return NOT_FOUND")
        self.assertIsNone(_effects.Effects(none).against_processes())

    @unittest.skipUnless("ALLCORES_LONG" in os.environ, "long")
    def test_what_begins_late_gives_the_loops_answer_or_an_error(self) -> None:
        """The items before have changed nothing: only the code can tell."""
        refused = 0
        for make in CASES:
            fn, state, *items = make()
            if items:
                continue
            with self.subTest(case=make.__name__):
                call = begin_at_a_late_item(fn)
                expected, left = repr([call(x) for x in self.items]), repr(state())
                fn, state = make()
                self.warm()
                try:
                    got = repr(list(allcores.map(begin_at_a_late_item(fn), self.items)))
                except RuntimeError as error:
                    self.assertRegex(
                        str(error), "^allcores.map: a call changed .*, which earlier calls had not"
                    )
                    refused += 1
                    state()
                else:
                    self.assertEqual(got, expected)
                    self.assertEqual(repr(state()), left, str(allcores.explain()))
        self.assertLess(refused, len(CASES) / 8)

    def test_one_late_change_gives_the_loops_answer_or_an_error(self) -> None:
        """Whether it falls to a worker or to the calling thread, the items behind it may read it."""
        self.run_script("""
import allcores
def work(x):
    for _ in range(3000): x = (x * 3 + 1) % 1009
    return x
def made(late):
    seen = []
    def fn(x):
        if x == late: getattr(seen, "append")(x)
        return work(x) + len(seen)
    return fn
if __name__ == "__main__":
    list(allcores.map(work, range(50), backend="processes"))
    for late in range(200, 600, 31):
        fn = made(late)
        expected = [fn(x) for x in range(700)]
        try: got = list(allcores.map(made(late), range(700)))
        except RuntimeError as error: assert "a call changed seen" in str(error), error
        else: assert got == expected, (late, allcores.explain())
""")

    def test_what_changes_nothing_leaves_the_thread(self) -> None:
        self.run_script("""
import allcores, functools, math, os
def work(x):
    for _ in range(1000): x = (x * 3 + 1) % 1009
    return x
def local(x):
    seen = []
    for i in range(2): seen.append(work(x + i))
    return sum(seen)
def counted(x, table={}):
    count = dict(table)
    count[x] = work(x)
    return count
class Adds:
    def __init__(self, n): self.n = n
    def __call__(self, x): return work(x) + self.n
if __name__ == "__main__":
    list(allcores.map(work, range(50), backend="processes"))
    for fn in (work, local, counted, Adds(2), functools.partial(local)):
        assert list(allcores.map(fn, range(3000))) == [fn(x) for x in range(3000)]  # worth the start, too
        facts = allcores.explain()
        assert not facts["stays_because"], facts
        assert len(os.sched_getaffinity(0)) < 2 or facts["moves"], facts
""")

    def test_items_whose_class_has_values_are_no_reason_to_come_back(self) -> None:
        """Workers import the class, and are told its values after the items were looked at."""
        self.warm()
        rows = [Scaled(x) for x in range(3000)]
        self.assertEqual(list(allcores.map(scaled, rows)), [scaled(one) for one in rows])
        self.assertFalse([one for one in allcores.explain()["moves"] if "other values" in one])

    def test_calls_in_threads_that_begin_to_change_what_they_share_come_back(self) -> None:
        rows: list[int] = []
        names, lock = ["count", "append"], threading.Lock()  # which keeps them in this process

        def hidden(x: int) -> int:
            time.sleep(0.004)
            with lock:
                pass
            if x >= 150:
                getattr(rows, names[-1])(x)  # what the code does not tell
            return x

        def known(x: int) -> int:
            time.sleep(0.004)
            if x >= 150:
                rows.append(x)
            return x

        calls: list[Callable[[int], int]] = [hidden, known]
        for fn in calls:
            rows.clear()
            with self.subTest(fn.__name__), warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                self.assertEqual(list(allcores.map(fn, range(600), max_workers=4)), list(range(600)))
                self.assertEqual(sorted(rows), list(range(150, 600)))
                facts = allcores.explain()
                found = [str(one.message) for one in told if issubclass(one.category, RuntimeWarning)]
                if fn is known:  # it has never left
                    self.assertEqual((found, facts["moves"], rows), ([], [], sorted(rows)), str(facts))
                else:
                    self.assertIn("threads from", facts["moves"][0])
                    self.assertEqual((len(found), facts["backend"]), (1, "inline"), str(facts))
                    self.assertRegex(found[0], "in several threads changed rows.*backend=")
                    self.assertEqual(rows[-100:], list(range(500, 600)))  # in order once it is back
                self.assertIn("rows", facts["stays_because"])

    def test_result_that_is_shared_and_argument_that_may_change_keep_it_in_this_process(self) -> None:
        config = {"a": [1]}

        def same(x: int) -> object:
            work(x)
            return config

        def inside(x: int) -> object:
            return [work(x), config]

        def fills(row: list[int]) -> int:
            if row[0] < 0:
                row.append(1)
            return work(row[0])

        calls: list[tuple[Any, Any, str]] = [
            (same, self.items, "a result is an object that others have, too"),
            (inside, self.items, "a result is an object that others have, too"),
            (fills, [[x] for x in self.items], "its code may change an argument"),
        ]
        for fn, items, why in calls:
            with self.subTest(fn.__name__):
                self.warm()
                got = list(allcores.map(fn, items))
                facts = allcores.explain()
                self.assertNotIn("processes from", str(facts["moves"]))
                self.assertEqual(facts["no_processes"], why, str(facts))
                self.assertIn(f'no processes: {why}; backend="processes" would allow them', str(facts))
                if fn is same:
                    self.assertTrue(all(one is config for one in got))
                elif fn is inside:
                    self.assertTrue(all(one[1] is config for one in got))

    def test_blas_has_one_thread_while_threads_compute(self) -> None:
        try:
            import numpy
            import threadpoolctl
        except ImportError:
            self.skipTest("no numpy or no threadpoolctl")
        numpy.dot(numpy.ones((2, 2)), numpy.ones((2, 2)))

        def blas() -> list[int]:
            return [
                one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"
            ]

        def most(_: int) -> list[int]:
            until = time.thread_time() + 0.002
            while time.thread_time() < until:
                numpy.dot(numpy.ones((50, 50)), numpy.ones((50, 50)))
            return blas()

        with threadpoolctl.threadpool_limits(limits=3):
            before = blas()
            self.assertEqual(set(before), {3})
            got = list(allcores.map(most, range(20), backend="threads", max_workers=2))
            self.assertEqual(got, [[1] * len(before)] * 20)
            self.assertEqual(blas(), before)

    def test_processes_have_todays_surroundings(self) -> None:
        def where(x: int) -> str:
            return f"{os.getcwd()} {os.environ.get('ALLCORES_EFFECTS')}"

        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        self.addCleanup(os.environ.pop, "ALLCORES_EFFECTS", None)
        for folder in (here, "/", here):
            os.chdir(folder)
            os.environ["ALLCORES_EFFECTS"] = folder
            got = set(allcores.map(where, range(4), backend="processes", max_workers=1))
            self.assertEqual(got, {f"{folder} {folder}"})


if __name__ == "__main__":
    unittest.main()
