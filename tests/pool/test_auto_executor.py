"""AutoExecutor: concurrent.futures' interface, and calls that go to processes only where that changes nothing."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import itertools
import sys
import threading
import time
import traceback
import unittest
from typing import Any
from unittest import mock

import allcores
from common import Case, wait_until

# Programs: how many calls were made in which process, and what explain() says.
PRELUDE = """
import allcores, functools, os, sys, threading, time
HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
def spin(n):
    for _ in range(20000): n += 1
    return os.getpid()
TRIES = 20
def run(fn, count=250, *args, **kwargs):
    with allcores.AutoExecutor(2) as pool:  # on a busy machine it may take longer to see what fn does
        got = []
        for _ in range(TRIES):
            futures = [pool.submit(fn, i, *args, **kwargs) for i in range(count)]
            got += [future.result() for future in futures]
            (facts,) = pool.explain().values()
            if not HAS_GIL or facts["in_processes"] > 50 or facts["no_processes"]:
                break
        return got, pool.explain()
"""

# A function that goes to processes; calls of -1 last there until they may go on, those from 1000 on leave a file.
IN_PROCESSES = """
import glob, signal
from concurrent.futures.process import BrokenProcessPool
def call(x):
    if x < 0:
        open(f"in-{os.getpid()}", "w")
        while not os.path.exists("go"): spin(x)
    if x >= 1000: open(f"done-{x}", "x")
    return spin(x)
def move(pool):
    for _ in range(TRIES):
        for future in [pool.submit(call, 1) for _ in range(250)]: future.result()
        if not HAS_GIL or pool.explain()["call"]["backend"] == "processes": break
    else: raise SystemExit(str(pool.explain()))
