"""Runs the pools' cases of CPython's test_concurrent_futures: python run.py OUTPUT CONTEXT [name part], where
CONTEXT is Fork, Spawn, Forkserver or Thread. Writes JSON, {case: "ok" | "skipped: why" | "failed: traceback"}."""

import faulthandler
import importlib
import json
import pkgutil
import re
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

NAME = "test.test_concurrent_futures"


def modules() -> Iterator[ModuleType]:
    """The suite's modules: a file of its own up to 3.11, a package since."""
    whole = importlib.import_module(NAME)
    yield whole
    for found in pkgutil.iter_modules(getattr(whole, "__path__", [])):
        if found.name.startswith("test_") and "interpreter" not in found.name:
            yield importlib.import_module(f"{NAME}.{found.name}")


def cases(module: ModuleType, context: str) -> Iterator[unittest.TestCase]:
    """Those whose class has the process pool with this start method, or whose method is for it; or the threads'."""
    wanted = f"ProcessPool{context}(?!server)|.*ResourcesTest.test_{context.lower()}$"
    if context == "Thread":
        wanted = "ThreadPool"
    for test in flat(unittest.defaultTestLoader.loadTestsFromModule(module)):
        named = ".".join(test.id().split(".")[-2:])
        if re.match(wanted, named):
            yield test


def flat(suite: Any) -> Iterator[unittest.TestCase]:
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from flat(one)
        else:
            yield one


class Result(unittest.TestResult):
    """What came of each case."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, str] = {}

    def _note(self, test: Any, text: str) -> None:
        name = getattr(test, "test_case", test).id().removeprefix(f"{NAME}.")
        self.said[name] = text if self.said.get(name, "ok") == "ok" else self.said[name]

    def startTest(self, test: Any) -> None:
        super().startTest(test)
        print(test.id(), flush=True)  # what runs, should it hang
        faulthandler.dump_traceback_later(120, exit=True)

    def addSuccess(self, test: Any) -> None:
        self._note(test, "ok")

    def addSkip(self, test: Any, reason: str) -> None:
        self._note(test, f"skipped: {reason}")

    def addError(self, test: Any, err: Any) -> None:
        super().addError(test, err)
        self._note(test, "failed: " + self.errors[-1][1])

    def addFailure(self, test: Any, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, "failed: " + self.failures[-1][1])

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failed: " + (self.errors + self.failures)[-1][1])


def main() -> None:
    output, context, part = (*sys.argv[1:], "")[:3]
    result = Result()
    for module in modules():
        chosen = [case for case in cases(module, context) if part in case.id()]
        if chosen:
            unittest.TestSuite(chosen).run(result)
    faulthandler.cancel_dump_traceback_later()
    Path(output).write_text(json.dumps(result.said))


if __name__ == "__main__":
    main()
