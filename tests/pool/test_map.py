"""allcores.map(): what it promises whatever it chooses. The choices themselves are in the cases' own scripts."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
import traceback
import unittest
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import allcores
from allcores import _cost, _ext, _lines, _plan
from common import Case, wait_until

BACKENDS: list[Any] = ["auto", "inline", "threads", "processes"]
BACKENDS += ["interpreters"] if sys.version_info >= (3, 14) else []
SHARED = [one for one in BACKENDS if one != "interpreters"]  # they take any function

COUNTED = """
import sys, os, time, allcores
def spin(n):
    for _ in range(3000): n += 1
    return n
def item(x):
    with open("log", "a") as log: log.write(f"{x}\\n")
    return WORK(x)
if __name__ == "__main__":
    kind, options = sys.argv[1], eval(sys.argv[2])
    WORK = {
        "spin": spin,
        "wait": lambda x: time.sleep(0.002),
        "spin, then wait": lambda x: spin(x) if x < 150 else time.sleep(0.003),
        "wait, then spin": lambda x: spin(x) if x > 150 else time.sleep(0.003),
        "long": lambda x: [spin(i) for i in range(100)] if x < 12 else None,
    }[kind]
    results = list(allcores.map(item, range(300), **options))
    assert len(results) == 300
"""


def twice(x: int) -> int:
    return 2 * x


def spin(x: int) -> int:
    for _ in range(2000):
        x += 1
    return x


def fails(x: int) -> int:
    if x == 37:
        raise LookupError("this one")
    return spin(x)


def stops(x: int) -> int:
    if x == 5:
        raise StopIteration
    return x


def waits(x: int) -> int:
    time.sleep(0.002)
    return x


def large(x: int) -> bytes:
    for _ in range(3000):
        x = (x * 3 + 1) % 1009
    return b"x" * 5000


class Promises(unittest.TestCase):
    def test_the_loops_results_in_the_loops_order(self) -> None:
        functions: list[Any] = [abs, twice, spin]
        for backend, fn in itertools.product(BACKENDS, functions):
            with self.subTest(backend=backend, fn=fn):
                items = range(-300, 300)
                self.assertEqual(list(allcores.map(fn, items, backend=backend)), [fn(x) for x in items])

    def test_several_iterables_end_with_the_shortest(self) -> None:
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                got = list(allcores.map(pow, range(100), itertools.repeat(2), backend=backend))
                self.assertEqual(got, [x * x for x in range(100)])
        self.assertEqual(list(allcores.starmap(pow, [(2, 3), (3, 2)])), [8, 9])

    def test_for_each_calls_and_gives_nothing(self) -> None:
        seen: list[int] = []
        allcores.for_each(seen.append, range(50), backend="threads", max_workers=1)
        allcores.for_each(seen.append, range(50))
        self.assertEqual(seen, [*range(50), *range(50)])

    def test_nothing_to_do(self) -> None:
        for backend in BACKENDS:
            self.assertEqual(list(allcores.map(abs, [], backend=backend)), [])

    def test_in_any_order_all_come_once(self) -> None:
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                got = list(allcores.map(spin, range(500), backend=backend, ordered=False))
                self.assertEqual(sorted(got), [spin(x) for x in range(500)])

    def test_every_chunksize_buffersize_and_number_of_workers(self) -> None:
        for backend, chunk, buffer, workers in itertools.product(SHARED, (1, 7, 1000), (1, 50), (1, 2)):
            with self.subTest(backend=backend, chunk=chunk, buffer=buffer, workers=workers):
                got = list(allcores.map(
                    spin, range(40), backend=backend, chunksize=chunk, buffersize=buffer, max_workers=workers
                ))  # fmt: skip
                self.assertEqual(got, [spin(x) for x in range(40)])

    def test_wrong_arguments_are_told_at_once(self) -> None:
        for wrong in (dict(backend="fast"), dict(chunksize=0), dict(buffersize=-1), dict(max_workers=0)):
            self.assertRaises(ValueError, allcores.map, abs, [1], **wrong)
        self.assertRaises(TypeError, allcores.map, 3, [1])
        self.assertRaises(TypeError, allcores.map, abs)
        self.assertRaises(TypeError, allcores.map, abs, 3)
        self.assertRaises(TypeError, allcores.starmap, abs, [], wrong=1)


class Coded(Exception):
    """What is unpickled by calling it with its arguments, of which it keeps one."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def raises_coded(x: int) -> int:
    if x == 30:
        raise Coded(7, "gone")
    large(x)
    return x