"""


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def until_interval(interval: float) -> bool:
    """Compute until it is the switch interval."""
    until = time.monotonic() + 40
    while sys.getswitchinterval() != interval and time.monotonic() < until:
        pass
    return sys.getswitchinterval() == interval


def fails(x: int) -> None:
    raise LookupError(x)


class Interface(unittest.TestCase):
    def test_it_is_an_executor(self) -> None:
        with allcores.AutoExecutor() as pool:
            self.assertIsInstance(pool, cf.Executor)
            future = pool.submit(echo, 1, 2, fn=3, self=4)
            self.assertIsInstance(future, cf.Future)
            self.assertEqual(future.result(30), ((1, 2), {"fn": 3, "self": 4}))
            self.assertEqual(list(pool.map(pow, [2, 3], [3, 2])), [8, 9])
            self.assertEqual(list(pool.map(abs, range(-100, 0))), list(range(100, 0, -1)))
        self.assertRaises(ValueError, allcores.AutoExecutor, 0)

    def test_an_error_is_the_futures_with_its_traceback(self) -> None:
        with allcores.AutoExecutor() as pool:
            for _ in range(100):  # measured ones, and those that are not
                error = pool.submit(fails, 3).exception(30)
                self.assertIsInstance(error, LookupError)
                self.assertIn("in fails", "".join(traceback.format_exception(error)))
            stop = pool.submit(next, iter(()))
            self.assertIsInstance(stop.exception(30), StopIteration)

    def test_callbacks_and_waiting(self) -> None:
        seen: list[Any] = []
        with allcores.AutoExecutor() as pool:
            futures = [pool.submit(time.sleep, 0.001) for _ in range(50)]
            for future in futures:
                future.add_done_callback(seen.append)
            self.assertEqual(cf.wait(futures, 30).done, set(futures))
            self.assertEqual(set(cf.as_completed(futures, 30)), set(futures))
        self.assertEqual((len(seen), set(seen)), (50, set(futures)))

    def test_asyncio_takes_it(self) -> None:
        async def ask() -> int:
            return await asyncio.get_running_loop().run_in_executor(pool, abs, -3)

        with allcores.AutoExecutor() as pool:
            self.assertEqual(asyncio.run(ask()), 3)

    def test_what_waits_can_be_cancelled_and_what_runs_cannot(self) -> None:
        gate, begun = threading.Event(), threading.Event()
        ran: list[int] = []

        def block() -> None:
            begun.set()
            gate.wait(30)

        with allcores.AutoExecutor(1) as pool:
            first, second = pool.submit(block), pool.submit(ran.append, 1)
            begun.wait(30)
            self.assertTrue(first.running())
            self.assertEqual((first.cancel(), second.cancel()), (False, True))
            gate.set()
        self.assertEqual(ran, [])
        self.assertRaises(cf.CancelledError, second.result)

    def test_waits_are_met_by_many_threads(self) -> None:
        lock, now, most = threading.Lock(), 0, 0

        def wait(_: int) -> None:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.05)
            with lock:
                now -= 1

        with allcores.AutoExecutor() as pool:
            for future in [pool.submit(wait, i) for i in range(200)]:
                future.result(60)
        self.assertGreaterEqual(most, 32)
        self.assertLessEqual(most, 65)

    def test_call_that_waits_for_a_later_one_gets_it(self) -> None:
        gates = [threading.Event() for _ in range(20)]
        with allcores.AutoExecutor() as pool:
            waiting = [pool.submit(gate.wait, 60) for gate in gates]
            for gate in gates:
                pool.submit(gate.set)
            self.assertEqual([future.result(60) for future in waiting], [True] * 20)


class Shutdown(unittest.TestCase):
    def test_it_waits_for_what_was_submitted_and_takes_no_more(self) -> None:
        pool = allcores.AutoExecutor(2)
        futures = [pool.submit(time.sleep, 0.005) for _ in range(60)]
        pool.shutdown()
        self.assertTrue(all(future.done() for future in futures))
        self.assertRaises(RuntimeError, pool.submit, abs, 1)
        self.assertRaises(RuntimeError, pool.map, abs, [1])
        pool.shutdown()

    def test_it_cancels_what_has_not_begun(self) -> None:
        gate = threading.Event()
        pool = allcores.AutoExecutor(1)
        first = pool.submit(gate.wait, 30)
        futures = [pool.submit(abs, -1) for _ in range(100)]
        results = pool.map(abs, [1, 2])
        wait_until(first.running)
        pool.shutdown(wait=False, cancel_futures=True)
        self.assertTrue(all(future.cancelled() for future in futures))
        self.assertRaises(cf.CancelledError, list, results)
        gate.set()
        self.assertTrue(first.result(30))

    def test_without_waiting_everything_is_done_nevertheless(self) -> None:
        pool = allcores.AutoExecutor(2)
        futures = [pool.submit(time.sleep, 0.002) for _ in range(40)]
        pool.shutdown(wait=False)
        self.assertEqual([future.result(30) for future in futures], [None] * 40)

    def test_map_makes_what_nobody_has_asked_for(self) -> None:
        made: list[int] = []

        def note(x: int) -> int:
            made.append(x)
            return x

        with allcores.AutoExecutor() as pool:
            pool.map(made.append, range(10))  # dropped at once
            half = pool.map(note, range(10, 20))
            self.assertEqual(next(half), 10)
        self.assertEqual(sorted(made), list(range(20)))
        self.assertEqual(list(half), list(range(11, 20)))

    def test_map_that_is_left_half_way_calls_off_the_rest(self) -> None:
        made: list[int] = []

        def note(x: int) -> int:
            made.append(x)
            return x

        with allcores.AutoExecutor() as pool:
            for result in pool.map(note, itertools.count()):
                if result == 5:
                    break
        self.assertEqual(made, list(range(6)))


class Places(Case):
    def test_bytecode_moves_to_processes_once_seen(self) -> None:
        self.run_script(
            PRELUDE
            + """
if __name__ == "__main__":
    got, explained = run(spin)
    facts = explained["spin"]
    if HAS_GIL:
        assert os.getpid() in got and len(set(got)) >= 2, explained
        assert facts["in_processes"] == sum(pid != os.getpid() for pid in got) > 50, explained
        assert "spin: processes (it computes under the GIL)" in str(explained), explained
    else:
        assert set(got) == {os.getpid()}, explained
"""
        )

    def test_calls_behind_a_long_one_need_not_wait_for_its_end(self) -> None:
        self.run_script(
            PRELUDE
            + """
