"""The verdicts on programs that have them by construction, and the near misses that must not."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Report, Runner, parametrize
from interpreters import Interpreter, interpreters
from quota import quota

SECONDS = 1.6
# Every verdict is shown on each of these, save
#   gil-reenabled, which only a free-threaded build can have: on 3.14t;
#   cpu-quota, live where a cgroup of version 1 can be written; version 2 by the trees of tests/c/test_cpus.c.
VERSIONS = ("3.9", "3.11", "3.13", "3.14", "3.15")
TWO_CPUS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU: nothing to gain anywhere")

PROGRAMS = [
    ("gil-bound-threads", "gil_threads", (SECONDS, 4)),
    ("gil-bound-threads", "gil_pool", (SECONDS,)),
    ("single-thread-python", "single_python", (SECONDS,)),
    ("single-thread-python", "single_python_idle_pool", (SECONDS,)),
    ("single-thread-native", "single_native", (SECONDS,)),
    ("single-thread-native", "single_native_zip", (SECONDS,)),
    ("native-parallel", "hash_threads", (SECONDS, 2)),
    ("native-parallel", "hash_threads", (SECONDS, 8)),
    ("native-parallel", "zip_pool", (SECONDS,)),
    ("all-cores-busy", "busy_processes", (SECONDS,)),
    ("all-cores-busy", "busy_commands", (SECONDS,)),
    ("idle", "sleeper", (SECONDS,)),
    ("idle", "queue_worker", (SECONDS,)),
    ("idle", "idle_server", (SECONDS,)),
    ("idle", "idle_reader", (SECONDS,)),
    ("io-sequential", "io_urllib", (SECONDS,)),
    ("io-sequential", "io_one_thread", (SECONDS,)),
    ("io-sequential", "io_socket", (SECONDS,)),
    ("io-sequential", "io_urllib", (4.2, 0.7)),  # an answer takes so long
    ("idle", "idle_answers", (4.2,)),
    ("io-threads-ok", "io_pool", (SECONDS,)),
    ("io-threads-ok", "io_threads", (SECONDS,)),
    ("disk-bound", "disk_fsync", (SECONDS,)),
    ("disk-bound", "disk_read", (SECONDS,)),
    ("lock-contention", "lock_native", (SECONDS,)),
    ("lock-contention", "lock_rlock_io", (SECONDS,)),
    ("lock-contention", "lock_rlock_elsewhere", (SECONDS,)),
    ("native-parallel", "lock_brief", (SECONDS,)),
    ("oversubscribed", "oversubscribed", (SECONDS,)),
    ("oversubscribed", "oversubscribed_zip", (SECONDS,)),
    ("tiny-tasks", "tiny_submit", (SECONDS,)),
    ("tiny-tasks", "tiny_map", (SECONDS,)),
    ("pickling", "pickle_arguments", (SECONDS,)),
    ("pickling", "pickle_results", (SECONDS,)),
    ("starved-pool", "starved_submit", (SECONDS,)),
    ("starved-pool", "starved_imap", (SECONDS,)),
    ("uneven-tasks", "uneven_tasks", (SECONDS,)),
    ("uneven-tasks", "uneven_chunks", (SECONDS,)),
    ("serial-pool-use", "serial_result", (SECONDS,)),
    ("serial-pool-use", "serial_apply", (SECONDS,)),
    ("start-up", "start_spawn", (SECONDS,)),
    ("start-up", "start_pools", (SECONDS,)),
    ("all-cores-busy", "good_pool", (2 * SECONDS,)),  # a slow start is a small part of it
    ("blocked-event-loop", "loop_sleep", (SECONDS,)),
    ("blocked-event-loop", "loop_urllib", (SECONDS,)),
    ("idle", "loop_idle", (SECONDS,)),
    ("idle", "loop_threads", (SECONDS,)),
    ("idle", "loop_pool", (SECONDS,)),
    ("serial-awaits", "await_loop", (SECONDS,)),
    ("serial-awaits", "await_pages", (SECONDS,)),
    ("serial-awaits", "await_tasks", (SECONDS,)),
    ("serial-awaits", "await_loop", (4.2, 0.7)),
    ("idle", "loop_asked", (4.2,)),
    ("too-short", "sleeper", (0,)),
    ("too-short", "single_python", (0.01,)),
    ("too-short", "hash_threads", (0.05, 2)),
    ("unclear", "part_time", (SECONDS,)),
    ("unclear", "part_native", (SECONDS,)),
    ("single-thread-python", "single_python_json", (SECONDS,)),
]

# Further programs of these verdicts, on every version in the long tests only.
MORE_PROGRAMS: list[tuple[object, ...]] = [
    ("io-sequential", "io_socket", (4.2, 0.7)),
    ("io-sequential", "io_one_thread", (7, 2)),
    ("idle", "idle_polls", (4.2,)),
    ("serial-awaits", "await_tasks", (4.2, 0.7)),
    ("serial-awaits", "await_pages", (7, 2)),
    ("idle", "loop_polls", (4.2,)),
    ("tiny-tasks", "tiny_imap", (SECONDS,)),
    ("tiny-tasks", "tiny_numbers", (SECONDS,)),
    ("pickling", "pickle_bytes", (SECONDS,)),
    ("starved-pool", "starved_merge", (SECONDS,)),
    ("uneven-tasks", "uneven_native", (SECONDS,)),
    ("serial-pool-use", "serial_get", (SECONDS,)),
    ("start-up", "start_commands", (SECONDS,)),
    ("disk-bound", "disk_sqlite", (SECONDS,)),
    ("oversubscribed", "oversubscribed_commands", (SECONDS,)),
    ("io-threads-ok", "io_queue", (SECONDS,)),
    ("lock-contention", "lock_acquire", (SECONDS,)),
    ("blocked-event-loop", "loop_compute", (SECONDS,)),
    ("unclear", "part_children", (SECONDS,)),
    ("single-thread-native", "single_native_key", (SECONDS,)),
    ("gil-bound-threads", "gil_c_function", (SECONDS,)),
]


def spread(
    *names: str, cases: Sequence[tuple[object, ...]], more: Sequence[tuple[object, ...]] = ()
) -> Callable[[Any], Any]:
    """Each case on every version, of which all but one, in turn, are long ones; of `more` all are."""
    here = [one for one in interpreters() if one.name in VERSIONS]
    params = []
    for i, case in enumerate([*cases, *more]):
        for j, python in enumerate(here):
            marks = [] if i < len(cases) and i % len(here) == j else [pytest.mark.long]
            name = "-".join(map(str, case))
            params.append(pytest.param(python, *case, id=f"{name}-py{python.name}", marks=marks))
    return pytest.mark.parametrize(("python", *names), params)


@TWO_CPUS
@spread("verdict", "program", "args", cases=PROGRAMS, more=MORE_PROGRAMS)
def test_verdict(
    run: Runner, python: Interpreter, verdict: str, program: str, args: tuple[object, ...]
) -> None:
    report = run.why_alone(run.program(python, program, *args))
    assert report["verdict"]["id"] == verdict, report["verdict"]


@spread("program", cases=[("lock_rlock_elsewhere",)])
def test_an_rlock_says_who_has_it(run: Runner, python: Interpreter, program: str) -> None:
    evidence = run.why(run.program(python, program, SECONDS))["verdict"]["evidence"]
    assert re.search(r"who had it, by the RLock itself, was in (Cache\.)?refresh ", evidence), evidence


@TWO_CPUS
@spread("program", cases=[("hash_threads",), ("busy_processes",), ("zip_pool",)])
def test_pinned(run: Runner, python: Interpreter, program: str) -> None:
    command = run.program(python, program, SECONDS, *([] if program == "zip_pool" else [2]))
    report = run.why_alone(["taskset", "-c", "0", *command])
    assert report["verdict"]["id"] == "pinned", report["verdict"]
    assert report["cpus"]["affinity"] == 1


@TWO_CPUS
@spread("program", cases=[("single_python",), ("single_native",), ("sleeper",)])
def test_what_needs_one_cpu_is_not_pinned(run: Runner, python: Interpreter, program: str) -> None:
    assert "pinned" not in ids(run.why_alone(["taskset", "-c", "0", *run.program(python, program, SECONDS)]))


def ids(report: Report) -> list[str]:
    return [report["verdict"]["id"], *(one["id"] for one in report["also"])]


@spread("program", cases=[("await_gather",)])
def test_awaits_side_by_side(run: Runner, python: Interpreter, program: str) -> None:
    assert "serial-awaits" not in ids(run.why(run.program(python, program, SECONDS)))


@spread(
    "verdict",
    "program",
    cases=[("serial-pool-use", "good_results"), ("pickling", "good_payload")],
)
def test_a_pool_used_well(run: Runner, python: Interpreter, verdict: str, program: str) -> None:
    assert verdict not in ids(run.why(run.program(python, program, SECONDS)))


def any_verdict(report: Report, name: str) -> Report:
    """The verdict of that id, main or further one."""
    found: list[Report] = [one for one in (report["verdict"], *report["also"]) if one["id"] == name]
    assert found, report["verdict"]
    return found[0]


@spread(
    "program",
    "call",
    "coroutine",
    cases=[
        ("loop_sleep", "handle (loop_sleep.py:9) slept for", ""),  # the coroutine itself sleeps
        ("loop_urllib", "fetch (loop_urllib.py:11) slept for", "ask (loop_urllib.py:17)"),
        ("loop_compute", "render (loop_compute.py:", "request (loop_compute.py:16)"),
    ],
)
def test_the_blocking_call_is_named(
    run: Runner, python: Interpreter, program: str, call: str, coroutine: str
) -> None:
    evidence = any_verdict(run.why(run.program(python, program, SECONDS)), "blocked-event-loop")["evidence"]
    assert evidence.startswith(call), evidence
    assert ("slept for" if "slept" in call else "computed for") in evidence
    assert ("under the coroutine" in evidence) is bool(coroutine)
    assert coroutine in evidence


@spread("program", cases=[("await_next",)])
def test_awaits_that_depend_on_each_other_are_not_sure(
    run: Runner, python: Interpreter, program: str
) -> None:
    """Each page tells where the next one is: no run shows that, so the verdict is never "sure"."""
    report = run.why(run.program(python, program, SECONDS))
    told = [one for one in (report["verdict"], *report["also"]) if one["id"] == "serial-awaits"]
    assert all(one["confidence"] in ("likely", "a guess") for one in told)
    assert all(one["fix"]["text"].startswith("if they do not depend on each other") for one in told)


@spread(
    "program",
    "hazard",
    cases=[
        ("fork_threads", True),
        ("fork_pool", True),
        ("fork_executors", True),
        ("busy_processes", False),
        ("busy_commands", False),
        ("tiny_submit", False),
    ],
)
def test_fork_hazard(run: Runner, python: Interpreter, program: str, hazard: bool) -> None:
    report = run.why(run.program(python, program, SECONDS))
    assert ("fork-hazard" in ids(report)) is hazard
    assert report["verdict"]["id"] != "fork-hazard"


@spread("library", "hazard", cases=[("libcuda.so.1", True), ("libcudart.so.12", False)])
def test_a_fork_with_cuda(
    run: Runner, python: Interpreter, tmp_path: Path, library: str, hazard: bool
) -> None:
    """CUDA's driver is loaded at its first use; its runtime library alone, which that is in, does nothing yet."""
    seen = python.script(tmp_path, library, "")
    (tmp_path / "empty.c").write_text("int nothing;")
    subprocess.run(["cc", "-shared", "-fPIC", tmp_path / "empty.c", "-o", python.root + seen], check=True)
    report = run.why(run.program(python, "fork_cuda", SECONDS, seen))
    assert ("fork-hazard" in ids(report)) is hazard
    if hazard:
        finding = any_verdict(report, "fork-hazard")
        assert finding["sentence"].startswith("A process with CUDA loaded forked")
        assert finding["evidence"].endswith("libcuda.so was mapped in 2 of them from their beginning")


