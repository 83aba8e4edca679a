"""Fixtures: the installed command, the interpreters, and reports of programs of known truth."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))

from interpreters import TEMPORARY, Interpreter, interpreters, missing  # noqa: E402

Report = dict[str, Any]


def pytest_configure(config: pytest.Config) -> None:
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: see reap_orphans()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what is in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    required = os.environ.get("ALLCORES_REQUIRE_PYTHONS", "").split()
    absent = [version for version in required if version in missing()]
    if absent:
        pytest.exit(f"required CPython versions are missing: {', '.join(absent)}", returncode=1)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    tested = ", ".join(
        f"{one.name} ({one.version[0]}.{one.version[1]}.{one.micro})" for one in interpreters()
    )
    terminalreporter.write_line(f"CPython versions tested: {tested}")
    untested = missing() + ([] if any(one.free_threaded for one in interpreters()) else ["free-threaded"])
    if untested:
        terminalreporter.write_line(f"CPython versions not tested here: {', '.join(untested)}")


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Programs start with SIGHUP as usual, also where it came ignored (nohup)."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def allcores() -> str:
    """The command under test: ALLCORES_BIN, else the one that `make` installed."""
    path = os.environ.get("ALLCORES_BIN", str(TESTS.parent / ".venv" / "bin" / "allcores"))
    if not os.access(path, os.X_OK):
        pytest.exit(f"{path} is not there: run make first", returncode=1)
    return path


def reap_orphans() -> None:
    """Wait for what a program left behind, as multiprocessing's servers are: only then its CPU time counts as ours."""
    until = time.monotonic() + 2
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < until:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)


def others_cpu_s() -> float:
    """User CPU time on this machine that was not ours or our children's, in seconds since some moment.

    Without the system's: what kernel threads do for a program's own fsyncs is the program's.
    """
    reap_orphans()
    fields = Path("/proc/stat").read_text().split()[1:9]
    user, nice, *_, steal = (int(field) / os.sysconf("SC_CLK_TCK") for field in fields)
    ours = sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return user + nice + steal - ours


class Runner:
    """Runs programs of tests/programs under `allcores why` and gives the parsed report."""

    def __init__(self, command: str, directory: Path) -> None:
        self.command = command
        self.directory = directory

    def program(self, interpreter: Interpreter, name: str, *args: object) -> list[str]:
        """The command line of a program of tests/programs, placed where the interpreter can see it, and with it the
        server that some ask."""
        server = (TESTS.parent / "bench" / "slow_server.py").read_text()
        interpreter.script(self.directory, "slow_server.py", server)
        text = (TESTS / "programs" / f"{name}.py").read_text()
        script = interpreter.script(self.directory, f"{name}.py", text)
        return interpreter.command([script, *map(str, args)])

    def why(self, command: list[str], *options: str, check: bool = True, denied: str = "") -> Report:
        """The report on a command; `denied` names system calls that a sandbox refuses to both."""
        sandbox = [sys.executable, str(TESTS / "deny.py"), denied] if denied else []
        path = self.directory / "report.json"
        path.unlink(missing_ok=True)
        done = subprocess.run(
            [*sandbox, self.command, "why", "-q", "-o", str(path), *options, "--", *command],
            capture_output=True,
            text=True,
            timeout=120,
        )
        if check and done.returncode:
            raise AssertionError(f"exit {done.returncode}: {done.stderr}")
        report: Report = json.loads(path.read_text())
        report["stdout"] = done.stdout
        return report

    def why_alone(self, command: list[str], *options: str) -> Report:
        """The report of a run that had the machine to itself. What a program lacks beside others depends on
        them: a run whose CPUs others used, by the kernel's count, proves nothing and is repeated."""
        for _ in range(8):
            started, before = time.monotonic(), others_cpu_s()
            report = self.why(command, *options)
            if others_cpu_s() - before < 0.2 * (time.monotonic() - started):
                return report
            time.sleep(2)
        raise AssertionError("other programs kept the CPUs busy: no run could be judged")

    def attach(self, pid: int, *options: str) -> Report:
        done = subprocess.run(
            [self.command, "why", "--json", *options, "--pid", str(pid)],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        report: Report = json.loads(done.stdout)
        return report


@pytest.fixture
def run(allcores: str, tmp_path: Path) -> Runner:
    return Runner(allcores, tmp_path)


@pytest.fixture
def here() -> Interpreter:
    """The newest interpreter that is not in a root of its own, for tests that are about no version."""
    return [one for one in interpreters() if not one.root and not one.free_threaded][-1]


def parametrize(*versions: str) -> Callable[[Any], Any]:
    """A case for each of these versions ("3.9") that is here; none given: all, free-threaded included."""
    chosen = [one for one in interpreters() if not versions or one.name in versions]
    return pytest.mark.parametrize("python", chosen, ids=lambda one: f"py{one.name}")


@pytest.fixture(scope="session", autouse=True)
def _clean_roots() -> Any:
    yield
    for one in interpreters():
        if one.root:
            shutil.rmtree(Path(one.root) / "tmp" / TEMPORARY, ignore_errors=True)
