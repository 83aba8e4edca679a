"""AutoExecutor, told nothing, beside the standard pools in the same process (bench/programs/auto_executor_bench.py)."""

from __future__ import annotations

import json

from common import Row, median

from pool import package

Figures = dict[str, list[float]]


def ratio(found: Figures, peer: str) -> float:
    """Ours against the peer's, of the medians of pairs."""
    return median([mine / theirs for mine, theirs in zip(found["ours"], found[peer], strict=True)])


def row(what: str, found: Figures, peers: list[str], bound: float) -> Row:
    """Against the best of these peers; the others are shown beside."""
    best = min(peers, key=lambda peer: median(found[peer]))
    figure = ratio(found, best)
    times = ", ".join(f"{name} {median(seconds):.3g} s" for name, seconds in found.items())
    return Row(
        f"AutoExecutor: {what}, against {best}",
        f"at most {bound:g}",
        f"{figure:.2f} ({times})",
        figure <= bound,
    )


def run(quick: bool) -> list[Row]:
    where = package("auto_executor_bench.py")
    done = where.run(f"{where.path}/auto_executor_bench.py", timeout=900, TIMES="3" if quick else "7")
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Figures] = json.loads(done.stdout)
    threads, pools = ["threads", "64 threads"], ["64 threads", "processes"]
    return [
        row("20,000 no-ops", found["no-op"], threads, 1),
        row("60 calls of 10 ms of bytecode", found["bytecode"], ["2 threads", "processes"], 1.1),
        row("the same from cold", found["bytecode, cold"], ["2 threads", "processes"], 1.1),
        row("400 waits of 10 ms", found["waits"], threads, 1.1),
        row("40 of bytecode and 200 waits", found["mixture"], pools, 1),
        row("the same, the right pool for each by hand", found["mixture"], ["by hand"], 1.25),
        row("the same from cold", found["mixture, cold"], pools, 1),
        row("the same from cold, by hand", found["mixture, cold"], ["by hand"], 1.25),
    ]