@parametrize("3.14t")
@pytest.mark.parametrize("program", ["gil_threads", "gil_pool", "queue_worker"])
@pytest.mark.parametrize("gil", ["0", "1"])
def test_gil_reenabled(run: Runner, python: Interpreter, program: str, gil: str) -> None:
    args = (SECONDS, 4) if program == "gil_threads" else (SECONDS,)
    report = run.why(["env", f"PYTHON_GIL={gil}", *run.program(python, program, *args)])
    assert ("gil-reenabled" in ids(report)) is (gil == "1")


MODULE = """
#include <Python.h>
static PyModuleDef_Slot slots[] = {%s {0, NULL}};
static PyModuleDef def = {PyModuleDef_HEAD_INIT, .m_name = "native_part", .m_slots = slots};
PyMODINIT_FUNC PyInit_native_part(void) { return PyModuleDef_Init(&def); }
"""
DECLARED = "{Py_mod_gil, Py_MOD_GIL_NOT_USED},"


def build_module(python: Interpreter, directory: Path, slots: str) -> None:
    """An extension module native_part with these slots, for this interpreter."""
    ask = "import sysconfig as s; print(s.get_path('include'), s.get_config_var('EXT_SUFFIX'))"
    include, suffix = subprocess.check_output(python.command(["-c", ask]), text=True).split()
    source = directory / "native_part.c"
    source.write_text(MODULE % slots)
    target = directory / f"native_part{suffix}"
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{include}", source, "-o", target], check=True)