def hold(x):
    if x:
        if not os.path.exists("gone"): os.makedirs("gone", exist_ok=True)
        return os.getpid()
    until = time.monotonic() + 40
    while not os.path.exists("gone"):  # computes, until a call behind it has run
        spin(x)  # and gives the GIL away, more often than another thread could have it by waiting
        if time.monotonic() > until: return None
    return os.getpid()
if __name__ == "__main__":
    with allcores.AutoExecutor(2) as pool:
        futures = [pool.submit(hold, x) for x in [0, 0] + [1] * 99] if HAS_GIL else []
        got = [future.result() for future in futures]
    assert not HAS_GIL or (got[0] == os.getpid() and None not in got and len(set(got)) > 1), got
"""
        )

    def test_the_switch_interval_is_short_while_a_first_call_is_looked_at(self) -> None:
        usual = sys.getswitchinterval()
        with allcores.AutoExecutor(2) as pool:
            self.assertLess(pool.submit(sys.getswitchinterval).result(), usual)
            self.assertEqual(sys.getswitchinterval(), usual)
            self.assertTrue(pool.submit(until_interval, usual).result())
            self.assertEqual(sys.getswitchinterval(), usual)

    def test_keywords_closures_and_partials_go_too(self) -> None:
        self.run_script(
            PRELUDE
            + """
def named(x, *, by): return spin(x), by
def close(by):
    return lambda x: (spin(x), by)
if __name__ == "__main__":
    for fn, args in ((named, dict(by=7)), (functools.partial(named, by=7), {}), (close(7), {})):
        got, explained = run(fn, **args)
        assert {by for _, by in got} == {7}
        assert not HAS_GIL or len({pid for pid, _ in got}) >= 2, explained
"""
        )

    def test_an_error_of_our_own_loses_no_call(self) -> None:
        self.run_script(
            PRELUDE
            + """
from unittest import mock
from allcores import _auto_executor
if __name__ == "__main__":
    with mock.patch.object(_auto_executor, "ambient", side_effect=AttributeError("half imported")):
        got, explained = run(spin)
    assert set(got) == {os.getpid()}, set(got)
    assert not HAS_GIL or "allcores' own error: AttributeError('half imported')" in str(explained), str(explained)
"""
        )

    def test_waiting_stays_in_threads(self) -> None:
        self.run_script(
            PRELUDE
            + """
def wait(x):
    time.sleep(0.02)
    return os.getpid()
if __name__ == "__main__":
    TRIES = 2
    got, explained = run(wait, 100)
    assert set(got) == {os.getpid()}, explained
    assert "it waits" in explained["wait"]["reason"], explained
"""
        )

    def test_impure_functions_never_leave(self) -> None:
        self.run_script(
            PRELUDE
            + """
listed, table, total, source, lock = [], {}, 0, iter(range(10**6)), threading.Lock()
def appends(x): listed.append(x); return spin(x)
def rebinds(x):
    global total
    total += 1
    return spin(x)
def helped(x): table[x] = x
def helps(x): helped(x); return spin(x)
def goes_on(x): next(source); return spin(x)
def locks(x):
    with lock: return spin(x)
def default(x, held=(i for i in ())): return spin(x)
if __name__ == "__main__":
    made = {}
    for fn, words in ((appends, "appends changes listed"), (rebinds, "rebinds the global total"),
                      (helps, "helps changes table"), (goes_on, "goes_on changes source"),
                      (locks, "_thread.lock"), (default, "the iterator")):
        got, explained = run(fn, 200)
        assert set(got) == {os.getpid()}, explained
        facts = explained[fn.__name__]
        assert facts["in_processes"] == 0 and words in str(facts["no_processes"]) + str(explained), facts
        made[fn.__name__] = len(got)
    assert len(table) == 200
    assert (len(listed), total, next(source)) == tuple(made[one] for one in ("appends", "rebinds", "goes_on")), made
"""
        )

    def test_arguments_that_are_changed_or_not_to_be_pickled_keep_it_here(self) -> None:
        self.run_script(
            PRELUDE
            + """
def fills(x, row):
    row.append(x)
    return spin(x)
