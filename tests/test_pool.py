"""The pool on every interpreter that it supports: the cases of tests/pool, each file in a process of its own."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TESTS
from extension import package_for, supported
from interpreters import TEMPORARY, Interpreter

FILES = sorted(path.stem for path in (TESTS / "pool").glob("test_*.py"))
SLOW = ("test_auto_executor", "test_effects", "test_map")  # half a minute each and more


def runs() -> Iterator[Any]:
    """Each file on each interpreter; long but for the oldest and the newest, and for the slow ones the newest."""
    pythons = supported()
    for file, python in itertools.product(FILES, pythons):
        short = python.free_threaded or python == pythons[-1] or (python == pythons[0] and file not in SLOW)
        yield pytest.param(
            python, file, id=f"{file}-py{python.name}", marks=[] if short else [pytest.mark.long]
        )


@pytest.mark.parametrize(("python", "file"), list(runs()))
def test_pool(python: Interpreter, file: str, tmp_path: Path) -> None:
    package = package_for(python)
    where = Path(python.root) / "tmp" / TEMPORARY / tmp_path.name if python.root else tmp_path
    cases = shutil.copytree(TESTS / "pool", where / "pool", dirs_exist_ok=True)
    path = "/" + str(cases.relative_to(python.root)) if python.root else str(cases)
    done = package.run("-m", "unittest", "-v", file, timeout=300, PYTHONPATH=f"{package.path}:{path}")
    ran = re.search(r"Ran (\d+) tests", done.stderr)
    assert done.returncode == 0 and ran and int(ran[1]) >= 3, done.stdout + done.stderr


def test_effects_on_numpy() -> None:
    """In the tests' own environment, which has numpy and threadpoolctl."""
    cases = (
        "test_each_gives_the_loops_answer_and_leaves_its_state",
        "test_blas_has_one_thread_while_threads_compute",
    )
    more = {"PYTHONPATH": str(TESTS / "pool"), "ALLCORES_CASES": "numpy_"}
    done = subprocess.run(
        [sys.executable, "-m", "unittest", *(f"test_effects.Effects.{case}" for case in cases)],
        env={**os.environ, **more}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and "Ran 2 tests" in done.stderr and "skipped" not in done.stderr, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("python", supported(), ids=lambda one: f"py{one.name}")
def test_effects_that_begin_late(python: Interpreter, tmp_path: Path) -> None:
    package = package_for(python)
    where = Path(python.root) / "tmp" / TEMPORARY / tmp_path.name if python.root else tmp_path
    cases = shutil.copytree(TESTS / "pool", where / "pool", dirs_exist_ok=True)
    path = "/" + str(cases.relative_to(python.root)) if python.root else str(cases)
    case = "test_effects.Effects.test_what_begins_late_gives_the_loops_answer_or_an_error"
    path = f"{package.path}:{path}"
    done = package.run("-m", "unittest", case, timeout=300, PYTHONPATH=path, ALLCORES_LONG="1")
    assert done.returncode == 0 and "skipped" not in done.stderr, done.stdout + done.stderr


@pytest.mark.long
def test_four_gigabytes() -> None:
    python = next(one for one in reversed(supported()) if not one.root)
    package = package_for(python)
    case = "test_buffers.Buffers.test_four_gigabytes"
    path = f"{package.path}:{TESTS / 'pool'}"
    done = package.run("-m", "unittest", case, timeout=600, PYTHONPATH=path, ALLCORES_LONG="1")
    assert done.returncode == 0, done.stdout + done.stderr