def program_with_module(run: Runner, python: Interpreter, directory: Path, slots: str = "") -> list[str]:
    """The command line of four threads under the GIL, in a program that imports native_part among others."""
    build_module(python, directory, slots)
    command = run.program(python, "gil_threads", SECONDS, 4)
    program = directory / "gil_threads.py"
    program.write_text("import json, native_part, sqlite3\n" + program.read_text())
    return command


def gil_finding(report: Report) -> str:
    """The sentence of gil-reenabled, "" where it is not among the findings."""
    return "".join(one["sentence"] for one in report["also"] if one["id"] == "gil-reenabled")


@parametrize("3.14t")
@pytest.mark.parametrize(("slots", "named"), [("", True), (DECLARED, False)], ids=["undeclared", "declared"])
def test_the_module_that_enabled_the_gil_is_named(
    run: Runner, python: Interpreter, tmp_path: Path, slots: str, named: bool
) -> None:
    report = run.why(program_with_module(run, python, tmp_path, slots))
    finding, module = gil_finding(report), "the extension module native_part"
    assert finding.endswith(f"{module} enabled it" if named else "") and bool(finding) is named
    assert report["processes"][0]["gil_enabled_by"] == (module if named else None)


@parametrize("3.14t")
def test_an_environment_that_is_ignored_enables_no_gil(
    run: Runner, python: Interpreter, tmp_path: Path
) -> None:
    exe, *rest = program_with_module(run, python, tmp_path)
    finding = gil_finding(run.why(["env", "PYTHON_GIL=1", exe, "-sE", *rest]))
    assert finding.endswith("the extension module native_part enabled it")


