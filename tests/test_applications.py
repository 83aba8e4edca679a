"""Applications and libraries as their users run them, each with the verdict that its use has."""

from __future__ import annotations

import importlib.util
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import TESTS, Report, Runner

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
    ("joblib_arrays", "joblib", "pickling"),
    ("dask_threads", "dask", "gil-bound-threads"),
    ("dask_bag", "dask", "start-up"),
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


@pytest.mark.long
def test_mypy_on_a_tree(run: Runner, at_home: Path) -> None:
    """One thread of compiled Python, none of it the user's own."""
    needs("mypy")
    tree = at_home / "tree"
    tree.mkdir()
    lines = [f"def f{i}(a: int, b: int = {i}) -> int: return (a+b)*{i}\n" for i in range(200)]
    for number in range(8):
        (tree / f"module{number}.py").write_text("".join(lines))
    report = run.why_alone([sys.executable, "-m", "mypy", "--no-incremental", str(tree)])
    assert report["verdict"]["id"] == "single-thread-python", report["verdict"]
    assert "installed code ran for" in report["verdict"]["evidence"]
    assert "mypy/" in report["verdict"]["evidence"]


@pytest.mark.long
def test_black_on_a_tree(run: Runner, at_home: Path) -> None:
    """More than one file: a process for each CPU. So many that the start and the last file are a small part."""
    needs("black")
    tree = at_home / "tree"
    tree.mkdir()
    modules = [one for one in Path(os.__file__).parent.glob("*.py") if 15_000 < one.stat().st_size < 50_000]
    for one in sorted(modules)[:32]:
        (tree / one.name).write_bytes(one.read_bytes())
    report = run.why_alone([sys.executable, "-m", "black", "--quiet", "--no-cache", str(tree)])
    assert report["verdict"]["id"] == "all-cores-busy", report["verdict"]
    assert "workers of ProcessPoolExecutor" in report["verdict"]["evidence"]


def test_our_own_pool(run: Runner, at_home: Path) -> None:
    report = run.why(command("own_pool", SECONDS))
    assert report["verdict"]["id"] == "serial-pool-use", report["verdict"]
    assert report["verdict"]["sentence"].startswith("One task at a time: allcores' pool ran a single task")


@pytest.mark.long
def test_dask_cluster(run: Runner, at_home: Path) -> None:
    needs("distributed")
    verdict = run.why_alone(command("dask_cluster", 4 * SECONDS))["verdict"]
    assert verdict["id"] == "all-cores-busy", verdict
    assert "2 workers of Dask" in verdict["evidence"], verdict


@pytest.mark.long
def test_grid_search(run: Runner, at_home: Path) -> None:
    """Long enough that importing scikit-learn, in one thread, is a small part of it; not from a disk that has to be
    read for the first time."""
    needs("sklearn")
    subprocess.run(command("grid_search", 0.1), check=True)
    report = run.why_alone(command("grid_search", 4 * SECONDS))
    assert report["verdict"]["id"] == "all-cores-busy", report["verdict"]
    assert "2 workers of joblib (loky)" in report["verdict"]["evidence"]


@pytest.mark.long
def test_xdist(run: Runner, at_home: Path) -> None:
    needs("xdist")
    (at_home / "pytest.ini").write_text("[pytest]\n")
    (at_home / "test_slow.py").write_text((APPLICATIONS / "test_slow.py").read_text())
    tests = [sys.executable, "-m", "pytest", "-q", "-n", "2"]
    subprocess.run(tests, check=True)  # not from a disk that has to be read for the first time
    report = run.why_alone(tests)
    assert report["verdict"]["id"] == "all-cores-busy", report["verdict"]
    assert "2 workers of pytest-xdist" in report["verdict"]["evidence"]


@pytest.mark.long
def test_celery(run: Runner, at_home: Path) -> None:
    needs("celery")
    for name in ("queue", "control"):
        (at_home / name).mkdir()
    worker = subprocess.Popen(command("celery_app"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(3)
        for _ in range(8):
            report = run.attach(worker.pid, "-d", str(SECONDS))
            if report["cpus"]["others_used"] < 0.2:
                break
    finally:
        worker.send_signal(signal.SIGQUIT)
        worker.wait()
    assert report["cpus"]["others_used"] < 0.2, "other programs kept the CPUs busy: no run could be judged"
    assert report["verdict"]["id"] == "all-cores-busy", report["verdict"]
    assert "2 workers of celery" in report["verdict"]["evidence"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(server: list[str], url: str) -> Iterator[int]:
    """A server that answers; its pid. Nothing else of the machine's users."""
    process = subprocess.Popen(server, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        subprocess.run(command("load", f"{url}/ready", 0, 0), check=True, timeout=60)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def under_load(run: Runner, server: list[str], port: int) -> Report:
    """The report on a server that is asked by four at a time, and had the machine to itself: see why_alone."""
    url = f"http://127.0.0.1:{port}"
    with serving(server, url) as pid:
        for _ in range(8):
            before = children_cpu_s()
            load = subprocess.Popen(command("load", url, 4, SECONDS + 2))
            time.sleep(1)
            report = run.attach(pid, "-d", str(SECONDS))
            load.wait()
            ours = (children_cpu_s() - before) / (SECONDS + 2)
            if report["cpus"]["others_used"] - ours < 0.2:
                return report
    raise AssertionError("other programs kept the CPUs busy: no run could be judged")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "package", "verdict"),
    [("flask_app", "flask", "gil-bound-threads"), ("fastapi_app", "fastapi", "blocked-event-loop")],
)
def test_server_under_load(run: Runner, at_home: Path, name: str, package: str, verdict: str) -> None:
    needs(package)
    port = free_port()
    report = under_load(run, command(name, port), port)
    assert report["verdict"]["id"] == verdict, report["verdict"]


@pytest.mark.long
def test_batch_loader(run: Runner, at_home: Path) -> None:
    report = run.why_alone(command("batch_loader", SECONDS))
    assert report["verdict"]["id"] == "all-cores-busy", report["verdict"]
    assert "2 workers of PyTorch DataLoader" in report["verdict"]["evidence"]


@pytest.mark.long
def test_gunicorn(run: Runner, at_home: Path) -> None:
    needs("gunicorn")
    port = free_port()
    server = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "flask_app:app"]
    report = under_load(run, server, port)
    assert report["verdict"]["id"] == "all-cores-busy", report["verdict"]
    assert "2 workers of gunicorn" in report["verdict"]["evidence"]
