"""CPython's own cases for ThreadPoolExecutor, with ours in its place:

PYTHONPATH=<where allcores is> python3.x tests/cpython_threads.py [-v]
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.thread
import importlib
import sys
import unittest

import allcores

concurrent.futures.ThreadPoolExecutor = allcores.ThreadPoolExecutor  # type: ignore[misc]
concurrent.futures.thread.ThreadPoolExecutor = allcores.ThreadPoolExecutor  # type: ignore[misc]

NEW = ("thread_pool", "wait", "as_completed", "shutdown", "deadlock", "init")


def cases(found: unittest.TestSuite) -> list[unittest.TestCase]:
    flat: list[unittest.TestCase] = []
    for one in found:
        flat += cases(one) if isinstance(one, unittest.TestSuite) else [one]
    return [one for one in flat if type(one).__name__.startswith("ThreadPool")]


def main() -> int:
    if sys.version_info >= (3, 12):
        modules = [f"test.test_concurrent_futures.test_{name}" for name in NEW]
    else:
        modules = ["test.test_concurrent_futures"]
    suite = unittest.TestSuite()
    for name in modules:
        suite.addTests(cases(unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name))))
    result = unittest.TextTestRunner(verbosity=1 + ("-v" in sys.argv)).run(suite)
    return 0 if result.wasSuccessful() and result.testsRun > 30 else 1


if __name__ == "__main__":
    sys.exit(main())