def given(x, what): return spin(x)
if __name__ == "__main__":
    row = []
    got, explained = run(fills, 300, row)
    assert set(got) == {os.getpid()} and sorted(set(row)) == list(range(300)), explained
    assert len(row) == len(got), explained
    got, explained = run(given, 300, threading.Lock())
    assert set(got) == {os.getpid()}, explained
    assert not HAS_GIL or "pickled" in explained["given"]["no_processes"], explained
"""
        )

    def test_argument_that_cannot_be_pickled_at_some_later_call(self) -> None:
        self.run_script(
            PRELUDE
            + """
def given(x, what): return spin(x)
if __name__ == "__main__":
    with allcores.AutoExecutor(2) as pool:
        for _ in range(20):
            for future in [pool.submit(given, 1, 2) for _ in range(250)]: future.result()
            if not HAS_GIL or pool.explain()["given"]["in_processes"]: break
        else: raise SystemExit(str(pool.explain()))
        assert pool.submit(given, 1, threading.Lock()).result() == os.getpid()
"""
        )

    def test_result_that_is_shared_keeps_it_here(self) -> None:
        self.run_script(
            PRELUDE
            + """
shared = {"a": [1]}
def same(x):
    spin(x)
    return shared
if __name__ == "__main__":
    got, explained = run(same)
    assert all(one is shared for one in got), explained
"""
        )

    def test_state_that_changes_between_calls_is_seen(self) -> None:
        self.run_script(
            PRELUDE
            + """
table, factor = {"by": 1}, 1
def scaled(x):
    spin(x)
    return x * table["by"] * factor
if __name__ == "__main__":
    with allcores.AutoExecutor(2) as pool:
        for by in range(1, 100):
            if by > 8 and (not HAS_GIL or pool.explain()["scaled"]["in_processes"]): break
            table["by"], factor = by, by
            futures = [pool.submit(scaled, i) for i in range(50)]
            assert [f.result() for f in futures] == [i * by * by for i in range(50)], (by, pool.explain())
        else: raise SystemExit(str(pool.explain()))
"""
        )

    def test_function_defined_anew_is_another(self) -> None:
        self.run_script(
            PRELUDE
            + """
seen = []
def fn(x): return spin(x)
if __name__ == "__main__":
    with allcores.AutoExecutor(2) as pool:
        for future in [pool.submit(fn, i) for i in range(200)]: future.result()
        def fn(x):
            seen.append(x)
            return spin(x)
        got = {future.result() for future in [pool.submit(fn, i) for i in range(200)]}
        assert got == {os.getpid()} and sorted(seen) == list(range(200))
        assert list(pool.explain()) == ["fn", "fn (2)"], pool.explain()
        def fn(x): return x, spin(x)
        got = [future.result()[0] for future in [pool.submit(fn, i) for i in range(200)]]
        assert got == list(range(200))
"""
        )

    def test_every_call_runs_once(self) -> None:
        self.run_script(
            PRELUDE
            + """
import glob, itertools
def once(x):
    open(f"ran-{x}", "x")
    return spin(x)
if __name__ == "__main__":
    with allcores.AutoExecutor(2) as pool:
        numbers = itertools.count()
        for _ in range(20):
            futures = [pool.submit(once, next(numbers)) for _ in range(250)]
            for future in futures: future.result()  # a second one would raise
            if not HAS_GIL or pool.explain()["once"]["in_processes"]: break
        else: raise SystemExit(str(pool.explain()))
        futures = {x: pool.submit(once, x) for x in itertools.islice(numbers, 400)}
        futures[min(futures)].result()
        gone = {x for x, future in futures.items() if future.cancel()}  # those do not run at all
    assert gone and {x for x, future in futures.items() if future.cancelled()} == gone
    assert {int(name[4:]) for name in glob.glob("ran-*")} == set(range(next(numbers))) - gone
"""
        )

    def test_errors_and_callbacks_of_processes(self) -> None:
        self.run_script(
            PRELUDE
            + """
def fail(x):
    pid = spin(x)
    if x % 2: raise LookupError(x, pid)
    return pid
