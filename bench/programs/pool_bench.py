"""Measures of our process pool beside the standard one, in one process: python pool_bench.py MEASURE... prints
JSON, {measure: {figure: [[peer, ours], ...]}}. Seconds unless the name says otherwise."""

from __future__ import annotations

import asyncio
import concurrent.futures as cf
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import allcores

Pairs = dict[str, list[list[float]]]
WORKERS = 2
now = time.perf_counter


def same(x: Any) -> Any:
    return x


def crunch(n: int) -> int:
    total = 0
    for i in range(n):
        total += i * i % 7
    return total


def peer() -> Any:
    return cf.ProcessPoolExecutor(WORKERS, mp_context=multiprocessing.get_context("forkserver"))


def ours() -> Any:
    return allcores.ProcessPoolExecutor(WORKERS)


def warm(pool: Any) -> Any:
    """All workers are up and have the function."""
    list(pool.map(same, range(200), chunksize=1))
    for future in [pool.submit(time.sleep, 0.05) for _ in range(2 * WORKERS)]:
        future.result()
    return pool


def timed(job: Callable[[Any], object], pool: Any) -> float:
    began = now()
    job(pool)
    return now() - began


def paired(job: Callable[[Any], object], times: int) -> list[list[float]]:
    with warm(peer()) as a, warm(ours()) as b:
        job(b)
        return [[timed(job, a), timed(job, b)] for _ in range(times)]


def in_flight(items: list[Any]) -> Callable[[Any], object]:
    def job(pool: Any) -> None:
        futures = [pool.submit(same, item) for item in items]
        for future in futures:
            future.result()

    return job


def submit(times: int) -> Pairs:
    atoms = [i if i % 2 else f"item {i}" for i in range(20_000)]
    dicts = [{"id": i, "name": "x"} for i in range(20_000)]
    return {"atoms": paired(in_flight(atoms), times), "dicts": paired(in_flight(dicts), times)}


def trips(pool: Any, count: int, pause: float) -> list[float]:
    taken = []
    for i in range(count):
        if pause:
            time.sleep(pause)
        began = now()
        pool.submit(same, i).result()
        taken.append(now() - began)
    return taken


def cpu_ns(pids: list[int]) -> int:
    return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in pids)


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def round_trip(times: int) -> Pairs:
    found: Pairs = {"dense": [], "sparse": [], "sparse worker us": []}
    with warm(peer()) as a, warm(ours()) as b:
        for _ in range(times):
            found["dense"].append([median(trips(a, 300, 0)), median(trips(b, 2000, 0))])
            pids = [list(pool._processes) for pool in (a, b)]
            sparse, cost = [], []
            for pool, workers in zip((a, b), pids, strict=True):
                before = cpu_ns(workers)
                sparse.append(median(trips(pool, 300, 0.001)))
                cost.append((cpu_ns(workers) - before) / 300 / 1e3)
            found["sparse"].append(sparse)
            found["sparse worker us"].append(cost)
    return found


def maps(times: int) -> Pairs:
    dicts = [{"id": i, "name": "x"} for i in range(100_000)]
    found: Pairs = {"ints": [], "dicts": []}
    with warm(peer()) as a, warm(ours()) as b:
        for _ in range(times):
            for name, items in (("ints", range(1_000_000)), ("dicts", dicts)):
                x = timed(lambda pool, items=items: sum(1 for _ in pool.map(same, items, chunksize=1000)), a)
                y = timed(lambda pool, items=items: sum(1 for _ in pool.map(same, items)), b)
                found[name].append([x, y])
    return found


def make(size: int) -> bool:
    """Keep an array in the worker, on a module: functions of __main__ go by value and have no globals in common."""
    import numpy

    sys.kept = numpy.ones(size, "u1")  # type: ignore[attr-defined]
    return True


def give(_: int) -> Any:
    return sys.kept  # type: ignore[attr-defined]


def size_of(array: Any) -> int:
    return int(array.nbytes)


def calm(job: Callable[[Any], object], pool: Any) -> float:
    """The time of a job on its own: the pool before it may still be giving its memory back."""
    time.sleep(0.05)
    return timed(job, pool)


def both_ways(array: Any, pool: Any) -> list[float]:
    time.sleep(0.05)
    return [timed(lambda pool: pool.submit(same, array).result(), pool) for _ in range(100)]


def arrays(times: int) -> Pairs:
    import numpy

    big, small = numpy.ones(128 << 20, "u1"), numpy.ones(1 << 20, "u1")
    found: Pairs = {"first": [], "argument": [], "result": [], "1 MB": []}
    pools = [warm(peer()), warm(ours())]
    found["first"].append([calm(lambda pool: pool.submit(size_of, big).result(), pool) for pool in pools])
    for pool in pools:
        for future in [pool.submit(make, 128 << 20) for _ in range(8)]:
            future.result()
    for _ in range(4):
        for pool in pools:
            pool.submit(size_of, big).result()
            pool.submit(give, 0).result()
    for _ in range(times):
        found["argument"].append(
            [calm(lambda pool: pool.submit(size_of, big).result(), pool) for pool in pools]
        )
        found["result"].append([calm(lambda pool: pool.submit(give, 0).result(), pool) for pool in pools])
        found["1 MB"].append([median(both_ways(small, pool)) for pool in pools])
    for pool in pools:
        pool.shutdown()
    return found


