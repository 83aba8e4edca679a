"""Runs the before and the after program of each page in docs/verdicts under `allcores why` and prints the figures:
python bench/verdict_pages.py [ID...] [--write]. --write puts them into the pages. Exits 1 when a "before" does not get
the verdict that its page is about.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from common import COMMAND, ROOT, Report, median
from pages import DIRECTORY, Program, page_ids, page_text, programs
from quota import quota

CPUS = len(os.sched_getaffinity(0))
RUNS = 3


class NotHere(Exception):
    """Something that a page needs is not on this machine."""


def command_of(program: Program, stack: contextlib.ExitStack) -> tuple[list[str], list[str]]:
    """What to start before the probe, and the program's own command."""
    *beside, command = program.command.split(" & ")
    for other in beside:
        running = subprocess.Popen(other.split(), stdout=subprocess.DEVNULL)  # outside of what is watched
        stack.callback(running.wait)
        stack.callback(running.kill)
    words = shlex.split(command)
    prefix: list[str] = []
    if words[0] == "systemd-run":  # the group it would make, made here, since containers have no systemd
        percent = next(word for word in words if word.startswith("CPUQuota="))
        tasks = stack.enter_context(quota(float(percent[9:-1]) / 100))
        if not tasks:
            raise NotHere("a cgroup with a quota")
        prefix = ["sh", "-c", f'echo $$ > "{tasks}" && exec "$@"', "sh"]
        words = words[words.index("python") :]
    words = [sys.executable if word == "python" else word for word in words]
    if not shutil.which(words[0]):
        raise NotHere(words[0])
    return prefix, words


def run(program: Program) -> Report:
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        prefix, words = command_of(program, stack)
        Path(directory, f"{program.name}.py").write_text(program.text)
        path = Path(directory, "report.json")
        subprocess.run(
            [*prefix, COMMAND, "why", "-q", "-o", str(path), "--", *words],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        report: Report = json.loads(path.read_text())
        return report


def run_alone(page: str, program: Program) -> Report:
    """A run that other programs disturbed says little and is made again."""
    for _ in range(5):
        report = run(program)
        if page == "machine-busy" or (report["cpus"]["others_used"] or 0) < 0.2:
            break
    return report


def told(page: str, reports: list[Report]) -> str:
    """The page's own id where it was told beside another, else the most frequent verdict."""
    names = Counter(one["verdict"]["id"] for one in reports)
    besides = sum(page in [also["id"] for also in one["also"]] for one in reports)
    if names[page] == 0 and besides > len(reports) / 2:
        return page
    return names.most_common(1)[0][0]


def python_of(report: Report) -> str:
    """The version of Python of the busiest process."""
    process = max((one for one in report["processes"] if one["python"]), key=lambda one: one["cpu_s"])
    return f"CPython {process['python']}{'t' if process['free_threaded'] else ''}"


def measure(page: str) -> tuple[str, bool]:
    """The figures in words, and whether "before" gets the page's verdict."""
    reports = {one.name: [run_alone(page, one) for _ in range(RUNS)] for one in programs(page)}
    seconds = {name: median([one["wall_s"] for one in these]) for name, these in reports.items()}
    verdicts = {name: told(page, these) for name, these in reports.items()}
    ratio = seconds["before"] / seconds["after"]
    gain = f": {ratio:.2g} times faster" if ratio >= 1.05 else ""
    text = (
        f"Measured ({python_of(reports['before'][0])}, {CPUS} CPUs): before {seconds['before']:.2f} s, "
        f"`{verdicts['before']}`; after {seconds['after']:.2f} s, `{verdicts['after']}`{gain}."
    )
    return text, verdicts["before"] == page


def write(page: str, figures: str) -> None:
    head = page_text(page).split("\nMeasured (")[0].rstrip("\n")
    lines = textwrap.fill(figures, 78, break_long_words=False, break_on_hyphens=False)
    (DIRECTORY / f"{page}.md").write_text(f"{head}\n\n{lines}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("id", nargs="*")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    good = True
    for page in options.id or page_ids():
        try:
            figures, right = measure(page)
        except NotHere as missing:
            print(f"{page}: not measured, without {missing}", flush=True)
            continue
        good = good and right
        print(f"{page}: {figures}{'' if right else '  WRONG'}", flush=True)
        if options.write:
            write(page, figures)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
