"""The JSON report: as its schema says, and its sums hold."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest
from conftest import Report, Runner
from interpreters import Interpreter

SCHEMA = json.loads((Path(__file__).parent.parent / "docs" / "report.schema.json").read_text())


def check(report: Report) -> None:
    report = {key: value for key, value in report.items() if key != "stdout"}
    jsonschema.validate(report, SCHEMA, cls=jsonschema.Draft202012Validator)
    for state, seconds in report["states_s"].items():
        rows = sum(one["states_s"][state] for one in report["threads"])
        assert rows == pytest.approx(seconds, abs=1e-3)
        tops = sum(one["seconds"] for one in report["top"] if one["state"] == state)
        assert tops <= seconds * 1.001 + 1e-3
    assert sum(report["python_s"].values()) == pytest.approx(report["states_s"]["python"], abs=1e-2)
    assert report["cpus"]["used"] == pytest.approx(report["cpu_s"] / report["wall_s"], rel=1e-3)
    assert len(report["threads"]) <= 256


@pytest.mark.parametrize(
    ("program", "args"),
    [
        ("gil_threads", (1, 4)),
        ("busy_processes", (1, 2)),
        ("waits", (0.5,)),
        ("sleeper", (0,)),
        ("short_threads", (1,)),
    ],
)
def test_a_launched_program(run: Runner, here: Interpreter, program: str, args: tuple[object, ...]) -> None:
    command = run.program(here, program, *args)
    report = run.why(command)
    check(report)
    assert report["target"]["argv"] == command
    assert report["target"]["exit_code"] == 0


def test_more_threads_than_rows(run: Runner, here: Interpreter) -> None:
    code = (
        "import threading, time\n"
        "threads = [threading.Thread(target=time.sleep, args=(1,)) for _ in range(400)]\n"
        "for one in threads: one.start()\n"
        "for one in threads: one.join()\n"
    )
    report = run.why(here.command(["-c", code]))
    check(report)
    assert sum(one["threads"] for one in report["threads"]) >= 401
    assert report["states_s"]["sleep"] > 300


def test_a_program_that_fails_or_is_killed(run: Runner) -> None:
    report = run.why(["sh", "-c", "exit 3"], check=False)
    check(report)
    assert (report["target"]["exit_code"], report["target"]["exit_signal"]) == (3, None)
    report = run.why(["sh", "-c", "kill -9 $$"], check=False)
    check(report)
    assert (report["target"]["exit_code"], report["target"]["exit_signal"]) == (None, 9)


def test_attached_and_degraded(run: Runner, here: Interpreter) -> None:
    target = subprocess.Popen(run.program(here, "gil_threads", 20, 3))
    try:
        check(run.attach(target.pid, "-d", "0.5"))
    finally:
        target.kill()
        target.wait()
    check(run.why(run.program(here, "gil_threads", 1, 3), denied="process_vm_readv,perf_event_open"))


def test_names_that_are_not_utf8(run: Runner, here: Interpreter, tmp_path: Path) -> None:
    script = tmp_path / "odd \u202e\x1b[31m name.py"
    script.write_text("sum(range(20_000_000))")
    check(run.why([*here.command([str(script)]), b"\xff\xfe".decode("utf-8", "surrogateescape")]))