@parametrize("3.14t")
@pytest.mark.parametrize("by", ["PYTHON_GIL=1", "-X gil=1"])
def test_a_gil_that_was_asked_for_is_no_modules_fault(
    run: Runner, python: Interpreter, tmp_path: Path, by: str
) -> None:
    exe, *rest = program_with_module(run, python, tmp_path)
    start = ["env", by, exe] if by[0] != "-" else [exe, *by.split()]
    assert gil_finding(run.why([*start, *rest])).endswith(f": {by} enabled it")


@TWO_CPUS
@spread(
    "program",
    "phases",
    cases=[
        ("phases_three", ["single-thread-python", "gil-bound-threads", "all-cores-busy"]),
        ("phases_wait", ["idle", "single-thread-python"]),
        ("phases_native", ["native-parallel", "single-thread-python"]),
        ("single_python", ["single-thread-python"]),
        ("gil_pool", ["gil-bound-threads"]),
    ],
)
def test_phases(run: Runner, python: Interpreter, program: str, phases: list[str]) -> None:
    report = run.why_alone(run.program(python, program, SECONDS))
    assert [one["id"] for one in report["phases"]] == phases
    assert report["phases"][0]["from_s"] == 0
    assert report["phases"][-1]["to_s"] == pytest.approx(report["wall_s"], abs=1e-3)
    for one, next_one in zip(report["phases"], report["phases"][1:], strict=False):
        assert one["to_s"] == next_one["from_s"]
    assert report["verdict"]["id"] in phases
    assert report["verdict"]["id"] not in ("all-cores-busy", "native-parallel", "idle")