def completion(times: int) -> Pairs:
    def completed(pool: Any) -> None:
        for future in cf.as_completed([pool.submit(same, i) for i in range(10_000)]):
            future.result()

    def gathered(pool: Any) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            await asyncio.gather(*(loop.run_in_executor(pool, same, i) for i in range(10_000)))

        asyncio.run(main())

    return {"as_completed": paired(completed, times), "asyncio": paired(gathered, times)}


FRESH = {
    "peer": "import concurrent.futures as c, multiprocessing as m\n"
    "p = c.ProcessPoolExecutor(2, mp_context=m.get_context('forkserver'))",
    "ours": "import allcores\np = allcores.ProcessPoolExecutor(2)",
}


def fresh(kind: str) -> float:
    code = f"import time; t = time.perf_counter()\n{FRESH[kind]}\np.submit(abs, -1).result()\n"
    code += "print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def second(make_pool: Callable[[], Any]) -> float:
    began = now()
    pool = make_pool()
    pool.submit(abs, -1).result()
    taken = now() - began
    pool.shutdown()
    return taken


def starts(times: int) -> Pairs:
    first = [[fresh("peer"), fresh("ours")] for _ in range(times)]
    for make_pool in (peer, ours):
        second(make_pool)
    return {"first": first, "second": [[second(peer), second(ours)] for _ in range(times)]}


def pss(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / len(pids)


def memory(times: int) -> Pairs:
    with warm(peer()) as a, warm(ours()) as b:
        for future in [b.submit(lambda: time.sleep(0.05)) for _ in range(2 * WORKERS)]:
            future.result()
        return {"pss KiB": [[pss(list(a._processes)), pss(list(b._processes))]]}


def two_processes(n: int) -> float:
    context = multiprocessing.get_context("fork")
    began = now()
    halves = [context.Process(target=lambda: [crunch(n) for _ in range(4)]) for _ in range(2)]
    for one in halves:
        one.start()
    for one in halves:
        one.join()
    return now() - began


def chunks(times: int) -> Pairs:
    n = 4_000_000
    with warm(ours()) as pool:
        list(pool.map(crunch, [1000] * 8))
        return {
            "chunks": [
                [two_processes(n), timed(lambda p: list(p.map(crunch, [n] * 8)), pool)] for _ in range(7)
            ]
        }


def switches(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            text = (task / "status").read_text()
            total += sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)
    return total


def idle(times: int) -> Pairs:
    """Context switches of the workers, the zygote and our own helper threads in 10 s."""
    pool = warm(ours())
    from allcores import _spawn

    time.sleep(0.5)
    pids = [*pool._processes, _spawn._current.pid]  # type: ignore[union-attr]
    own = [f"/proc/self/task/{tid}" for tid in os.listdir("/proc/self/task") if int(tid) != os.getpid()]

    def count() -> float:
        texts = [Path(task, "status").read_text() for task in own]
        mine = sum(
            int(line.split()[1]) for text in texts for line in text.splitlines() if "ctxt_switches" in line
        )
        return switches(pids) + mine

    before = count()
    time.sleep(10)
    found = count() - before
    pool.shutdown()
    return {"switches": [[0, found]]}


def hold(size: int) -> None:
    data = bytearray(size)
    data[::4096] = b"x" * len(data[::4096])
    time.sleep(60)


def death(times: int) -> Pairs:
    found = []
    for _ in range(min(times, 3)):
        pool = ours()
        future = pool.submit(hold, 2 << 30)
        pids: list[int] = []
        while not pids:
            pids = [pid for pid in pool._processes if pss([pid]) > 2 << 20]
            time.sleep(0.05)
        began = now()
        os.kill(pids[0], signal.SIGKILL)
        try:
            future.result()
        except allcores.WorkerDied:
            found.append([0.0, now() - began])
        pool.shutdown()
    return {"2 GB": found}


def threads(times: int) -> Pairs:
    """Our ThreadPoolExecutor beside the standard one."""
    found: Pairs = {"submit": [], "map": [], "auto": []}
    jobs: dict[str, Callable[[Any], object]] = {
        "submit": in_flight(list(range(20_000))),
        "map": lambda pool: list(pool.map(same, range(20_000))),
    }
    with cf.ThreadPoolExecutor(4) as a, allcores.ThreadPoolExecutor(4) as b:
        for name, job in jobs.items():
            job(a)
            job(b)
            found[name] = [[timed(job, a), timed(job, b)] for _ in range(times)]
        with allcores.ThreadPoolExecutor("auto") as auto:
            jobs["submit"](auto)
            found["auto"] = [[timed(jobs["submit"], a), timed(jobs["submit"], auto)] for _ in range(times)]
    return found


def load(times: int) -> Pairs:
    """Just tasks, for strace: the number of them is the argument behind the measure's name."""
    with ours() as pool:
        in_flight(list(range(int(os.environ["TASKS"]))))(pool)
    return {}


MEASURES: dict[str, Callable[[int], Pairs]] = {
    one.__name__: one
    for one in (
        submit,
        round_trip,
        maps,
        arrays,
        completion,
        starts,
        memory,
        chunks,
        idle,
        death,
        threads,
        load,
    )
}


def main() -> Iterator[tuple[str, Pairs]]:
    times = int(os.environ.get("TIMES", "5"))
    for name in sys.argv[1:]:
        yield name, MEASURES[name](times)


if __name__ == "__main__":
    print(json.dumps(dict(main())))
