"""Applications and libraries as their users run them, each with the verdict that its use has."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest
from conftest import TESTS, Runner

APPLICATIONS = TESTS / "applications"
SECONDS = 3
pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU: nothing to gain anywhere")


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of its own to run in, with the programs and the slow server to import."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{APPLICATIONS}:{TESTS.parent / 'bench'}")
    return tmp_path


def command(name: str, *args: object) -> list[str]:
    return [sys.executable, str(APPLICATIONS / f"{name}.py"), *map(str, args)]


LIBRARIES = [
    ("pandas_apply", "pandas", "single-thread-python"),
    ("sqlite_rows", "sqlite3", "disk-bound"),
    ("blas", "numpy", "oversubscribed"),
    ("requests_pages", "requests", "io-sequential"),
    ("httpx_threads", "httpx", "io-threads-ok"),
    ("requests_in_asyncio", "requests", "blocked-event-loop"),
    ("aiohttp_pages", "aiohttp", "serial-awaits"),
]
QUICK = ("pandas_apply", "sqlite_rows")  # of packages that the other tests have, too


def needs(package: str) -> None:
    assert importlib.util.find_spec(package), f"{package} is missing: make test-all installs it"


@pytest.mark.parametrize(
    ("name", "package", "verdict"),
    [pytest.param(*one, id=one[0], marks=[] if one[0] in QUICK else [pytest.mark.long]) for one in LIBRARIES],
)
def test_library(run: Runner, at_home: Path, name: str, package: str, verdict: str) -> None:
    needs(package)
    report = run.why_alone(command(name, SECONDS))
    assert report["verdict"]["id"] == verdict, report["verdict"]