def raises_a_lock(x: int) -> None:
    raise Exception(threading.Lock(), x)


class Errors(unittest.TestCase):
    def test_an_exception_whose_init_takes_other_arguments(self) -> None:
        for options in ({}, {"return_exceptions": True}):
            with self.subTest(options=options):
                results: list[Any] = []
                try:
                    for one in allcores.map(raises_coded, range(60), backend="processes", **options):
                        results.append(one)
                except Coded as error:
                    results.append(error)
                self.assertEqual(results[:30], list(range(30)))
                self.assertEqual((type(results[30]), results[30].code, str(results[30])), (Coded, 7, "gone"))
                self.assertEqual(len(results), 60 if options else 31)

    def test_an_exception_that_cannot_be_sent_is_told(self) -> None:
        for one in allcores.map(raises_a_lock, range(3), backend="processes", return_exceptions=True):
            self.assertRegex(repr(one), "RuntimeError.*Exception: .*lock.*cannot be sent back")

    def test_an_error_has_its_items_index_and_the_workers_traceback(self) -> None:
        for backend, ordered in itertools.product(SHARED, (True, False)):
            with self.subTest(backend=backend, ordered=ordered):
                results = allcores.map(fails, range(400), backend=backend, ordered=ordered)
                try:
                    list(results)
                    self.fail("no error")
                except LookupError as error:
                    self.assertEqual(error.__notes__, ["allcores.map: item 37"])
                    text = "".join(traceback.format_exception(error))
                self.assertIn("in fails", text)
                self.assertIn('raise LookupError("this one")', text)
                self.assertEqual(list(results), [])

    def test_the_results_before_the_error_come_first(self) -> None:
        for backend in SHARED:
            got = []
            with self.subTest(backend=backend), self.assertRaises(LookupError):
                for result in allcores.map(fails, range(100), backend=backend):
                    got.append(result)
            self.assertEqual(got, [spin(x) for x in range(37)])

    def test_exceptions_as_results(self) -> None:
        for backend in SHARED:
            with self.subTest(backend=backend):
                got = list(allcores.map(fails, range(60), backend=backend, return_exceptions=True))
                self.assertIsInstance(got.pop(37), LookupError)
                self.assertEqual(got, [spin(x) for x in range(60) if x != 37])

    def test_stop_iteration_does_not_end_the_results_silently(self) -> None:
        for backend in SHARED:
            with self.subTest(backend=backend), self.assertRaisesRegex(RuntimeError, "StopIteration"):
                list(allcores.map(stops, range(10), backend=backend))

    def test_error_of_the_source_comes_behind_the_results(self) -> None:
        def source() -> Iterator[int]:
            yield from range(20)
            raise OSError("no more")

        for backend in SHARED:
            got = []
            with self.subTest(backend=backend), self.assertRaisesRegex(OSError, "no more"):
                for result in allcores.map(waits, source(), backend=backend):
                    got.append(result)
            self.assertEqual(got, list(range(20)))

    def test_timeout(self) -> None:
        for backend in SHARED:
            with self.subTest(backend=backend), self.assertRaises(TimeoutError):
                list(allcores.map(waits, itertools.count(), backend=backend, timeout=0.1))

    def test_an_error_that_lets_nothing_be_set(self) -> None:
        class Frozen(Exception):
            def __setattr__(self, name: str, value: object) -> None:
                raise AttributeError(name)

        def fail(x: int) -> None:
            raise Frozen

        for backend in ("inline", "threads"):
            self.assertRaises(Frozen, list, allcores.map(fail, [1], backend=backend))

    def test_context_of_an_error_is_kept(self) -> None:
        def fail(x: int) -> None:
            try:
                raise KeyError(x)
            except KeyError:
                raise ValueError(x)  # noqa: B904

        for backend in ("auto", "threads"):
            with self.assertRaises(ValueError) as caught:
                list(allcores.map(fail, [1], backend=backend))
            self.assertIsInstance(caught.exception.__context__, KeyError)
            self.assertFalse(caught.exception.__suppress_context__)