if __name__ == "__main__":
    seen, made = [], 0
    with allcores.AutoExecutor(2) as pool:
        for _ in range(20):
            futures = [pool.submit(fail, i) for i in range(300)]
            for future in futures: future.add_done_callback(seen.append)
            errors = [future.exception() for future in futures]
            assert [type(e) for e in errors] == [type(None), LookupError] * 150
            assert all(e is None or e.args[0] == i for i, e in enumerate(errors))
            made += 300
            if not HAS_GIL or pool.explain()["fail"]["backend"] == "processes": break
        else: raise SystemExit(str(pool.explain()))
    assert len(seen) == made
"""
        )

    def test_it_ends_with_the_program(self) -> None:
        done = self.run_script(
            PRELUDE
            + """
def say(x):
    spin(x)
    os.write(1, b"done\\n")
if __name__ == "__main__":
    pool = allcores.AutoExecutor(2)
    for i in range(200): pool.submit(say, i)
"""
        )
        self.assertEqual(done.stdout.count("done"), 200)

    def test_call_that_may_not_be_sent_after_all_is_not_forgotten(self) -> None:
        """Its thread came for it while that was found out."""
        go, came = threading.Event(), threading.Event()
        with allcores.AutoExecutor(1) as pool:
            held_up = pool.submit(go.wait)
            future = pool.submit(abs, -1)
            seen = pool._seen_of(abs)
            seen.place = "processes"

            def refused(call: Any) -> bool:
                if not came.is_set():
                    go.set()
                    pool._threads.submit(came.set)  # behind the turn of abs
                    self.assertTrue(came.wait(30))
                return False

            with mock.patch.object(pool, "_send", refused):
                pool._release(seen)
                self.assertEqual(future.result(30), 1)
            self.assertTrue(held_up.result(30))

    def test_death_of_a_worker_is_the_error_of_its_call_alone(self) -> None:
        self.run_script(
            PRELUDE
            + IN_PROCESSES
            + """
if __name__ == "__main__":
    with allcores.AutoExecutor(2) as pool:
        move(pool)
        held, gone = [pool.submit(call, -1) for _ in range(3 * HAS_GIL)], []
        while HAS_GIL and not gone:
            time.sleep(0.005)
            gone = [pid for name in glob.glob("in-*") if (pid := int(name[3:])) != os.getpid()]
        for pid in gone: os.kill(pid, signal.SIGKILL)
        open("go", "x")  # lets the others end
        errors = [future.exception(30) for future in held]
        died = [error for error in errors if error]
        assert len(died) >= len(gone) and all(isinstance(error, BrokenProcessPool) for error in died), errors
        assert not died or "SIGKILL" in str(died[0]), died
        before = pool.explain()["call"]["in_processes"]
        got = [future.result(30) for future in [pool.submit(call, 1) for _ in range(100)]]
        if HAS_GIL:
            assert pool.explain()["call"]["in_processes"] > before and not set(got) & set(gone), pool.explain()
            assert len(set(got) - {os.getpid()}) >= 1, pool.explain()
"""
        )

    def test_exit_waits_for_what_is_in_processes(self) -> None:
        done = self.run_script(
            PRELUDE
            + IN_PROCESSES
            + """
if __name__ == "__main__":
    pool = allcores.AutoExecutor(2)
    move(pool)
    for x in range(1000, 1100): pool.submit(call, x)
    print("submitted", flush=True)
    sys.exit(3)
""",
            code=3,
        )
        self.assertEqual(done.stdout, "submitted\n")
        made = {int(path.name[5:]) for path in self.directory.glob("done-*")}
        self.assertEqual(made, set(range(1000, 1100)))

    def test_nothing_is_started_for_nothing(self) -> None:
        self.run_script(
            PRELUDE
            + """
if __name__ == "__main__":
    with allcores.AutoExecutor() as pool:
        assert str(pool.explain()) == "no call was submitted yet"
        for future in [pool.submit(abs, -i) for i in range(2000)]: future.result()
        assert not open(f"/proc/self/task/{os.getpid()}/children").read().split()
        assert "abs: threads (its calls are short)" in str(pool.explain()), pool.explain()
"""
        )


if __name__ == "__main__":
    unittest.main()
