"""What the cases of this folder share. They run on each interpreter by unittest, without pytest."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path


def wait_until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that must come; AssertionError where it does not."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError("it did not happen")
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


class Case(unittest.TestCase):
    """A test case with a directory of its own and scripts."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def start(self, text: str, *args: str, **more: str) -> subprocess.Popen[str]:
        """Start a script of its own __main__ in the directory."""
        path = self.directory / "program.py"
        path.write_text(text)
        return subprocess.Popen(
            [sys.executable, str(path), *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env={**os.environ, **more},
        )

    def run_script(
        self, text: str, *args: str, code: int = 0, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end within a minute and check its exit code."""
        process = self.start(text, *args, **more)
        try:
            stdout, stderr = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            raise AssertionError(f"it hangs: {stdout}{stderr}") from None
        self.assertEqual(process.returncode, code, stdout + stderr)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
