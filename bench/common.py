"""What the benches share: the command, reports, rows of the table."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
COMMAND = os.environ.get("ALLCORES_BIN", str(ROOT / ".venv" / "bin" / "allcores"))
sys.path.insert(0, str(ROOT / "tests"))

Report = dict[str, Any]
median = statistics.median


@dataclass
class Row:
    """One line of the table. `met` is None where there is no bound: a figure for comparison."""

    what: str
    bound: str
    measured: str
    met: bool | None = None


def why(command: list[str], *options: str, denied: str = "") -> tuple[Report, str]:
    """The report on a command, and what the command printed."""
    sandbox = [sys.executable, str(ROOT / "tests" / "deny.py"), denied] if denied else []
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "report.json"
        done = subprocess.run(
            [*sandbox, COMMAND, "why", "-q", "-o", str(path), *options, "--", *command],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(path.read_text()), done.stdout


def program(name: str, *args: object, python: str = sys.executable) -> list[str]:
    """A program of bench/programs."""
    return [python, str(ROOT / "bench" / "programs" / f"{name}.py"), *map(str, args)]


@contextlib.contextmanager
def hogs(count: int) -> Iterator[None]:
    """Other programs that want CPUs."""
    running = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()
