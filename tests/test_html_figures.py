"""The page in a real browser: bars that tell what the tables tell, a click on a phase, less motion, paper."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import TESTS, Runner
from interpreters import interpreters
from test_html import MODULES, data, made_up, page, record

SECONDS = 1.5
COMPUTED = ("Computed, in Python", "Computed, in native code", "Starting interpreters and imports",
            "Pickling and moving data")  # fmt: skip


def look(path: Path, script: str = "page_figures.mjs") -> dict[str, Any]:
    command = ["node", *map(str, (TESTS / script, MODULES, path))]
    done = subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["messages"] == []
    return document


@pytest.fixture(scope="module")
def recording(allcores: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half the run asleep, half of it computing."""
    directory = tmp_path_factory.mktemp("figures")
    here = [one for one in interpreters() if not one.root and not one.free_threaded][-1]
    return record(allcores, directory, *Runner(allcores, directory).program(here, "phases_wait", SECONDS))


@pytest.fixture(scope="module")
def report(allcores: str, recording: Path) -> dict[str, Any]:
    shown = subprocess.run([allcores, "show", "--json", recording], check=True, stdout=subprocess.PIPE)
    document: dict[str, Any] = json.loads(shown.stdout)
    return document


@pytest.fixture(scope="module")
def seen(allcores: str, recording: Path) -> dict[str, Any]:
    return look(page(allcores, recording))


def test_where_the_cores_went(report: dict[str, Any], seen: dict[str, Any]) -> None:
    """The core-seconds are the CPUs' time, what was computed is the kernel's figure, and the bar is the table's."""
    rows = {name: (float(seconds), float(share)) for name, seconds, share in seen["cores"]}
    capacity = report["cpus"]["usable"] * report["wall_s"]
    assert float(seen["capacity"].split(" ")[0]) == pytest.approx(capacity, abs=0.01)
    assert sum(seconds for seconds, _ in rows.values()) == pytest.approx(capacity, rel=0.01)
    computed = sum(rows[name][0] for name in COMPUTED if name in rows)
    assert computed == pytest.approx(report["cpu_s"], abs=0.03)
    assert rows["Computed, in Python"][0] == pytest.approx(report["states_s"]["python"], rel=0.1)
    told = [one["share"] for one in seen["bars"] if one["in"] == "stack"]
    assert sum(told) == pytest.approx(100, abs=0.1)
    told, shares = sorted(told, reverse=True), sorted((share for _, share in rows.values()), reverse=True)
    assert told[: len(shares)] == pytest.approx(shares, abs=0.06)
    assert max(told[len(shares) :], default=0) <= 0.05  # no row for less than that


PICKLED = """
import sys, time
from multiprocessing.reduction import ForkingPickler
texts = [str(i) for i in range(200_000)]
def spend(work, seconds):
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        work()
    return time.thread_time() - start
def pickle():
    ForkingPickler.dumps(texts)
def compute():
    sum(range(10_000))
spent = spend(pickle, 1.2), spend(compute, 0.6)
open(sys.argv[1], "w").write("%f %f" % spent)
"""


def test_pickling_has_its_core_seconds(allcores: str, tmp_path: Path) -> None:
    """What the program itself counted, by its thread's clock."""
    script, told = tmp_path / "pickled.py", tmp_path / "told"
    script.write_text(PICKLED)
    here = [one for one in interpreters() if not one.root and not one.free_threaded][-1]
    recording = record(allcores, tmp_path, *here.command([str(script), str(told)]))
    rows = {name: float(seconds) for name, seconds, _ in look(page(allcores, recording))["cores"]}
    pickled, computed = map(float, told.read_text().split())
    assert rows["Pickling and moving data"] == pytest.approx(pickled, abs=0.12)
    assert rows["Computed, in Python"] == pytest.approx(computed, abs=0.12)


def test_told_without_colour(seen: dict[str, Any]) -> None:
    """Each look has a pattern of its own, on bars and lanes alike; only Python's is plain."""
    assert len(seen["marks"]) == len(set(seen["marks"])) == 14
    assert seen["marks"][0] == "" and all(seen["marks"][1:])
    assert {one["in"] for one in seen["bars"]} == {"stack", "key", "bar"}
    assert all(one["mark"] in seen["marks"] and one["stroke"] != "none" for one in seen["bars"])
    assert len(seen["tiles"]) == len(set(seen["tiles"])) > 1


def test_a_click_on_a_phase(report: dict[str, Any], seen: dict[str, Any]) -> None:
    """It takes the phase's range, looks at it, and tells the phase's own verdict."""
    assert len(seen["phases"]) == len(report["phases"]) > 1
    for clicked, phase in zip(seen["phases"], report["phases"], strict=True):
        from_ms, to_ms = 1e3 * phase["from_s"], 1e3 * phase["to_s"]
        for name in "tr":
            at = re.search(rf"\b{name}=([\d.]+),([\d.]+)", clicked["hash"])
            assert at and (float(at[1]), float(at[2])) == pytest.approx((from_ms, to_ms), abs=1)
        assert phase["sentence"] in clicked["range"]


