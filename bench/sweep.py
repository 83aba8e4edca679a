"""Programs made by chance from a few figures, and how often `allcores why` is right about them:
python bench/sweep.py [count] [--seed N] [--seconds S] [--python EXE]... [--log FILE [--next N]] [-o TABLE.md].

With --log what is done is kept, so that a long run may be made in parts: call it with --next 20 until it says that
nothing is left. The table and the exit status are of all that is in the log. A case takes about 2.5 s.
Each case is a set of figures (threads, native share, wait share, task length, payload, noise of other programs)
whose verdict follows from how it is built. Between two verdicts (half native, half Python) either is right. What a
confidence is worth is the share of right answers among those that were given with it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from common import hogs, program, why

CPUS = len(os.sched_getaffinity(0))
Case = dict[str, Any]
Result = tuple[str, str, bool]  # the verdict, its confidence, is it right


def threads(dice: random.Random) -> tuple[Case, set[str]]:
    count = dice.choice([1, 1, 2, 3, 4, 6, 8])
    native = dice.choice([0, 0, 0.05, 0.2, 0.5, 0.8, 1, 1])
    wait = dice.choice([0, 0, 0, 0.1, 0.5, 0.9, 0.97])
    return {"mode": "threads", "count": count, "native": native, "wait": wait}, expected(count, native, wait)


def expected(count: int, native: float, wait: float) -> set[str]:
    """What is true of `count` threads of which each, with a CPU of its own, would spend these shares."""
    python, code = (1 - wait) * (1 - native), (1 - wait) * native
    demand = count * (1 - wait)
    if demand <= 0.2:
        return {"idle"}
    right = set()
    if count * python >= 1.2 and native <= 0.5:
        right.add("gil-bound-threads")
    if count >= 2 and native >= 0.5 and demand >= 1.2:
        right |= {"native-parallel", "all-cores-busy"} if native >= 0.8 else {"native-parallel", "unclear"}
    if count == 1 and python >= 0.4:
        right.add("single-thread-python")
    if count == 1 and code >= 0.4:
        right.add("single-thread-native")
    if demand <= 0.5:
        right |= {"idle", "unclear"}
    between = wait >= 0.4 or (count >= 2 and 0.2 < native < 0.9) or (count >= 2 and demand < 1.6)
    if between or not right:
        right |= {"unclear", "gil-bound-threads"} if count >= 2 else {"unclear"}
        right |= {"all-cores-busy"} if count * code + min(count * python, 1) >= CPUS - 0.2 else set()
        right |= {"idle"} if demand <= 0.45 else set()
    return right


def pool(dice: random.Random) -> tuple[Case, set[str]]:
    mode = dice.choice(["pool", "pool", "pool", "serial", "starved", "uneven"])
    case: Case = {"mode": mode, "count": 2, "payload": 0, "length": 0.02}
    if mode == "serial":
        case["length"] = dice.choice([0.01, 0.03, 0.1])
        return case, {"serial-pool-use"}
    if mode == "starved":
        case |= {"prepare": dice.choice([0.02, 0.05]), "length": dice.choice([0.001, 0.005])}
        return case, {"starved-pool"}
    if mode == "uneven":
        return case, {"uneven-tasks"}
    case["length"] = dice.choice([0, 0.00002, 0.001, 0.02, 0.05])
    case["payload"] = dice.choice([0, 0, 100, 4_000_000, 16_000_000])
    if case["payload"] >= 4_000_000:
        large = case["length"] >= 0.02
        return case, {"pickling", "all-cores-busy"} if large else {"pickling"}
    if case["length"] >= 0.02:
        return case, {"all-cores-busy"}
    return case, {"tiny-tasks", "all-cores-busy", "unclear"} if case["length"] >= 0.001 else {"tiny-tasks"}


def loop(dice: random.Random) -> tuple[Case, set[str]]:
    mode = dice.choice(["loop-sleep", "loop-compute", "loop-await"])
    length = dice.choice([0.06, 0.1, 0.2])
    case = {"mode": mode, "count": dice.choice([2, 5]), "length": length}
    return case, {"idle"} if mode == "loop-await" else {"blocked-event-loop"}


def lock(dice: random.Random) -> tuple[Case, set[str]]:
    return {"mode": "lock", "count": dice.choice([2, 4]), "length": dice.choice([0.005, 0.02])}, {
        "lock-contention"
    }


def make(dice: random.Random, seconds: float) -> tuple[Case, set[str], int]:
    kind = dice.choices([threads, pool, loop, lock], [5, 4, 2, 1])[0]
    case, right = kind(dice)
    noise = dice.choice([0, 0, 0, 2 * CPUS])
    right |= {"machine-busy"} if noise else set()  # it delays an idle program's start, too
    return {**case, "seconds": seconds}, right, noise


def judge(case: Case, right: set[str], noise: int, python: str) -> Result:
    """The verdict, its confidence and whether it is right. A run that others disturbed is made again."""
    for _ in range(2):
        with hogs(noise) if noise else nullcontext():
            report, _ = why(program("sweep", json.dumps(case), python=python))
        verdict = report["verdict"]
        others = report["cpus"]["others_used"] or 0
        if noise or others < 0.25:
            break
    disturbed = not noise and others >= 0.25 and verdict["id"] == "machine-busy"
    return verdict["id"], verdict["confidence"], verdict["id"] in right or disturbed


def cases(options: argparse.Namespace) -> list[tuple[Case, set[str], int, str]]:
    """All of a run, with the interpreter of each: the same for the same options."""
    dice = random.Random(options.seed)
    made = [make(dice, options.seconds) for _ in range(options.count)]
    pythons = options.python or [sys.executable]
    return [(*one, pythons[i % len(pythons)]) for i, one in enumerate(made)]


def measured(log: Path | None, of: str) -> list[Result]:
    """What earlier calls of the same run have found."""
    if log is None or not log.exists():
        return []
    first, *lines = log.read_text().splitlines()
    if first != of:
        raise SystemExit(f"{log} is of another run: {first}")
    return [tuple(json.loads(line)) for line in lines]


def table(results: list[Result]) -> str:
    lines = ["| confidence | cases | right | share |", "|---|---|---|---|"]
    for confidence in ("sure", "likely", "a guess"):
        these = [right for _, given, right in results if given == confidence]
        if these:
            share = 100 * sum(these) / len(these)
            lines.append(f"| {confidence} | {len(these)} | {sum(these)} | {share:.0f} % |")
    good = sum(right for _, _, right in results)
    lines.append(f"| all | {len(results)} | {good} | {100 * good / len(results):.0f} % |")
    counts = Counter(name for name, _, _ in results)
    told = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    return "\n".join([*lines, "", f"Verdicts given: {told}."])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--python", action="append", help="what runs the programs; several: in turns")
    parser.add_argument("--log", type=Path, metavar="FILE", help="keep what is done there, and go on from it")
    parser.add_argument("--next", type=int, default=sys.maxsize, metavar="N", help="stop after so many more")
    parser.add_argument("-o", metavar="FILE", help="write the table there, too")
    options = parser.parse_args()
    of = json.dumps([options.count, options.seed, options.seconds, options.python])
    results = measured(options.log, of)
    if options.log and not results:
        options.log.write_text(of + "\n")
    for case, right, noise, python in cases(options)[len(results) :][: options.next]:
        result = judge(case, right, noise, python)
        results.append(result)
        if options.log:
            with options.log.open("a") as log:
                log.write(json.dumps(result) + "\n")
        print(f"{len(results):4} {result[0]}, {result[1]}", file=sys.stderr, flush=True)
        if not result[2]:
            print(
                f"{json.dumps(case)} noise {noise}: {result[0]}, {result[1]}; not {sorted(right)}", flush=True
            )
    text = table(results)
    print(text)
    if options.o:
        Path(options.o).write_text(text + "\n")
    if len(results) < options.count:
        print(f"{options.count - len(results)} of {options.count} are left")
        return 0
    sure = [right for _, given, right in results if given == "sure"]
    wrong = 1 - sum(sure) / len(sure) if sure else 0
    return 1 if wrong > 0.02 or sum(right for _, _, right in results) < 0.95 * len(results) else 0


if __name__ == "__main__":
    sys.exit(main())
