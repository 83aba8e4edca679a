"""What sampling costs, in percent of a core, with stacks; CPython's own sampler and py-spy beside it."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

from common import COMMAND, ROOT, Row, median, program, why
from interpreters import Interpreter, interpreters

SECONDS = 4
SHAPES: list[tuple[int, int, str, float]] = [
    (10, 4, "", 1.5),
    (200, 4, "", 3.0),
    (200, 4, "perf_event_open", 7.0),
    (200, 50, "", 10.0),
]


def ours(threads: int, busy: int, denied: str) -> float:
    shares = []
    for _ in range(3):
        report, _ = why(program("busy", SECONDS, threads, busy), "-r", "200", denied=denied)
        shares.append(100 * report["sampling"]["sampler_cpu_s"] / report["wall_s"])
    return median(shares)


def cpu_of(command: list[str]) -> float:
    """CPU seconds of a command and what it started."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def attached(sampler: list[str], target: list[str]) -> float:
    """Percent of a core that a sampler uses on a target, which {pid} in its command stands for."""
    process = subprocess.Popen(target)
    time.sleep(0.5)
    spent = cpu_of([word.replace("{pid}", str(process.pid)) for word in sampler])
    process.wait()
    return 100 * spent / SECONDS


def newest() -> Interpreter | None:
    found = [one for one in interpreters() if one.version == (3, 15) and not one.free_threaded]
    return found[0] if found else None


def cpython_sampler() -> Row:
    name = "cost: CPython 3.15's profiling.sampling at 1 kHz, 10 threads of which 4 busy"
    python = newest()
    if python is None:
        return Row(name, "-", "no CPython 3.15 here")
    script = python.script(Path("bench"), "busy.py", (ROOT / "bench" / "programs" / "busy.py").read_text())
    target = python.command([script, str(SECONDS + 1.5), "10", "4"])
    if python.root and not Path(python.root, "proc", "self").exists():
        subprocess.run(["mount", "--bind", "/proc", f"{python.root}/proc"], check=True)
    options = f"-m profiling.sampling attach -a -r 1khz -d {SECONDS} --collapsed -o /tmp/out.collapsed"
    sampler = python.command([*options.split(), "{pid}"])
    theirs = median([attached(sampler, target) for _ in range(3)])
    mine = median(
        [attached([COMMAND, "why", "-q", "-d", str(SECONDS), "-p", "{pid}"], target) for _ in range(3)]
    )
    return Row(
        f"{name}: ours at 200 Hz on the same target",
        "at most 40 % of it",
        f"{mine:.1f} % against {theirs:.1f} % of a core",
        theirs > 0 and mine <= 0.4 * theirs,
    )


def py_spy() -> Row:
    name = "cost: py-spy at 200 Hz, 10 threads of which 4 busy"
    command = shutil.which("py-spy") or str(Path(sys.executable).parent / "py-spy")
    if not Path(command).exists():
        return Row(name, "-", "py-spy is not installed")
    sampler = [command, "record", "-r", "200", "-d", str(SECONDS), "--nonblocking", "-f", "raw"]
    spent = attached([*sampler, "-o", "/dev/null", "--pid", "{pid}"], program("busy", SECONDS + 1.5, 10, 4))
    return Row(name, "-", f"{spent:.1f} % of a core")


def run(quick: bool) -> list[Row]:
    rows = []
    for threads, busy, denied, bound in SHAPES[:1] if quick else SHAPES:
        share = ours(threads, busy, denied)
        ring = "without the ring" if denied else "with the ring"
        rows.append(
            Row(
                f"cost: {threads} threads of which {busy} busy, 200 Hz, {ring}",
                f"under {bound} % of a core",
                f"{share:.2f} %",
                share < bound,
            )
        )
    return rows if quick else [*rows, cpython_sampler(), py_spy()]