def test_less_motion(seen: dict[str, Any]) -> None:
    """Played a step a second; the moment taken by hand is there at once; nothing is eased."""
    wall = seen["still_scrubbed"][1] * 4
    assert len(seen["played"]) > 3
    assert min(b - a for a, b in pairwise(seen["played"])) < 500
    steps = [b - a for a, b in pairwise(seen["still_played"])]
    assert seen["still_played"][0] == 0 and steps
    assert min(steps) >= min(1000, wall - seen["still_played"][-2]) - 1  # the sums are binary fractions
    assert (seen["eased"], seen["still_eased"]) == ("0.15s", "0s")
    shown = float(seen["still_scrubbed"][0].split(" ")[0])
    assert shown * (1 if " s wall" in seen["still_scrubbed"][0] else 1e-3) == pytest.approx(
        wall / 4e3, abs=0.01
    )


def test_on_paper(seen: dict[str, Any]) -> None:
    """When a phase was is still to be read; what can only be clicked is left out."""
    assert all(re.fullmatch(r"[\d.]+\u2013[\d.]+ s", text) for text in seen["paper"]["phases"])
    assert len(seen["paper"]["phases"]) > 1
    assert seen["paper"]["tools"] == 0
    assert seen["paper"]["runs"] == seen["paper"]["stacks"] == 1
    assert seen["pdf"] > 10_000


def test_on_paper_from_dark(allcores: str, recording: Path, tmp_path: Path) -> None:
    """The canvases are dark on white there, on every tab, and light on dark on the screen again after."""
    race = made_up(tmp_path, "4", "3", "3")
    for path, on_screen, on_paper in ((page(allcores, recording), 1, 1), (race, 3 + 1, 3 + 3)):
        seen = look(path, "page_paper.mjs")
        assert len(seen["screen"]) == on_screen and all(one["paper"] < 40 for one in seen["screen"])
        assert seen["after"] == seen["screen"]
        assert len(seen["printed"]) == len(seen["emulated"]) == on_paper
        printed = [*seen["printed"], *seen["emulated"]]
        assert all(one["darkest"] < 40 and one["paper"] == 255 for one in printed)


PINNED = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
end = time.monotonic() + float(sys.argv[2])
while time.monotonic() < end:
    sum(range(1000))
"""


def busy_ticks() -> dict[int, int]:
    """What each CPU has computed so far, by /proc/stat: all but idle and iowait."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if re.match(r"cpu\d", line)]
    return {int(one[0][3:]): sum(map(int, [*one[1:4], *one[6:9]])) for one in lines}


def test_where_other_programs_ran(allcores: str, tmp_path: Path) -> None:
    """A program pinned to one CPU beside another's loop on the next: that one's lane is hatched. The series tells
    what /proc/stat counted over the run."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU")
    script = tmp_path / "pinned.py"
    script.write_text(PINNED)
    here = [one for one in interpreters() if not one.root and not one.free_threaded][-1]
    other = subprocess.Popen([sys.executable, script, str(cpus[1]), "60"])
    try:
        before = busy_ticks()
        recording = record(allcores, tmp_path, *here.command([str(script), str(cpus[0]), "3"]))
        after = busy_ticks()
    finally:
        other.kill()
        other.wait()
    path = page(allcores, recording)
    run = data(path)
    ends = run["busy"]["ends"]
    assert ends == sorted(ends) and ends[-1] == pytest.approx(run["wall_ms"], abs=60)
    lengths = [b - a for a, b in pairwise([0, *ends])]
    told = {
        cpu: sum(share / 100 * ms for share, ms in zip(shares, lengths, strict=True)) / 1e3
        for cpu, *shares in run["busy"]["cpus"]
    }
    assert sorted(told) == cpus
    for cpu in cpus[:2]:
        counted = (after[cpu] - before[cpu]) / os.sysconf("SC_CLK_TCK")
        assert counted * 0.85 - 0.1 < told[cpu] < counted + 0.1
    seen = look(path)
    # Sampled along the lanes' middles: ours is plain blue, others' the dense hatching's grey.
    ours, others = seen["lanes"][0], seen["lanes"][1]
    assert others["others"] > 0.9 and others["python"] < 0.05
    lanes = [thread["lane"] for thread in run["threads"]]
    codes = [(lane[i + 1], lane[i + 2]) for lane in lanes for i in range(0, len(lane), 3)]
    steps = sum(length for length, code in codes if code % 10 == 0 and code // 50 - 1 == cpus[0])
    assert steps > 0
    assert ours["python"] == pytest.approx(steps * run["step_ms"] / run["wall_ms"], rel=0.15)


def test_others_have_their_core_seconds(allcores: str, tmp_path: Path) -> None:
    """A program that sleeps beside another's loop: the CPUs were others' or free, as /proc/stat counted."""
    cpus = sorted(os.sched_getaffinity(0))
    script = tmp_path / "pinned.py"
    script.write_text(PINNED)
    other = subprocess.Popen([sys.executable, script, str(cpus[-1]), "60"])
    try:
        before = busy_ticks()
        recording = record(allcores, tmp_path, sys.executable, "-c", "import time; time.sleep(3)")
        after = busy_ticks()
    finally:
        other.kill()
        other.wait()
    rows = {name: float(seconds) for name, seconds, _ in look(page(allcores, recording))["cores"]}
    counted = sum(after[cpu] - before[cpu] for cpu in cpus) / os.sysconf("SC_CLK_TCK")
    assert counted * 0.85 - 0.2 < rows["Other programs"] < counted + 0.1
    free = "Free while a thread waited for something else"
    assert rows[free] == pytest.approx(len(cpus) * 3 - rows["Other programs"], abs=0.4)
