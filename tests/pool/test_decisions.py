"""Single decisions of allcores.map() from given measurements: where a long first call is judged by whether its thread
sleeps, when threads are given up because their calls take turns, and what becomes of items that are with workers when
a call changes what they might read. No clock decides here."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from allcores import _auto, _cost, _ext, _lines
from allcores._effects import Effects
from allcores._late import loaded
from allcores._plan import Plan


def item(x: int) -> int:
    return x


def made_plan(fn: Any = item, **options: Any) -> Plan:
    """Of a hundred items, on two CPUs."""
    plan = Plan(fn, fn, iter(range(100)), {**_auto._DEFAULTS, **options}, total=100, arity=1, portable=True)
    plan.cpus = 2
    return plan


class Look:
    """An Inline's `look` that keeps what the watcher saw of the call that runs, and lets the call end."""

    def __init__(self, share: float) -> None:
        self.share, self.seen = share, threading.Event()

    def __call__(self, loop: Any) -> Any:
        return loop.timed(loop.take())[0]

    def failed(self, loop: Any, error: Exception) -> Exception:
        return error

    def early(self, loop: Any, own_s: float) -> None:
        if loop.asleep == self.share:
            self.seen.set()


class Sleep(unittest.TestCase):
    def seen(self, share: float, call: Any) -> None:
        """The watcher sees that share of the looks asleep while `call` runs, which ends once it did."""
        look = Look(share)
        _auto._begin_watch()
        loop = _ext.Inline(lambda _: call(look.seen), iter([0]), False, look, True)
        self.assertEqual(list(loop), [True])

    def test_thread_in_a_call_that_waits_is_seen_asleep(self) -> None:
        self.seen(1.0, lambda seen: seen.wait(20))

    def test_thread_in_a_call_that_computes_is_seen_awake(self) -> None:
        def compute(seen: threading.Event) -> bool:
            until = time.monotonic() + 20
            while not seen.is_set() and time.monotonic() < until:
                sum(range(1000))
            return seen.is_set()

        self.seen(0.0, compute)

    def chosen(self, asleep: float, held: int, total: int = 100) -> Any:
        """For a call that has run for a second: what the watcher chooses beside it."""
        plan = made_plan()
        plan.total = total
        plan.began -= 1.0
        loop = mock.Mock(row=0, calls=0, rest=None, asleep=asleep, gil=(held, 64))
        with (
            mock.patch.object(_lines, "make") as make,
            mock.patch.object(_lines, "enter", return_value=False),
        ):
            plan.early(loop, 0.0)
        return make.call_args.args[1]

    def test_long_call_that_sleeps_is_met_by_threads(self) -> None:
        choice = self.chosen(1.0, 0)
        self.assertEqual(choice.backend, "threads")
        self.assertIn("it waits", choice.reason)
        self.assertGreater(choice.workers, 2)

    def test_few_long_calls_that_may_compute_after_their_sleep_are_met_by_processes(self) -> None:
        with mock.patch.object(_lines, "processes_in_s", return_value=0.0):
            self.assertEqual(self.chosen(1.0, 0, total=4).backend, "processes")
            self.assertEqual(self.chosen(1.0, 0, total=12).backend, "threads")

    def test_long_call_that_computes_is_not_taken_to_wait(self) -> None:
        under_gil, native = self.chosen(0.0, 64), self.chosen(0.0, 0)
        for choice in (under_gil, native):
            self.assertNotIn("waits", choice.reason)
        self.assertEqual(under_gil.backend, "processes" if _cost.HAS_GIL else "threads")
        self.assertEqual((native.backend, native.workers), ("threads", 2))


class HalfImported(unittest.TestCase):
    def test_module_that_another_thread_imports_is_waited_for(self) -> None:
        """Its code runs until it is seen to be asked for."""
        found: list[Any] = []
        with (
            tempfile.TemporaryDirectory() as directory,
            mock.patch.object(sys, "path", [directory, *sys.path]),
        ):
            Path(directory, "half_way.py").write_text("import sys\nsys.half_way()\nwhole = True\n")
            begun, go_on = threading.Event(), threading.Event()

            def half_way() -> None:
                begun.set()
                go_on.wait(20)

            with mock.patch.object(sys, "half_way", half_way, create=True):
                importer = threading.Thread(target=__import__, args=("half_way",))
                importer.start()
                self.assertTrue(begun.wait(20))
                asker = threading.Thread(target=lambda: found.append(loaded("half_way").whole))
                asker.start()
                asker.join(0.05)
                self.assertEqual(found, [])
                go_on.set()
                importer.join()
                asker.join()
        self.assertEqual(found, [True])
        self.assertIsNone(loaded("half_way_there"))


