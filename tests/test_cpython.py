"""CPython's own test_concurrent_futures, with our pools in the place of the standard ones, for each start method."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import TESTS
from extension import package_for, supported
from interpreters import TEMPORARY, Interpreter

CONTEXTS = ["Fork", "Spawn", "Forkserver", "Thread"]

# Cases that look at what only the standard pool is made of: methods, and what they want.
EXCLUDED = {
    "test_del_shutdown": "_call_queue, a multiprocessing.Queue",
    "test_shutdown_no_wait": "_call_queue, a multiprocessing.Queue",
    "test_python_finalization_error": "the number of threads that the standard pool starts, and what the second is for",
    "test_failed_worker_replacement_breaks_pool": "concurrent.futures.process._spawn_worker, patched to fail",
}
# 3.12 has no suite of its own in any package: it is given that of 3.13, as far as it applies.
NOT_IN_312 = {
    "test_spawn": "_resource_tracker._exitcode",
    "test_forkserver": "_resource_tracker._exitcode",
    "test_default_workers": "os.process_cpu_count",
}


OF_311 = Path("/usr/lib/python3.11/test/test_concurrent_futures.py")  # Debian's, a single file


def suites() -> list[tuple[Interpreter, str]]:
    """(interpreter, the suite that it is given, "" for its own)."""
    found: list[tuple[Interpreter, str]] = []
    for python in supported():
        if python.version == (3, 11) and OF_311.exists():
            found.append((python, str(OF_311)))
        elif python.version == (3, 12):
            newer = next((one for one in supported() if one.version == (3, 13) and one.root), None)
            if newer is not None:
                found.append((python, f"{newer.root}/usr/lib/python3.13/test/test_concurrent_futures"))
        elif not python.free_threaded and python.root:
            found.append((python, ""))
    return found


class Place:
    """A virtual environment of the interpreter where every start puts our pool in place."""

    def __init__(self, python: Interpreter, suite: str) -> None:
        self.python = python
        self.package = package_for(python)
        self.path = f"/tmp/{TEMPORARY}/cpython-{python.name}"
        outside = Path(python.root + self.path)
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir(parents=True)
        self.run("-m", "venv", "--without-pip", f"{self.path}/venv")
        self.command = [*python.prefix[:-1], f"{self.path}/venv/bin/python"]
        for file in ("allcores_in_place.py", "run.py"):
            shutil.copy(TESTS / "cpython" / file, outside)
        site = next((outside / "venv" / "lib").glob("python3*")) / "site-packages"
        (site / "allcores_in_place.pth").write_text(
            f"{self.path}\n{self.package.path}\nimport allcores_in_place\n"
        )
        if suite:
            (outside / "test").mkdir()
            if suite.endswith(".py"):
                shutil.copy(suite, outside / "test")
            else:
                for folder in ("test_concurrent_futures", "support"):
                    shutil.copytree(Path(suite).parent / folder, outside / "test" / folder)
            (outside / "test" / "__init__.py").write_text(
                "import sysconfig\n__path__.append(sysconfig.get_path('stdlib') + '/test')\n"
            )

    def run(self, *args: str) -> None:
        subprocess.run(self.python.command(list(args)), check=True, capture_output=True)

    def outcomes(self, context: str) -> dict[str, str]:
        output = Path(f"{self.python.root}{self.path}/{context}.txt")
        with output.open(
            "wb"
        ) as file:  # not a pipe: a server that a hung case leaves behind would keep it open
            process = subprocess.Popen(
                [*self.command, f"{self.path}/run.py", f"{self.path}/{context}.json", context],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(900)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        assert code == 0, f"{self.python.name} {context}: exit code {code}\n{output.read_text()}"
        said: dict[str, str] = json.loads(Path(f"{self.python.root}{self.path}/{context}.json").read_text())
        return said


def params() -> Iterator[Any]:
    """Those of the versions between are long."""
    for python, suite in suites():
        marks = [pytest.mark.long] if python.version in ((3, 12), (3, 13)) else []
        yield pytest.param(python, suite, id=f"py{python.name}", marks=marks)


@pytest.mark.parametrize(("python", "suite"), list(params()))
def test_suite(python: Interpreter, suite: str) -> None:
    place = Place(python, suite)
    with ThreadPoolExecutor() as executor:  # the cases sleep most of the time
        found = dict(zip(CONTEXTS, executor.map(place.outcomes, CONTEXTS), strict=True))
    for context, outcomes in found.items():
        private = {} if context == "Thread" else EXCLUDED
        expected = private | (NOT_IN_312 if python.version == (3, 12) else {})
        failed = {name: text for name, text in outcomes.items() if text.startswith("failed")}
        unexpected = {name: text for name, text in failed.items() if method(name) not in expected}
        assert not unexpected, "\n".join(f"{context} {name}\n{text}" for name, text in unexpected.items())
        excluded = {name for name in outcomes if method(name) in private}
        passed = {name for name in excluded if outcomes[name] == "ok"}
        assert not passed, "they pass: take them off the list"
        assert len(outcomes) >= (44 if context == "Thread" else 59)
        assert len(excluded) <= 0.05 * len(outcomes), excluded


def method(name: str) -> str:
    """The last part of a case's name."""
    return name.rpartition(".")[2]
