"""Where the thread-seconds go, on every version: programs that are in a known state by construction."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import Report, Runner, parametrize
from interpreters import Interpreter

SECONDS = 1.2


def average(report: Report, state: str) -> float:
    """Threads in a state on average over the run."""
    return float(report["states_s"][state] / report["wall_s"])


def lifetimes_add_up(report: Report) -> None:
    """All states of a thread sum to the time that it lived, which no thread outlives."""
    for thread in report["threads"]:
        assert sum(thread["states_s"].values()) <= thread["threads"] * report["wall_s"] * 1.001 + 0.001


@parametrize()
def test_bytecode_in_threads(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "gil_threads", SECONDS, 4))
    lifetimes_add_up(report)
    process = max(report["processes"], key=lambda one: one["cpu_s"])
    assert process["python"].startswith(f"{python.version[0]}.{python.version[1]}.")
    assert process["free_threaded"] == python.free_threaded
    if python.free_threaded:
        assert report["states_s"]["gil_wait"] == 0
        assert average(report, "python") > 1.2
    else:
        assert report["states_s"]["gil_wait"] > 2 * report["states_s"]["python"]
        assert average(report, "python") > 0.6
    assert report["states_s"]["native"] < 0.1 * report["states_s"]["python"]
    top = next(one for one in report["top"] if one["state"] == "python")
    assert top["function"] == "crunch"
    assert top["file"].endswith("gil_threads.py")
    assert 12 <= top["line"] <= 17


@parametrize()
def test_native_code(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "hash_threads", SECONDS, 2))
    lifetimes_add_up(report)
    on_cpu = report["states_s"]["python"] + report["states_s"]["native"]
    assert report["states_s"]["native"] > 0.85 * on_cpu
    assert report["states_s"]["gil_wait"] < 0.05 * on_cpu


@parametrize()
def test_waits(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "waits", SECONDS))
    lifetimes_add_up(report)
    assert report["states_s"]["io"] == pytest.approx(2 * SECONDS, rel=0.15)
    assert report["states_s"]["sleep"] == pytest.approx(2 * SECONDS, rel=0.15)  # the main thread sleeps too
    assert report["states_s"]["lock"] == pytest.approx(SECONDS, rel=0.2)
    assert report["states_s"]["gil_wait"] < 0.05


@parametrize("3.8", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15")
def test_c_functions_that_keep_the_gil(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "gil_c_function", SECONDS))
    split = report["python_s"]
    assert split["c_function"] > 0.7 * (split["c_function"] + split["bytecode"])


@parametrize("3.8", "3.11", "3.13", "3.14", "3.15")
def test_bytecode_is_not_a_c_function(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "single_python", SECONDS))
    split = report["python_s"]
    assert split["bytecode"] > 0.8 * (split["c_function"] + split["bytecode"])


@parametrize("3.8", "3.11", "3.13", "3.15")
def test_a_mixture(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "half_native", 2.0, 0.5))
    truth = float(report["stdout"])
    native = report["states_s"]["native"] / (report["states_s"]["native"] + report["states_s"]["python"])
    assert native == pytest.approx(truth, abs=0.12)  # one run on a noisy machine; bench/ holds it to 0.02


@parametrize("3.12", "3.13", "3.14", "3.15")
def test_interpreters_have_gils_of_their_own(run: Runner, python: Interpreter) -> None:
    report = run.why(run.program(python, "interpreters", SECONDS))
    assert average(report, "python") > 1.2
    assert report["states_s"]["gil_wait"] < 0.1 * report["states_s"]["python"]


def test_holder_and_waiter_are_named(run: Runner, here: Interpreter) -> None:
    report = run.why(run.program(here, "gil_threads", SECONDS, 4))
    most = report["gil"][0]
    assert (most["holder"], most["waiter"]) == ("crunch", "crunch")
    assert most["seconds"] > 0.5 * report["states_s"]["gil_wait"]


@pytest.mark.parametrize("denied", ["perf_event_open", "perf_event_open,sched_setscheduler"])
def test_in_a_sandbox_without_the_ring(run: Runner, here: Interpreter, denied: str) -> None:
    report = run.why(run.program(here, "gil_threads", SECONDS, 4), denied=denied)
    assert not report["sampling"]["exact_switches"]
    assert "no_ring" in report["limits"]
    lifetimes_add_up(report)
    assert report["states_s"]["gil_wait"] > 2 * report["states_s"]["python"]
    assert report["states_s"]["native"] < 0.15 * report["states_s"]["python"]
    report = run.why(run.program(here, "hash_threads", SECONDS, 2), denied=denied)
    assert report["states_s"]["native"] > 0.85 * report["cpu_s"]
    report = run.why(run.program(here, "waits", SECONDS), denied=denied)
    assert report["states_s"]["io"] == pytest.approx(2 * SECONDS, rel=0.15)


def test_in_a_sandbox_that_forbids_reading_memory(run: Runner, here: Interpreter) -> None:
    report = run.why(run.program(here, "gil_threads", SECONDS, 4), denied="process_vm_readv")
    assert "no_ptrace" in report["limits"]
    assert report["states_s"]["python"] == 0
    assert report["verdict"]["id"] != "gil-bound-threads"
    assert report["cpu_s"] > 0.6 * SECONDS


EARLIER = """
import threading, time
def work():
    while time.thread_time() < 0.5:
        sum(range(1000))
    print("done", flush=True)
    time.sleep(2)
thread = threading.Thread(target=work)
thread.start()
thread.join()
time.sleep(2)
"""


def test_what_was_used_before_is_not_counted(run: Runner) -> None:
    """A thread that computed, waits when it is attached to, and ends between two looks."""
    target = subprocess.Popen([sys.executable, "-c", EARLIER], stdout=subprocess.PIPE)
    try:
        assert target.stdout and target.stdout.readline() == b"done\n"
        report = run.attach(target.pid, "-d", "3")
    finally:
        target.kill()
        target.communicate()
    assert report["cpu_s"] < 0.2