@TWO_CPUS
@parametrize("3.11")
def test_most_of_the_run_speaks_where_the_whole_is_unclear(run: Runner, python: Interpreter) -> None:
    """It waits for a fifth of its time, then all CPUs compute."""
    cpus = len(os.sched_getaffinity(0))
    report = run.why_alone(run.program(python, "busy_processes", 2.4 * SECONDS, cpus, 0.6 * SECONDS))
    assert [one["id"] for one in report["phases"]] == ["idle", "all-cores-busy"]
    assert report["verdict"]["id"] == "all-cores-busy", report["verdict"]
    start, wall = report["phases"][1]["from_s"], report["wall_s"]
    assert report["verdict"]["evidence"].endswith(f"from {start:.1f} s to {wall:.1f} s of {wall:.1f} s")


@TWO_CPUS
@parametrize("3.11")
def test_code_that_a_library_makes_is_not_the_users(run: Runner, python: Interpreter, tmp_path: Path) -> None:
    """What exec() made in a "<string>" ran for a moment, and a library all the time: it is not named."""
    library = tmp_path / "site-packages" / "library.py"
    library.parent.mkdir()
    library.write_text(
        "import time\ndef work(seconds):\n    end = time.monotonic() + seconds\n"
        "    while time.monotonic() < end: pass\n"
        f"made = {{'work': work}}\nexec('def call(seconds):\\n    work(seconds)', made)\n"
        f"made['call'](0.01 * {SECONDS})\nwork({SECONDS})\n"
    )
    verdict = run.why_alone(python.command([str(library)]))["verdict"]
    assert verdict["id"] == "single-thread-python"
    assert verdict["evidence"].startswith("installed code ran for"), verdict


@pytest.mark.long
@TWO_CPUS
@parametrize("3.9", "3.11", "3.14")
def test_small_tasks_are_no_pickling_for_a_while(run: Runner, python: Interpreter, tmp_path: Path) -> None:
    """Long enough that some seconds of it look otherwise: the workers' and the parent's shares go up and down."""
    lines = "import multiprocessing\ndef square(n): return n * n\nif __name__ == '__main__':\n"
    lines += " with multiprocessing.Pool(2) as pool: print(sum(pool.imap(square, range(150_000))))\n"
    script = python.script(tmp_path, "squares.py", lines)
    for _ in range(3):
        report = run.why_alone(python.command([script]))
        assert [one["id"] for one in report["phases"]] == ["tiny-tasks"], report["verdict"]


@pytest.fixture
def run_in_half_a_cpu(allcores: str, tmp_path: Path) -> Iterator[Runner]:
    """Runs the command and what it starts in a cgroup with half a CPU; tests/c/test_cpus.c has trees of version 2."""
    with quota(0.5) as tasks:
        if not tasks:
            pytest.skip("no cpu controller of cgroups that may be written")
        command = tmp_path / "allcores"
        command.write_text(f'#!/bin/sh\necho $$ > "{tasks}" && exec "{allcores}" "$@"\n')
        command.chmod(0o755)
        yield Runner(str(command), tmp_path)