class Lazy(unittest.TestCase):
    def test_an_infinite_source_is_read_a_bounded_way_ahead(self) -> None:
        for backend, fn in itertools.product(SHARED, (abs, waits)):
            taken = 0

            def source() -> Iterator[int]:
                nonlocal taken
                while True:
                    taken += 1
                    yield taken

            call: Any = fn
            with self.subTest(backend=backend, fn=fn):
                results = allcores.map(call, source(), backend=backend)
                for _ in range(200):
                    next(results)
                ahead = taken - 200
                time.sleep(0.05)
                self.assertEqual(taken - 200, ahead)
                self.assertLess(ahead, 200_000 if fn is abs else 500)
                results.close()  # type: ignore[attr-defined]

    def test_buffersize_bounds_what_is_begun(self) -> None:
        for backend in SHARED:
            taken = 0

            def source() -> Iterator[int]:
                nonlocal taken
                while taken < 400:
                    taken += 1
                    yield taken

            with self.subTest(backend=backend):
                for done, _ in enumerate(allcores.map(waits, source(), backend=backend, buffersize=6), 1):
                    self.assertLessEqual(taken - done, 6 + 2)

    def test_buffersize_with_results_larger_than_a_chunk_may_be(self) -> None:
        """Items are given one by one then, and none is lost."""
        with mock.patch.object(_lines, "MOST_CHUNK_BYTES", 1000):
            for buffer in ("auto", 4):
                source: Any = (x for x in range(600))
                results = list(allcores.map(large, source, buffersize=buffer))
                self.assertEqual([len(one) for one in results], [5000] * 600)

    def test_a_consumer_that_stops_early_calls_off_the_rest(self) -> None:
        for backend in ("auto", "threads"):
            calls: list[int] = []

            def item(x: int) -> int:
                calls.append(x) if backend == "threads" else None
                time.sleep(0.002)
                return x

            with self.subTest(backend=backend):
                for result in allcores.map(item, range(100_000), backend=backend, max_workers=4):
                    if result == 50:
                        break
                time.sleep(0.05)
                before = len(calls)
                time.sleep(0.05)
                self.assertEqual(len(calls), before)
                self.assertLess(before, 80)

    def test_closed_it_gives_no_more(self) -> None:
        for backend in SHARED:
            results = allcores.map(waits, range(1000), backend=backend)
            for _ in range(50):
                next(results)
            results.close()  # type: ignore[attr-defined]
            self.assertEqual(list(results), [])

    def test_the_users_objects_are_let_go(self) -> None:
        import gc
        import weakref

        class Thing:
            pass

        thing = Thing()
        gone = weakref.ref(thing)
        for backend in ("auto", "threads"):
            results = allcores.map(lambda x, held=thing: x, range(10**6), backend=backend)
            next(results)
            del results
        del thing
        wait_until(lambda: gc.collect() >= 0 and gone() is None)