class Turns(unittest.TestCase):
    """Threads whose calls use one CPU in all, ten times as slow as was estimated, seem to take turns."""

    SLOW, FAST = (0.1, 0.1, 10), (0.1, 0.19, 1000)  # seconds, of CPU, items

    def given_back(
        self, *looks: tuple[float, float, int], delay: float = 0.0, before: float = 0.0, **options: Any
    ) -> list[bool]:
        """After each look; delay: seconds that threads wait for a CPU between two; before: of CPU that an item took
        when they were chosen."""
        plan = made_plan(**options)
        plan.facts.costs = {"threads": 0.001, "inline": 0.02 if before else 0.002}
        plan.facts.seen_cpu = before
        line = _lines.Threads(plan, 2, "threads")
        told = []
        with mock.patch.object(_lines, "all_delayed_s", side_effect=(delay * n for n in range(100))):
            for look in looks:
                line._look(*look)
                told.append(line.give_back)
        self.assertEqual("took turns" in plan.facts.reason, line.give_back)
        return told

    def test_they_are_given_up_at_the_second_look_that_says_so(self) -> None:
        self.assertEqual(self.given_back(self.SLOW, self.SLOW), [False, True])

    def test_look_in_between_that_says_otherwise_begins_anew(self) -> None:
        looks = [self.SLOW, self.FAST, self.SLOW, self.FAST, self.SLOW, self.SLOW]
        self.assertEqual(self.given_back(*looks), [False] * 5 + [True])

    def test_no_item_within_a_look_says_nothing(self) -> None:
        self.assertEqual(self.given_back(self.SLOW, (0.1, 0.1, 0), self.SLOW), [False] * 3)

    def test_threads_that_wait_for_a_cpu_are_another_programs_doing(self) -> None:
        self.assertEqual(self.given_back(*[self.SLOW] * 6, delay=0.05), [False] * 6)

    def test_calls_as_fast_as_estimated_may_use_one_cpu(self) -> None:
        self.assertEqual(self.given_back(*[(0.1, 0.1, 100)] * 6), [False] * 6)

    def test_sooner_than_the_loop_they_are_given_up_only_where_the_work_has_changed(self) -> None:
        self.assertEqual(self.given_back(*[self.SLOW] * 6, before=0.01), [False] * 6)
        self.assertEqual(self.given_back(self.SLOW, self.SLOW, before=0.001), [False, True])

    def test_backend_that_was_asked_for_stays(self) -> None:
        self.assertEqual(self.given_back(*[self.SLOW] * 6, backend="threads"), [False] * 6)


class Early(unittest.TestCase):
    def met(self, loop: Any) -> bool:
        """Whether two calls ran at a time, of those begun while the calling thread is in one."""
        meeting = threading.Barrier(2)

        def meet(_: int) -> bool:
            try:
                meeting.wait(20 if loop is None else 0.1)
            except threading.BrokenBarrierError:
                return False
            return True

        line = _lines.Threads(made_plan(meet), 2, "threads")
        self.addCleanup(line.close)
        line.begin(1, loop)
        return any(future.result() for _, future in line.window)

    def test_threads_that_compute_leave_the_calling_thread_its_cpu(self) -> None:
        loop = mock.Mock(row=0)
        self.assertFalse(self.met(loop))
        loop.row = NotImplemented  # its call is over
        self.assertTrue(self.met(None))

    def test_program_that_ends_after_the_first_result_ends(self) -> None:
        """The rest is never asked for, by a program that still has the iterator."""
        code = (
            "import allcores, hashlib, threading, time\n"
            "def native(n):\n"
            " until = time.monotonic() + 0.4\n"
            " while time.monotonic() < until: hashlib.sha256(bytes(1 << 20)).digest()\n"
            " return threading.get_ident()\n"
            "results = allcores.map(native, range(3))\n"
            "assert next(results) == threading.get_ident()\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class Late(unittest.TestCase):
    """A call in the calling thread changes what earlier calls had not, while others are with workers."""

    def test_results_behind_it_are_made_here_or_an_error(self) -> None:
        seen: list[int] = []

        def item(x: int) -> int:
            if x == 3:
                getattr(seen, "append")(x)  # noqa: B009 - what the code does not show
            return x + 10 * len(seen)

        plan = made_plan(fn=item)
        plan.effects = Effects(item)
        line = _lines.Processes(plan, 1, 0.01)
        self.addCleanup(line.close)
        chunks = [_lines._Chunk([first, first + 1], first, True) for first in range(0, 10, 2)]
        line.window.extend(chunks)
        before, changes, queued, running, over = chunks
        for chunk, state in ((before, _lines.RUNNING), (queued, _lines.QUEUED), (running, _lines.RUNNING),
                             (over, _lines.OVER)):  # fmt: skip
            chunk.remote = mock.Mock(**{"poll.return_value": state, "cancel.return_value": True})
        line._make(changes)
        self.assertEqual([list(batch) for batch in line._batch(changes)], [[2, 13]])
        self.assertTrue(before.remote is not None and before.error is None)
        self.assertIsNone(queued.remote)
        line._make(queued)
        self.assertEqual([list(batch) for batch in line._batch(queued)], [[14, 15]])
        for chunk in (running, over):
            with self.assertRaisesRegex(
                RuntimeError, "a call changed seen, which earlier calls had not, while"
            ):
                for batch in line._batch(chunk):
                    list(batch)
        self.assertTrue(line.give_back)
        self.assertEqual(plan.facts.stays, f"{plan.facts.name} changed seen")


if __name__ == "__main__":
    unittest.main()