@TWO_CPUS
@spread(
    "verdict",
    "program",
    "args",
    cases=[
        ("cpu-quota", "busy_processes", (SECONDS, 2)),
        ("cpu-quota", "hash_threads", (SECONDS, 2)),
        ("cpu-quota", "gil_pool", (SECONDS,)),
        ("idle", "sleeper", (SECONDS,)),
    ],
)
def test_quota(
    run_in_half_a_cpu: Runner, python: Interpreter, verdict: str, program: str, args: tuple[object, ...]
) -> None:
    run = run_in_half_a_cpu
    report = run.why_alone(run.program(python, program, *args))
    assert report["verdict"]["id"] == verdict, report["verdict"]


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """Other programs that want CPUs."""
    running = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        time.sleep(0.2)
        yield
    finally:
        for one in running:
            one.kill()
            one.wait()


@TWO_CPUS
@spread("program", cases=[("busy_processes",), ("hash_threads",), ("good_pool",)])
def test_machine_busy(run: Runner, python: Interpreter, program: str) -> None:
    with hogs(2 * len(os.sched_getaffinity(0))):
        report = run.why(run.program(python, program, SECONDS, *([] if program == "good_pool" else [2])))
    assert report["verdict"]["id"] == "machine-busy", report["verdict"]


def test_one_thread_on_a_busy_machine_is_no_gil_problem(run: Runner, here: Interpreter) -> None:
    with hogs(2 * len(os.sched_getaffinity(0))):
        report = run.why(run.program(here, "single_python", SECONDS))
    told = [report["verdict"]["id"], *(one["id"] for one in report["also"])]
    assert "gil-bound-threads" not in told


@TWO_CPUS
def test_the_fix_names_the_users_own_lines(run: Runner, here: Interpreter) -> None:
    report = run.why_alone(run.program(here, "gil_pool", SECONDS))
    verdict = report["verdict"]
    assert "transform (gil_pool.py:" in verdict["evidence"]
    assert "ProcessPoolExecutor(max_workers=4) as executor:" in verdict["fix"]["code"]
    assert verdict["fix"]["file"].endswith("gil_pool.py")
    assert verdict["fix"]["line"] == 22
    assert 1 < verdict["estimate"]["speedup"] <= report["cpus"]["usable"]
    assert "estimate" in verdict["fix"]["text"]


@TWO_CPUS
def test_the_loop_is_named(run: Runner, here: Interpreter) -> None:
    report = run.why_alone(run.program(here, "single_python", SECONDS))
    verdict = report["verdict"]
    assert "score (single_python.py:" in verdict["evidence"]
    assert "main (single_python.py:20)" in verdict["evidence"]
    assert "executor.map(score, items)" in verdict["fix"]["code"]


@TWO_CPUS
@parametrize("3.14t")
def test_free_threaded_threads_fill_the_cpus(run: Runner, python: Interpreter) -> None:
    report = run.why_alone(run.program(python, "gil_threads", SECONDS, 2))
    assert report["verdict"]["id"] == "all-cores-busy", report["verdict"]


@TWO_CPUS
@parametrize("3.14t")
def test_a_gil_that_came_back_is_found(run: Runner, python: Interpreter) -> None:
    report = run.why_alone(["env", "PYTHON_GIL=1", *run.program(python, "gil_threads", SECONDS, 4)])
    process = max(report["processes"], key=lambda one: one["cpu_s"])
    assert (process["free_threaded"], process["gil_enabled"]) == (True, True)
    assert report["verdict"]["id"] == "gil-bound-threads"
    assert "free-threaded" in report["verdict"]["fix"]["text"]
    assert report["verdict"]["fix"]["diff"] is None  # to processes, that would be
