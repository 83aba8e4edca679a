"""The process pool beside the standard one (forkserver) in the same process, and what it claims of itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from common import ROOT, Row, median
from extension import Package, package_for, supported

NUMPY = "--only-binary=:all: --implementation=cp --no-deps --quiet --disable-pip-version-check"
Pairs = dict[str, list[list[float]]]


def package(program: str = "pool_bench.py") -> Package:
    """The newest version that numpy has been built for, with numpy."""
    python = max(
        (one for one in supported() if not one.free_threaded and one.version <= (3, 14)),
        key=lambda one: one.version,
    )
    found = package_for(python)
    place = Path(python.root + found.path)
    if not (place / "numpy").exists():
        pip = [sys.executable, "-m", "pip", "install", *NUMPY.split(), "--target", str(place), "numpy"]
        subprocess.run([*pip, f"--python-version={python.name}"], check=True)
    shutil.copy(ROOT / "bench" / "programs" / program, place)
    subprocess.run(python.command(["-m", "compileall", "-q", found.path]), check=False)
    return found


def measure(pool: Package, times: int, name: str) -> Pairs:
    """Pairs (standard pool, ours) of one measure of programs/pool_bench.py."""
    done = pool.run(
        f"{pool.path}/pool_bench.py",
        name,
        timeout=900,
        TIMES=str(times),
        PYTHONDONTWRITEBYTECODE="",
        PYTHONUNBUFFERED="",
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    pairs: Pairs = json.loads(done.stdout)[name]
    return pairs


def ours(pairs: list[list[float]]) -> float:
    return median([pair[1] for pair in pairs])


def times_faster(pairs: list[list[float]]) -> float:
    return median([pair[0] / pair[1] for pair in pairs])


def speed_up(what: str, pairs: list[list[float]], bound: float, unit: str = "ms", scale: float = 1e3) -> Row:
    """A row whose bound is a ratio to the standard pool's time."""
    ratio = times_faster(pairs)
    peer = median([pair[0] for pair in pairs])
    figures = f"{ratio:.1f}x ({scale * peer:.4g} against {scale * ours(pairs):.4g} {unit})"
    return Row(f"pool: {what}", f"at least {bound:g}x", figures, ratio >= bound)


def system_calls(pool: Package, tasks: int) -> int:
    """Of all threads and processes, from start to end."""
    counts = ROOT / "build" / "strace.txt"
    command = pool.python.command([f"{pool.path}/pool_bench.py", "load"])
    strace = ["strace", "-f", "-c", "-o", str(counts), *command]
    subprocess.run(strace, env=pool.environ(TASKS=str(tasks)), check=True, stdout=subprocess.DEVNULL)
    total = next(line for line in counts.read_text().splitlines() if line.endswith("total"))
    return int(total.split()[-2])


def tasks(pool: Package, times: int) -> list[Row]:
    submit = measure(pool, times, "submit")
    trips = measure(pool, times, "round_trip")
    maps = measure(pool, times, "maps")
    completion = measure(pool, times, "completion")
    threads = measure(pool, times, "threads")
    worker = ours(trips["sparse worker us"])
    return [
        speed_up("20,000 no-ops in flight, ints and strings", submit["atoms"], 100),
        speed_up("the same, small dicts", submit["dicts"], 35),
        speed_up("round trip, back to back", trips["dense"], 100, "us", 1e6),
        speed_up("round trip, 1 ms of sleep between", trips["sparse"], 8, "us", 1e6),
        Row("pool: CPU of the worker for one of those", "at most 20 us", f"{worker:.1f} us", worker <= 20),
        speed_up("map of a no-op over 1e6 ints, standard chunksize 1000", maps["ints"], 6),
        speed_up("map of a no-op over 1e5 small dicts", maps["dicts"], 3),
        speed_up("ThreadPoolExecutor: 20,000 no-ops in flight", threads["submit"], 5),
        speed_up("ThreadPoolExecutor: map of 20,000 no-ops", threads["map"], 5),
        speed_up('ThreadPoolExecutor("auto"): 20,000 no-ops in flight', threads["auto"], 5),
        speed_up("as_completed over 10,000 no-ops", completion["as_completed"], 10),
        speed_up("asyncio: run_in_executor, gather of 10,000", completion["asyncio"], 4),
    ]


def arrays(pool: Package, times: int) -> list[Row]:
    found = measure(pool, times, "arrays")
    rows = []
    for name, bound in (("argument", 40), ("result", 35)):
        row = speed_up(f"128 MB ndarray as {name}, warm", found[name], bound)
        speed = 0.134217728 / ours(found[name])
        row.bound += " or 15 GB/s"
        row.measured += f", {speed:.1f} GB/s"
        row.met = row.met or speed >= 15
        rows.append(row)
    return [
        *rows,
        speed_up("the very first 128 MB", found["first"], 5),
        speed_up("1 MB ndarray there and back", found["1 MB"], 20),
    ]


def whole(pool: Package, times: int) -> list[Row]:
    starts = measure(pool, times, "starts")
    memory = measure(pool, times, "memory")["pss KiB"]
    chunks = measure(pool, times, "chunks")["chunks"]
    share = min(peer for peer, _ in chunks) / min(mine for _, mine in chunks)
    switches = ours(measure(pool, times, "idle")["switches"])
    death = ours(measure(pool, times, "death")["2 GB"])
    pss = memory[0][1] / memory[0][0]
    return [
        speed_up("fresh interpreter to the first result", starts["first"], 4),
        speed_up("a second pool in the same interpreter", starts["second"], 5),
        Row("pool: memory per idle worker (PSS), a lambda sent", "at most 0.45", f"{pss:.2f}", pss <= 0.45),
        Row(
            "pool: 8 chunks of Python work, 2 workers, against two plain processes",
            "at least 98 %",
            f"{100 * share:.1f} %",
            share >= 0.98,
        ),
        Row("pool: context switches of an idle pool in 10 s", "0", f"{switches:.0f}", switches == 0),
        Row(
            "pool: WorkerDied after the SIGKILL of a worker of 2 GB",
            "at most 10 ms",
            f"{1e3 * death:.1f} ms",
            death <= 0.01,
        ),
    ]


def run(quick: bool) -> list[Row]:
    pool = package()
    times = 3 if quick else 7
    few, many = 20_000, 120_000
    calls = (system_calls(pool, many) - system_calls(pool, few)) / (many - few)
    return [
        *tasks(pool, times),
        Row("pool: system calls a no-op task, under load", "below 0.05", f"{calls:.4f}", calls < 0.05),
        *arrays(pool, times),
        *whole(pool, times),
    ]