class Once(Case):
    def test_no_item_runs_twice_or_never(self) -> None:
        kinds = ["spin", "wait", "spin, then wait", "wait, then spin", "long"]
        for kind, backend in itertools.product(kinds, SHARED):
            if backend != "auto" and kind not in ("spin", "wait"):
                continue
            with self.subTest(kind=kind, backend=backend):
                (self.directory / "log").unlink(missing_ok=True)
                self.run_script(COUNTED, kind, repr({"backend": backend}))
                items = sorted(map(int, (self.directory / "log").read_text().split()))
                self.assertEqual(items, list(range(300)))

    def test_pools_go_when_they_have_no_work_and_not_before(self) -> None:
        self.run_script("""
import allcores, os, threading, time
from allcores import _lines
_lines.IDLE_S = 0.3
def wait(x):
    time.sleep(x)
    return os.getpid()
def lives(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
if __name__ == "__main__":
    first = set(allcores.map(wait, [0.1] * 8, backend="processes", max_workers=2))
    assert os.getpid() not in first
    assert set(allcores.map(wait, [0.5] * 4, backend="processes", max_workers=2)) == first
    until = time.monotonic() + 20
    while any(map(lives, first)) or any("pools" in t.name for t in threading.enumerate()):
        assert time.monotonic() < until, (first, threading.enumerate())
        time.sleep(0.05)
    second = set(allcores.map(wait, [0.1] * 8, backend="processes", max_workers=2))
    assert not second & first
""")

    def test_a_script_that_does_not_need_it_starts_no_pool(self) -> None:
        self.run_script("""
import allcores, os, sys, threading
assert list(allcores.map(lambda x: x + 1, range(1000))) == list(range(1, 1001))
assert allcores.explain()["backend"] == "inline"
assert not open(f"/proc/self/task/{os.getpid()}/children").read().split()
names = {thread.name for thread in threading.enumerate()}
assert names <= {"MainThread", "allcores.map watcher"}, names
for module in ("allcores._executor", "allcores._threads", "allcores._lines", "multiprocessing", "concurrent.futures"):
    assert module not in sys.modules, module
""")

    def test_computing_goes_to_processes_and_waiting_to_threads(self) -> None:
        done = self.run_script("""
import allcores, os, sys, threading, time
def spin(n):
    for _ in range(20000): n += 1
    return os.getpid(), threading.get_ident()
def wait(n):
    time.sleep(0.05)
    return threading.get_ident()
if __name__ == "__main__":
    cpus = len(os.sched_getaffinity(0))
    got = set(allcores.map(spin, range(800)))
    facts = allcores.explain()
    print(facts)
    where = "processes from" if getattr(sys, "_is_gil_enabled", lambda: True)() else "threads from"
    assert cpus < 2 or (len(got) >= 2 and where in str(facts)), facts
    got = set(allcores.map(wait, range(200)))
    facts = allcores.explain()
    print(facts)
    assert "threads from" in str(facts) and len(got) >= 8, (facts, len(got))
""")
        self.assertIn("spin: ", done.stdout)
        self.assertIn("an item would take: inline", done.stdout)

    def test_interrupt_in_each(self) -> None:
        for backend in SHARED:
            with self.subTest(backend=backend):
                process = self.start(
                    """
import allcores, sys, time
def wait(x):
    time.sleep(0.05)
    return x
if __name__ == "__main__":
    try:
        for result in allcores.map(wait, range(100000), backend=sys.argv[1]):
            if result == 2: print("on", flush=True)
    except KeyboardInterrupt:
        print("interrupted")
""",
                    backend,
                )
                assert process.stdout is not None
                self.assertEqual(process.stdout.readline(), "on\n")
                process.send_signal(2)
                try:
                    stdout, stderr = process.communicate(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
                self.assertEqual((process.returncode, stdout), (0, "interrupted\n"), stderr)

    def test_at_exit_with_results_left(self) -> None:
        for backend in SHARED:
            with self.subTest(backend=backend):
                self.run_script(
                    """
import allcores, sys, time
def wait(x):
    time.sleep(0.002)
    return x
if __name__ == "__main__":
    results = allcores.map(wait, range(10**6), backend=sys.argv[1])
    for _ in range(40): next(results)
""",
                    backend,
                )

    def test_a_fork_in_between(self) -> None:
        self.run_script("""
import allcores, os, sys, time, warnings
warnings.simplefilter("ignore")
def spin(x):
    for _ in range(3000): x += 1
    return x
if __name__ == "__main__":
    expected = [spin(x) for x in range(2000)]
    results = allcores.map(spin, range(2000))
    got = [next(results) for _ in range(100)]
    assert list(allcores.map(spin, range(2000), backend="processes")) == expected
    pid = os.fork()
    if pid == 0:
        try:
            del results
            ok = list(allcores.map(spin, range(2000))) == expected
            ok &= list(allcores.map(spin, range(2000), backend="processes")) == expected
            ok &= list(allcores.map(spin, range(2000), backend="threads")) == expected
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert got + list(results) == expected
    assert list(allcores.map(spin, range(2000), backend="processes")) == expected
""")

    def test_processes_of_another_directory_are_not_taken_for_warm(self) -> None:
        self.run_script("""
import allcores, os, sys, time
def work(x):
    for _ in range(1000): x = (x * 3 + 1) % 1009
    return x
HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
def moves():
    list(allcores.map(work, range(500)))  # some 30 ms: too little to start processes for
    return "processes" in str(allcores.explain()["moves"])
if __name__ == "__main__":
    began = time.perf_counter()
    list(map(work, range(500)))
    short = time.perf_counter() - began < 0.06
    list(allcores.map(work, range(50), backend="processes"))
    if HAS_GIL and len(os.sched_getaffinity(0)) > 1 and short:
        assert any(moves() for _ in range(10)), allcores.explain()
        os.chdir("/")
        assert not moves(), allcores.explain()
""")

    def test_a_fork_while_threads_have_items(self) -> None:
        self.run_script("""
import allcores, os, sys, time, warnings
warnings.simplefilter("ignore")
def wait(x):
    time.sleep(0.002)
    return x
if __name__ == "__main__":
    results = allcores.map(wait, range(60), backend="threads", max_workers=4)
    got = [next(results) for _ in range(20)]
    time.sleep(0.1)
    pid = os.fork()
    if pid == 0:
        try:
            del results
            ok = list(allcores.map(wait, range(60), backend="threads", max_workers=4)) == list(range(60))
        finally:
            os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert got + list(results) == list(range(60))
""")

    def test_a_worker_that_dies_fails_its_item_and_not_the_next_map(self) -> None:
        self.run_script("""
import allcores, collections, os, re
table = {"tells": "whether a worker has the same"}
def note(x):
    with open("log", "a") as file: file.write(f"{x} ")
def spin(x):
    note(x)
    if x == 705: os.kill(os.getpid(), 9)
    for _ in range(2000): x += 1
    return x - 2000
def looks(x): return spin(x) if table else None
def ran(fn, count, **how):
    got = []
    try:
        for result in allcores.map(fn, range(count), backend="processes", max_workers=2, **how): got.append(result)
    except allcores.WorkerDied as error:
        return got, error.__notes__[-1]
    return got, None
if __name__ == "__main__":
    for fn in (spin, looks):
        got, told = ran(fn, 1000, chunksize=100)
        assert got == list(range(700)), got[-1]
        if fn is spin: assert told == "allcores.map: item 705; results from item 700 on are lost with the worker", told
        else: assert re.match("allcores.map: item 70[05]", told), told
        assert max(collections.Counter(open("log").read().split()).values()) == 1, "an item ran twice"
        os.remove("log")
        assert ran(fn, 600) == (list(range(600)), None)
        os.remove("log")
""")


class Within(Case):
    def test_a_map_in_a_map(self) -> None:
        self.run_script("""
import allcores, itertools
def inner(x): return x + 1
def outer(kind, n):
    return sum(allcores.map(inner, range(n), backend=kind))
if __name__ == "__main__":
    kinds = ["auto", "inline", "threads", "processes"]
    for first, second in itertools.product(kinds, kinds):
        got = list(allcores.map(outer, [second] * 6, range(6), backend=first, max_workers=2))
        assert got == [sum(range(1, n + 1)) for n in range(6)], (first, second, got)
""")

    def test_threads_within_threads_do_not_wait_for_each_other(self) -> None:
        def inner(x: int) -> int:
            time.sleep(0.001)
            return x

        def outer(x: int) -> int:
            got: list[int] = []
            thread = threading.Thread(
                target=lambda: got.extend(allcores.map(inner, range(20), backend="threads", max_workers=2))
            )
            thread.start()
            thread.join()
            mine: int = sum(allcores.map(inner, range(20), backend="threads", max_workers=2))
            return mine + sum(got)

        self.assertEqual(list(allcores.map(outer, range(8), backend="threads", max_workers=2)), [380] * 8)

    def test_maps_of_several_threads_at_once(self) -> None:
        expected = [spin(x) for x in range(2000)]
        failures: list[Any] = []

        def run() -> None:
            got = list(allcores.map(spin, range(2000)))
            if got != expected:
                failures.append(got)

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def test_its_iterator_within_its_function(self) -> None:
        results: Iterator[Any] = iter(())

        def item(x: int) -> Any:
            return next(results)

        results = allcores.map(item, range(3))
        self.assertRaises(ValueError, next, results)


def busy(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def sets_the_interval(seconds: float) -> None:
    sys.setswitchinterval(0.003)
    busy(seconds)


class Ends:
    """An iterator whose end is a StopIteration that is set, as of every iterator that is written in Python."""

    def __init__(self, rows: list[int]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if not self.rows:
            raise StopIteration
        return self.rows.pop(0)


class Batches(Case):
    def test_a_batch_that_ends_by_stop_iteration_is_no_error(self) -> None:
        loop = _ext.Inline(str, iter([1]), False, None, False)
        loop.rest = (batch for batch in [Ends([2, 3]), Ends([]), Ends([4])])
        self.assertEqual(list(loop), [2, 3, 4])


class Choices(Case):
    @staticmethod
    def chosen(wall: float, left: int, gil: float, start_s: float, early: bool = False) -> str | None:
        facts = _plan.Facts("fn", gil_share=gil)
        plan: Any = SimpleNamespace(
            cpus=2, options={"max_workers": None}, wall=wall, cpu_s=[wall], facts=facts, pickling=[1e-6]
        )
        with (
            mock.patch.object(_lines, "processes_in_s", lambda: start_s),
            mock.patch.object(_cost, "HAS_GIL", True),
        ):
            choice = _cost.choose(plan, left, early)
        return choice and choice.backend

    def test_processes_are_started_where_that_pays(self) -> None:
        cold = _cost.COLD_S
        self.assertEqual(self.chosen(0.028, 8, 1.0, cold), "processes")
        self.assertIsNone(self.chosen(0.028, 4, 1.0, cold))
        self.assertEqual(self.chosen(0.028, 4, 1.0, 0.0), "processes")
        self.assertEqual(self.chosen(0.028, 6, 1.0, cold / 3), "processes")  # they are on their way

    def test_threads_are_not_chosen_by_a_few_looks_at_the_gil(self) -> None:
        self.assertIsNone(self.chosen(0.0226, 4, 0.875, _cost.COLD_S, early=True))
        self.assertEqual(self.chosen(0.3, 4, 0.875, _cost.COLD_S, early=True), "processes")
        self.assertEqual(self.chosen(0.02, 4, 0.0, _cost.COLD_S, early=True), "threads")

    def test_the_switch_interval_is_short_while_the_watcher_decides(self) -> None:
        usual = sys.getswitchinterval()
        seen: list[float] = []
        with mock.patch.object(_plan.Plan, "early", lambda *_: seen.append(sys.getswitchinterval())):
            for _ in range(100):  # where the watcher's thread got no CPU meanwhile
                list(allcores.map(busy, [0.1]))
                if seen:
                    break
        self.assertTrue(seen)
        self.assertLess(max(seen), usual)
        self.assertEqual(sys.getswitchinterval(), usual)
        try:
            list(allcores.map(sets_the_interval, [0.1, 0.1]))
            self.assertAlmostEqual(sys.getswitchinterval(), 0.003)
        finally:
            sys.setswitchinterval(usual)


class Explained(Case):
    def test_as_text_and_as_a_dict(self) -> None:
        shared: dict[int, int] = {}

        def counts(x: int) -> int:
            shared[x] = spin(x)
            return x

        self.assertEqual(list(allcores.map(counts, range(3000))), list(range(3000)))
        facts = allcores.explain()
        self.assertEqual(facts["backend"], "inline")
        self.assertIn("shared", facts["stays_because"])
        self.assertIn('backend="threads"', str(facts))
        self.assertGreater(facts["measured"]["item_s"], 0)
        self.assertEqual(len(shared), 3000)

    def test_before_any_map(self) -> None:
        done = self.run_script("import allcores\nprint(allcores.explain())\nassert allcores.explain() == {}")
        self.assertIn("has not been called", done.stdout)

    def test_progress_is_shown_on_stderr(self) -> None:
        done = self.run_script(
            "import allcores\nassert list(allcores.map(abs, range(-5, 0), progress=True)) == [5, 4, 3, 2, 1]"
        )
        self.assertIn("5/5", done.stderr)

    def test_no_thread_to_be_had_is_told(self) -> None:
        def no_thread(*_: object) -> None:
            raise RuntimeError("can't start new thread")

        with mock.patch.object(threading.Thread, "start", no_thread):
            results = allcores.map(waits, range(50), backend="threads", max_workers=3)
            self.assertRaisesRegex(RuntimeError, "start new thread", list, results)


if __name__ == "__main__":
    unittest.main()
