"""What takes minutes: a long run costs no more memory than a short one, and the bench runs to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TESTS, Runner
from interpreters import Interpreter

pytestmark = pytest.mark.long

# Ever new threads, processes, functions and depths: all that the profile keeps rows of.
CHURN = """
import os, sys, threading, time
until = time.monotonic() + float(sys.argv[1])
def make(i):
    scope = {}
    source = f"def f{i}(n):\\n  return f{i}(n - 1) if n else sum(range(3000))"
    exec(compile(source, f"m{i}.py", "exec"), scope)
    return scope[f"f{i}"]
i = 0
while time.monotonic() < until:
    i += 1
    threads = [threading.Thread(target=make(i), args=(i % 90,), name=f"t{i}") for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    if i % 20 == 0 and os.fork() == 0:
        os._exit(0)
    if i % 20 == 0:
        os.wait()
"""


def peak_kib(command: list[str]) -> int:
    """Peak resident memory of the command itself (its program is another process), KiB."""
    pid = os.posix_spawn(command[0], command, os.environ)
    peak = 0
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        text = Path(f"/proc/{pid}/status").read_text()
        peak = max([peak, *(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM"))])
        time.sleep(0.2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return peak


def test_memory_does_not_grow_with_the_run(run: Runner, here: Interpreter, tmp_path: Path) -> None:
    script = here.script(tmp_path, "churn.py", CHURN)
    peaks = {}
    for seconds in (20, 80):
        output = str(tmp_path / f"{seconds}.allcores")
        target = here.command([script, str(seconds)])
        peaks[seconds] = peak_kib([run.command, "why", "-q", "-r", "5khz", "-o", output, "--", *target])
    assert peaks[80] < 256 * 1024
    assert peaks[80] < 2.5 * peaks[20] + 16 * 1024, "four times the run, four times the memory"


def test_the_bench_runs_to_its_end(allcores: str, tmp_path: Path) -> None:
    """Every measure gives its figures; whether they meet their bounds is for an idle machine to say."""
    rows = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, TESTS.parent / "bench" / "run.py", "--quick", "-o", rows],
        env={**os.environ, "ALLCORES_BIN": allcores},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode in (0, 1), done.stderr
    assert len(json.loads(rows.read_text())) >= 7  # one a measure
