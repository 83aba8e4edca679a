"""The whole tree in one picture: children, threads and processes too short to be sampled, execs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Report, Runner, parametrize
from interpreters import Interpreter

SECONDS = 1.2


def python_processes(report: Report) -> list[Report]:
    return [one for one in report["processes"] if one["python"]]


@parametrize("3.8", "3.11", "3.13", "3.15")
def test_children_are_followed_and_read(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "busy_processes", SECONDS, 2))
    workers = [one for one in python_processes(report) if one["cpu_s"] > 0.3]
    assert len(workers) == 2
    root = next(one for one in report["processes"] if one["pid"] == workers[0]["ppid"])
    assert root["from_s"] < workers[0]["from_s"] < workers[0]["to_s"] <= report["wall_s"] + 0.01
    tops = {one["function"] for one in report["top"] if one["state"] == "python"}
    assert "burn" in tops


def test_children_can_be_left_out(run: Runner, here: Interpreter) -> None:
    report = run.why(run.program(here, "busy_processes", SECONDS, 2), "--no-children")
    assert len(report["processes"]) == 1
    assert report["cpu_s"] < 0.5


def test_commands_that_are_not_python_count(run: Runner, here: Interpreter) -> None:
    report = run.why(run.program(here, "busy_commands", SECONDS))
    shells = [one for one in report["processes"] if not one["python"] and one["cpu_s"] > 0.3]
    assert len(shells) == len(os.sched_getaffinity(0))
    assert report["states_s"]["native"] > 0.8 * sum(one["cpu_s"] for one in shells)


@parametrize("3.9", "3.13", "3.15")
def test_threads_too_short_to_sample_are_in_the_total(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "short_threads", SECONDS))
    assert report["cpu_s"] == pytest.approx(float(report["stdout"]), rel=0.05, abs=0.03)
    assert sum(one["threads"] for one in report["threads"]) > 100


@parametrize("3.9", "3.13", "3.15")
def test_processes_too_short_to_sample_are_in_the_total(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "short_processes", SECONDS))
    assert report["cpu_s"] == pytest.approx(float(report["stdout"]), rel=0.05, abs=0.03)


def test_a_shim_that_becomes_python(run: Runner, here: Interpreter) -> None:
    program = " ".join(run.program(here, "single_python", SECONDS))
    report = run.why(["sh", "-c", f"sleep 0.1; exec {program}"])
    assert [one["python"] != "" and one["python"] is not None for one in report["processes"]].count(True) == 1
    assert any(one["function"] == "score" for one in report["top"])


def test_one_python_replaced_by_another(run: Runner, here: Interpreter, tmp_path: Path) -> None:
    first = tmp_path / "first.py"
    first.write_text(
        "import os, sys, time\n"
        "def before():\n"
        "    end = time.monotonic() + 0.5\n"
        "    while time.monotonic() < end: pass\n"
        "before()\n"
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])\n"
    )
    program = run.program(here, "single_python", SECONDS)
    report = run.why([*here.command([str(first)]), *program[len(here.prefix) :]])
    functions = {one["function"] for one in report["top"] if one["state"] == "python"}
    assert {"before", "score"} <= functions


@parametrize("3.9", "3.11", "3.14")
def test_modules_at_one_address(run: Runner, python: Interpreter) -> None:
    """Modules that run and are freed, one after another, mostly at the same address: each has its own time."""
    recording = run.directory / "modules.folded"
    command = run.program(python, "modules")
    subprocess.run([run.command, "why", "-q", "-o", str(recording), "--", *command], check=True, timeout=60)
    lines = recording.read_text().splitlines()
    for number in range(20):
        samples = [int(line.split()[-1]) for line in lines if f"made_up_{number}.py:" in line]
        assert sum(samples) >= 3, number  # of 40 ms at 200 Hz


def test_start_up_and_imports_are_told_apart(run: Runner, here: Interpreter) -> None:
    report = run.why(here.command(["-c", "import asyncio, email.mime.text, unittest, http.server, decimal"]))
    activity = max(report["processes"], key=lambda one: one["cpu_s"])["activity_s"]
    assert activity["import"] + activity["start_up"] > 0.6 * sum(activity.values())


def test_pickling_is_told_apart(run: Runner, here: Interpreter, tmp_path: Path) -> None:
    script = tmp_path / "pickles.py"
    script.write_text(
        "import time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "DATA = [{str(i): i} for i in range(60000)]\n"
        "def measure(data):\n"
        "    return len(data)\n"
        "if __name__ == '__main__':\n"
        "    with ProcessPoolExecutor(2) as executor:\n"
        "        for _ in range(12):\n"
        "            executor.submit(measure, DATA).result()\n"
    )
    report = run.why(here.command([str(script)]))
    work = sum(one["activity_s"]["work"] for one in report["processes"])
    moved = sum(one["activity_s"]["pickle"] + one["activity_s"]["ipc"] for one in report["processes"])
    assert moved > work


def test_attach_to_a_running_process(run: Runner, here: Interpreter) -> None:
    target = subprocess.Popen(run.program(here, "gil_threads", 30, 3))
    try:
        time.sleep(0.3)
        report = run.attach(target.pid, "-d", "1")
    finally:
        target.kill()
        target.wait()
    assert report["target"]["exit_code"] is None
    assert report["verdict"]["id"] == "gil-bound-threads"
    assert report["wall_s"] == pytest.approx(1, abs=0.2)


def test_an_interpreter_that_cannot_be_read_says_so(run: Runner) -> None:
    old = sorted((Path.home() / ".pyenv" / "versions").glob("3.7.*/bin/python3"))
    if not old:
        pytest.skip("no CPython 3.7 here")
    report = run.why([str(old[-1]), "-c", "sum(range(30_000_000))"])
    process = max(report["processes"], key=lambda one: one["cpu_s"])
    assert "3.7" in process["note"]
    assert "unknown_python" in report["limits"]
    assert report["cpu_s"] > 0.2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a PID namespace")
@parametrize("3.8", "3.10", "3.11", "3.12")
def test_another_pid_namespace(run: Runner, python: Interpreter) -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", *run.program(python, "gil_threads", SECONDS, 3)]
    report = run.why(command)
    assert report["verdict"]["id"] == "gil-bound-threads"
    assert "other_namespace" not in report["limits"]
    assert any(one["function"] == "crunch" for one in report["top"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_without_rights_the_kernels_clocks_still_speak(run: Runner, here: Interpreter, allcores: str) -> None:
    target = subprocess.Popen(run.program(here, "gil_threads", 30, 3))
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    try:
        time.sleep(0.3)
        command = Path(allcores).read_bytes()
        copy = Path("/tmp") / f"allcores-nobody-{os.getpid()}"  # where nobody may reach it
        copy.write_bytes(command)
        copy.chmod(0o755)
        done = subprocess.run(
            [*nobody, str(copy), "why", "-d", "1", "--pid", str(target.pid)],
            capture_output=True,
            text=True,
            timeout=60,
            cwd="/",
        )
        copy.unlink()
    finally:
        target.kill()
        target.wait()
    assert done.returncode == 0, done.stderr
    for way in ("ptrace_scope", "SYS_PTRACE", "sudo"):
        assert way in done.stderr
    assert "were on a CPU" in " ".join(done.stderr.split())
    assert "gil-bound" not in done.stderr


def test_python_dash_m_is_the_same_command(allcores: str) -> None:
    python = Path(allcores).parent / "python"
    if not python.exists():
        pytest.skip("the command is not an installed one")
    done = subprocess.run([python, "-m", "allcores", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("allcores ")
    assert sys.version_info >= (3, 11)
