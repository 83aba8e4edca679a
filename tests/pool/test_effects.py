"""allcores.map() of functions that change something: always the loop's answer, and the loop's state behind it.

A case makes a function anew and what tells the state that it leaves. It is called for enough items, each with some
work in it, that map() would leave the thread; the pure functions beside them do leave it.
"""

from __future__ import annotations

import os
import types
import unittest
from collections.abc import Callable
from typing import Any

import allcores
from common import Case

Made = tuple[Callable[[int], Any], Callable[[], Any]]
CASES: list[Callable[[], Made]] = []
ITEMS = range(900)
total = 0
listed: list[int] = []
table: dict[str, int] = {}
module = types.ModuleType("a_module")


def case(make: Callable[[], Made]) -> Callable[[], Made]:
    CASES.append(make)
    return make


def work(x: int) -> int:
    """Some 50 us, a number that depends on x."""
    for _ in range(500):
        x = (x * 3 + 1) % 1009
    return x


@case
def append() -> Made:
    seen: list[int] = []

    def f(x: int) -> int:
        seen.append(work(x))
        return len(seen)

    return f, lambda: seen


@case
def counts() -> Made:
    count: dict[int, int] = {}

    def f(x: int) -> int:
        key = work(x) % 7
        count[key] = count.get(key, 0) + 1
        return count[key]

    return f, lambda: count


@case
def sets_attribute() -> Made:
    thing = types.SimpleNamespace(last=0)

    def f(x: int) -> int:
        before: int = thing.last
        thing.last = work(x)
        return before

    return f, lambda: thing.last


@case
def writes_global() -> Made:
    globals()["total"] = 0

    def f(x: int) -> int:
        global total
        total += work(x)
        return total

    return f, lambda: total


@case
def writes_nonlocal() -> Made:
    n = 0

    def f(x: int) -> int:
        nonlocal n
        n += work(x)
        return n

    return f, lambda: n


@case
def generator() -> Made:
    def numbers() -> Any:
        n = 1
        while True:
            n = n * 5 % 10007
            yield n

    source = numbers()

    def f(x: int) -> int:
        return work(x) + next(source)  # type: ignore[no-any-return]

    return f, lambda: next(source)


class Effects(Case):
    def test_each_gives_the_loops_answer_and_leaves_its_state(self) -> None:
        for make in CASES:
            with self.subTest(case=make.__name__):
                fn, state = make()
                expected, left = [fn(x) for x in ITEMS], repr(state())
                fn, state = make()
                self.assertEqual(list(allcores.map(fn, ITEMS)), expected)
                self.assertEqual(repr(state()), left, str(allcores.explain()))

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
        assert list(allcores.map(fn, range(600))) == [fn(x) for x in range(600)]
        facts = allcores.explain()
        assert not facts["stays_because"], facts
        assert len(os.sched_getaffinity(0)) < 2 or facts["moves"], facts
""")

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
