"""The page, in a real browser: what it says, each interaction, no harm from names, and its size."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import TESTS, Runner
from interpreters import interpreters

MODULES = Path(os.environ.get("ALLCORES_NODE", TESTS.parent / ".venv" / "web"))
KB = 1024

HOSTILE = "</script><img src=x onerror=alert(1)>\u2028\x1b[31m"


def record(allcores: str, directory: Path, *command: str | Path) -> Path:
    recording = directory / "run.allcores"
    subprocess.run([allcores, "why", "-q", "-o", recording, "--", *command], check=True, timeout=60)
    return recording


def page(allcores: str, recording: Path, *options: str) -> Path:
    path = recording.with_suffix(".html")
    subprocess.run([allcores, "show", "-q", *options, "-o", path, recording], check=True)
    return path


def browse(path: Path) -> dict[str, Any]:
    command = ["node", *map(str, (TESTS / "page.mjs", MODULES, path, path.parent))]
    done = subprocess.run(command, check=True, timeout=180, stdout=subprocess.PIPE)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def all_data(path: Path) -> list[dict[str, Any]]:
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S)
    assert block
    return [one for one in json.loads(block[1])["contenders"] if one]


def data(path: Path) -> dict[str, Any]:
    return all_data(path)[0]


@pytest.fixture(scope="module")
def recording(allcores: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("html")
    here = [one for one in interpreters() if not one.root and not one.free_threaded][-1]
    return record(allcores, directory, *Runner(allcores, directory).program(here, "gil_threads", 1.5, 4))


@pytest.fixture(scope="module")
def seen(allcores: str, recording: Path) -> dict[str, Any]:
    return browse(page(allcores, recording))


def test_silent_offline_accessible(seen: dict[str, Any]) -> None:
    assert seen["messages"] == []
    assert seen["requests"] == []
    assert seen["axe"] == {name: [] for name in ["light", "dark", "narrow", "print", "opened"]}
    assert max(seen[f"{name}_overflow"] for name in ("light", "dark", "narrow")) <= 0


def test_pictures(seen: dict[str, Any]) -> None:
    """Each is of a page that has something on it, as wide as the window, on the paper that it should be on."""
    shots = seen["shots"]
    assert [shots[name]["width"] for name in ("light", "dark", "narrow", "print")] == [1200, 1200, 390, 1200]
    assert all(one["height"] > 1000 and one["colours"] > 100 for one in shots.values())
    assert all(0.5 < one["commonest"] < 0.95 for one in shots.values())
    assert [shots[name]["corner"] for name in ("light", "dark", "narrow", "print")] == [255, 20, 255, 255]


def test_policy(allcores: str, recording: Path, seen: dict[str, Any]) -> None:
    """Were something hostile to get in, it could not run, look otherwise, or tell anybody."""
    assert "default-src 'none'" in page(allcores, recording).read_text()
    stopped = ["connect-src", "frame-src", "img-src", "script-src-attr", "script-src-elem", "style-src-attr"]
    assert seen["stopped"] == sorted(["ran 0", *stopped])


def test_stands_without_javascript(allcores: str, recording: Path, seen: dict[str, Any]) -> None:
    shown = subprocess.run([allcores, "show", "--json", recording], check=True, stdout=subprocess.PIPE)
    verdict = json.loads(shown.stdout)["verdict"]
    fix = verdict["fix"]
    place = "/".join(Path(fix["file"]).parts[-2:]) + f":{fix['line']}"
    told = [verdict[name] for name in ("sentence", "confidence", "evidence")] + [fix["text"], place]
    for text in (*told, *fix["code"].splitlines(), "Waiting for the GIL"):
        assert text.replace("`", "").strip() in seen["without_script"]
    assert "`" not in seen["without_script"]


def test_interactions(seen: dict[str, Any]) -> None:
    from_ms, to_ms = seen["whole"]
    wall = to_ms - from_ms
    assert "cores used so far" in seen["cursor"]
    assert "computing now" in seen["cursor"]
    wheel, drag = seen["wheel"], seen["drag"]
    assert wheel[1] - wheel[0] < 0.7 * wall
    assert drag[0] > wheel[0]
    assert drag[1] - drag[0] == pytest.approx(wheel[1] - wheel[0], abs=0.01)
    assert "r=" in seen["brush"]
    assert "cores used" in seen["range"]
    assert "sure" in seen["range"] or "likely" in seen["range"] or "No verdict" in seen["range"]
    assert "q=no such thread" in seen["filter"]
    plus, right = seen["plus"], seen["d"]
    assert plus[1] - plus[0] == pytest.approx(0.7 * wall, rel=0.01)
    assert right[0] > plus[0]
    assert "wall" in seen["live"]
    assert "cores used" in seen["key_range"]
    assert seen["frames"] > 3
    assert seen["widened_back"] == "everything" != seen["widened"]
    assert "&f=" in seen["widened_hash"] and seen["widened_again"] == seen["widened"]
    dark, light = ["rgb(20, 23, 27)", "rgb(232, 234, 237)"], ["rgb(255, 255, 255)", "rgb(23, 25, 28)"]
    assert seen["theme"] == [["", *light], ["dark", *dark], ["light", *light]]
    assert seen["restored"].startswith("120.0 ms to 200.0 ms")
    state, theme, word, counters = seen["restored_all"]
    assert (state, theme, word) == ("0", "dark", "2")
    assert counters.startswith("150.0 ms wall")


def seconds(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def test_filter(allcores: str, recording: Path, seen: dict[str, Any]) -> None:
    """Without a thread the lanes are the cores'."""
    run = data(page(allcores, recording))
    assert seen["no_threads"] == 28 + 20 * run["cpus"]
    assert seen["all_threads"] == 28 + 20 * (run["cpus"] + 1 + len(run["threads"]))


def test_top_lines_by_state(allcores: str, recording: Path, seen: dict[str, Any]) -> None:
    """Those of a state are where its time went, and no other's."""
    run = data(page(allcores, recording))
    stacks = run["stacks"]
    states = {state for one in stacks for state in one["s"][::2] + one.get("o", [])[::2]}
    assert set(seen["tops"]) == {"-1", *map(str, states)} and {0, 1} <= states
    for state, rows in seen["tops"].items():
        lines: dict[str, float] = {}
        for one in stacks:
            own = zip(one["s"][::2], one["s"][1::2], strict=True)
            spent = sum(ms for at, ms in own if state in ("-1", str(at)))
            if one["f"] >= 0 and spent:
                name = "{}  {}:{}".format(*run["frames"][one["f"]])
                lines[name] = lines.get(name, 0) + spent
        told = sorted(lines.values(), reverse=True)[:12]
        assert [time for _, time in rows] == [seconds(ms) for ms in told]
        assert all(seconds(lines[name]) == time for name, time in rows)
    assert seen["tops"]["0"] != seen["tops"]["1"]


def test_ranges_too_short(allcores: str, recording: Path, seen: dict[str, Any]) -> None:
    """Which ranges were judged is told where none is near."""
    judged = data(page(allcores, recording))["judged"]
    least = min(to - at for at, to in zip(judged[::2], judged[1::2], strict=True))
    told = "No verdict: no part of the run near to this one was judged by itself; the shortest that was took "
    assert f"{told}{seconds(least)}." in seen["restored"]


def test_touch_play_and_scrub(allcores: str, recording: Path, seen: dict[str, Any]) -> None:
    from_ms, to_ms = seen["whole"]
    assert "Judged:" in seen["scale_range"]
    sentences = [one[2] for one in data(page(allcores, recording))["verdicts"]]
    assert any(sentence in seen["scale_range"] for sentence in sentences)
    assert " to " in seen["touch_range"]
    pinched = seen["pinch"]
    assert pinched[1] - pinched[0] < 0.7 * (to_ms - from_ms)
    half = float(seen["scrubbed"].split(" ")[0])
    assert half * (1 if " s wall" in seen["scrubbed"] else 1e-3) == pytest.approx(
        (to_ms - from_ms) / 2e3, rel=0.02
    )
    assert seen["playing"][0] == "Pause"
    assert seen["playing"][1] > 0
    assert seen["paused"] == "Play"


def test_lanes_add_up(allcores: str, recording: Path) -> None:
    """The lanes show the waiting that the totals tell, sampling aside. For the GIL and for a CPU together: a
    sample cannot tell them apart where the kernel's clocks, which the totals follow, do."""
    shown = subprocess.run([allcores, "show", "--json", recording], check=True, stdout=subprocess.PIPE)
    states = json.loads(shown.stdout)["states_s"]
    run = data(page(allcores, recording))
    lanes = [thread["lane"] for thread in run["threads"]]
    steps = sum(lane[i + 1] for lane in lanes for i in range(0, len(lane), 3) if lane[i + 2] % 10 in (1, 3))
    assert steps * run["step_ms"] / 1e3 == pytest.approx(states["gil_wait"] + states["no_cpu"], rel=0.1)


def test_whose_gil(allcores: str, recording: Path, tmp_path: Path) -> None:
    """The processes whose threads take turns at one GIL: not one whose interpreters have one each."""
    run = data(page(allcores, recording))
    assert run["gils"] == [thread["pid"] for thread in run["threads"][:1]]
    here = [one for one in interpreters() if one.version >= (3, 12) and not one.free_threaded][-1]
    command = Runner(allcores, tmp_path).program(here, "interpreters", 1)
    assert data(page(allcores, record(allcores, tmp_path, *command)))["gils"] == []


def test_hostile_names_do_no_harm(allcores: str, tmp_path: Path) -> None:
    program = tmp_path / "<b onclick=alert(1)> & app.py"
    program.write_text(
        "import threading, time\n"
        f"evil = compile('def f(end):\\n while time.monotonic() < end: pass\\n', {HOSTILE!r}, 'exec')\n"
        "space = {'time': time}\n"
        "exec(evil, space)\n"
        f"code = space['f'].__code__.replace(co_name={HOSTILE!r}, co_qualname={HOSTILE!r})\n"
        "space['f'].__code__ = code\n"
        f"threads = [threading.Thread(target=space['f'], args=(time.monotonic() + 1,), name={HOSTILE!r})"
        " for _ in range(3)]\n"
        "for one in threads: one.start()\n"
        "for one in threads: one.join()\n"
    )
    here = [one for one in interpreters() if not one.root and one.version >= (3, 11)][-1]
    command = here.command([str(program), "--password=secret", HOSTILE])
    path = page(allcores, record(allcores, tmp_path, *command))
    text = path.read_text()
    assert "<img" not in text
    assert "<b onclick" not in text
    assert "secret" not in text
    assert str(tmp_path) not in text
    assert "\u2028" not in text
    seen = browse(path)
    assert seen["messages"] == []
    assert seen["requests"] == []
    assert any(
        "</script><img src=x onerror=alert(1)>" in name.split("  ")[0] for name, _ in seen["tops"]["0"]
    )
    told = page(allcores, path.with_suffix(".allcores"), "--with-args", "--full-paths").read_text()
    assert "--password=secret" in told
    assert str(tmp_path) in told


def test_sizes(allcores: str, tmp_path: Path, recording: Path) -> None:
    run = data(page(allcores, recording))
    path = page(allcores, recording)
    empty = path.stat().st_size - len(json.dumps(run))
    assert empty < 100 * KB
    assert path.stat().st_size < 400 * KB


def made_up(tmp_path: Path, *sizes: str) -> Path:
    """The page of a made-up run, or with three sizes of several: threads, seconds, runs."""
    built = TESTS.parent / "build" / "c-plain"  # of `make check-c`, brought up to date
    if not (built / "build.ninja").exists():
        built = tmp_path / "c"
        subprocess.run(
            ["meson", "setup", built, "-Dtests=true"], cwd=TESTS.parent, check=True, capture_output=True
        )
    subprocess.run(["ninja", "-C", built, "tests/c/bigpage"], check=True, capture_output=True)
    path = tmp_path / "race.html"
    with path.open("wb") as out:
        subprocess.run([built / "tests" / "c" / "bigpage", *sizes], check=True, stdout=out)
    return path


CORES = """
const {decode, cores} = await import(process.argv[1]);
let text = "";
for await (const part of process.stdin) text += part;
const run = decode(JSON.parse(text), "");
const ms = (lane, fits) => lane.code.reduce((sum, code, i) => sum + (fits(code) ? lane.to[i] - lane.from[i] : 0), 0);
const told = ({lane}) => [ms(lane, (code) => code >= 0), ms(lane, (code) => code === -1)];
console.log(JSON.stringify(cores(run).map(told)));
"""


def test_steps_are_taken_together(tmp_path: Path) -> None:
    """16 threads that take turns for two minutes, in steps: one of them at a time holds the GIL, each as long as it
    did, and nobody else is on the cores, which they had for themselves."""
    run = data(made_up(tmp_path, "16", "120"))
    step = run["step_ms"]
    assert run["coarse"] and step > 5
    holders = [0] * (int(run["wall_ms"] / step) + 1)
    for thread in run["threads"]:
        at = held = 0
        lane = thread["lane"]
        for gap, length, code in zip(lane[::3], lane[1::3], lane[2::3], strict=True):
            at += gap
            if code % 10 == 0:
                held += length
                for i in range(at, at + length):
                    holders[i] += 1
            at += length
        assert held * step == pytest.approx(run["wall_ms"] / 16, abs=2 * step)
    assert max(holders) == 1
    assert sum(holders) > 0.99 * len(holders)
    command = ["node", "--input-type=module", "-e", CORES, str(TESTS.parent / "web" / "data.js")]
    done = subprocess.run(command, check=True, input=json.dumps(run), text=True, stdout=subprocess.PIPE)
    for ours, others in json.loads(done.stdout):
        assert ours == pytest.approx(run["wall_ms"] / 2, rel=0.01)
        assert others == 0


ROWS = """
const web = process.argv[1];
const {decode} = await import(`${web}/data.js`);
const {grouped, threadRows} = await import(`${web}/time.js`);
let text = "";
for await (const part of process.stdin) text += part;
const processes = grouped(decode(JSON.parse(text), ""));
const told = (word) => threadRows(processes, word).rows.map((one) => [one.label, Boolean(one.head), Boolean(one.gil)]);
console.log(JSON.stringify([told(""), told("worker-3")]));
"""


def test_each_process_has_its_row(tmp_path: Path) -> None:
    """With its name and number, above its threads, whether it has a GIL of its own or not; one alone needs none."""
    run = data(made_up(tmp_path, "4", "1"))

    def rows() -> list[list[list[Any]]]:
        command = ["node", "--input-type=module", "-e", ROWS, str(TESTS.parent / "web")]
        done = subprocess.run(command, check=True, input=json.dumps(run), text=True, stdout=subprocess.PIPE)
        found: list[list[list[Any]]] = json.loads(done.stdout)
        return found

    assert rows()[0][0] == ["GIL of 1000", True, True]
    run["threads"][2] |= {"pid": 1002, "name": "child"}
    run["threads"][3] |= {"pid": 1002}
    for gils, label in (([1000, 1002], "GIL of child 1002"), ([1000], "Process child 1002")):
        run["gils"] = gils
        head = [label, True, 1002 in gils]
        whole, some = rows()
        assert sorted(one for one in whole if one[1]) == sorted([["GIL of worker-0 1000", True, True], head])
        assert some == [head, ["worker-3 1003", False, False]]


def test_only_cpus_that_are_there(tmp_path: Path) -> None:
    """Two CPUs by the numbers that the kernel gave them, one of which is off in between."""
    run = data(made_up(tmp_path, "2", "1"))
    run["busy"]["cpus"][1][0] = 2
    for thread in run["threads"]:
        lane = thread["lane"]
        for i in range(2, len(lane), 3):
            lane[i] += 50 if lane[i] // 50 == 2 else 0
    command = ["node", "--input-type=module", "-e", CORES, str(TESTS.parent / "web" / "data.js")]
    done = subprocess.run(command, check=True, input=json.dumps(run), text=True, stdout=subprocess.PIPE)
    assert len(json.loads(done.stdout)) == 2


@pytest.mark.long
def test_several_runs(tmp_path: Path) -> None:
    """A tab a run on one axis, by mouse and keys; names from outside do no harm."""
    path = made_up(tmp_path, "4", "3", "3")
    assert "<img" not in path.read_text()
    seen = browse(path)
    assert seen["messages"] == []
    assert seen["axe"] == {name: [] for name in ["light", "dark", "narrow", "print", "opened", "tab"]}
    assert seen["tabs"] == 4  # three runs and one that failed
    assert "tab=1" in seen["tab"][0]
    assert seen["tab"][1:] == [1, "run 1"]
    assert seen["tab_key"].startswith("</script>")
    rows = 2 + 4  # CPUs, threads; and a band of the GIL's holders, where the process has one GIL
    assert seen["heights"] == [28 + 20 * (rows + 1), 28 + 20 * rows, 28 + 20 * rows, 0]
    assert len(seen["clocks"]) == 3
    assert all("cores used so far" in one for one in seen["clocks"])
    assert "it hung" in seen["without_script"]
    # The twins of the strips and of each tab's lanes: two CPUs take turns.
    cores = [[f"CPU {cpu}", "1.50", "0.00", "0.00", "0.00", "0.00", "1.50"] for cpu in range(2)]
    names = ["</script><img src=x onerror=alert(1)>", "run 1", "run 2"]
    assert seen["core_tables"] == [[[name, *row] for name in names for row in cores], cores, cores, cores]


def test_two_recordings(allcores: str, recording: Path, tmp_path: Path) -> None:
    """Side by side: what changed first, then a tab for each."""
    here = [one for one in interpreters() if not one.root and not one.free_threaded][-1]
    after = record(allcores, tmp_path, *Runner(allcores, tmp_path).program(here, "busy_processes", 1, 2))
    command = [allcores, "show", "-q", str(recording), str(after), "-o", "change.html", "-o", "change.json"]
    subprocess.run(command, check=True, cwd=tmp_path)
    change = json.loads((tmp_path / "change.json").read_text())
    seen = browse(tmp_path / "change.html")
    assert seen["messages"] == []
    assert seen["requests"] == []
    assert seen["axe"] == {name: [] for name in ["light", "dark", "narrow", "print", "opened", "tab"]}
    assert seen["narrow_overflow"] <= 0
    assert seen["tabs"] == len(seen["clocks"]) == 2
    assert seen["tab"][1:] == [1, "After"]
    assert seen["tab_key"] == "Before"
    told = seen["without_script"]
    for side in ("before", "after"):
        assert f"{change[side]['wall_s']:.2f} s" in told
        assert f"{change[side]['states_s']['gil_wait']:.2f} s" in told
        assert change[side]["verdict"]["sentence"] in told
    assert all(note["text"] in told for note in change["notes"])
    assert told.index("Change") < told.index("run.allcores")
    assert str(tmp_path) not in (tmp_path / "change.html").read_text()


def assert_clocks(runs: list[dict[str, Any]], at: float, clocks: list[str]) -> None:
    """At a moment each run's clock has its own figures; of one that is done they stand still."""
    assert len(clocks) == len(runs)
    for run, clock in zip(runs, clocks, strict=True):
        wall = min(at, run["wall_ms"])
        computed = [0.0, 0.0]  # up to then, in all
        for thread in run["threads"]:
            begin = 0.0
            for gap, length, code in zip(*(iter(thread["lane"]),) * 3, strict=True):
                begin += gap * run["step_ms"]
                end = begin + length * run["step_ms"]
                if code % 10 in (0, 2):
                    computed[0] += max(0, min(end, wall) - begin)
                    computed[1] += end - begin
                begin = end
        cpu = computed[0] / computed[1] * run["cpu_ms"]
        assert clock.startswith(f"{seconds(wall)} wall \u00b7 ")
        assert clock.endswith(" \u00b7 done") == (at >= run["wall_ms"])
        (told,) = re.findall(r"([\d.]+) of \S+ cores used so far", clock)
        assert float(told) == pytest.approx(cpu / wall, abs=0.02)


def test_race(allcores: str, tmp_path: Path) -> None:
    """A real race as a page: a tab for each contender, their clocks running on one axis."""
    (tmp_path / "app.py").write_text(
        "def count(item):\n    total = 0\n    for i in range(3_000_000):\n        total += i * item % 7\n"
        "    return total\n"
    )
    outputs = ["-o", "race.html", "-o", "race.json"]
    command = [allcores, "race", "-q", "--full-paths", *outputs, "app.py:count", "-n", "4"]
    subprocess.run(command, check=True, timeout=150, cwd=tmp_path)
    race = json.loads((tmp_path / "race.json").read_text())
    ran = [one for one in race["contenders"] if one["wall_s"]]
    seen = browse(tmp_path / "race.html")
    assert seen["messages"] == []
    assert seen["requests"] == []
    assert seen["axe"] == {name: [] for name in ["light", "dark", "narrow", "print", "opened", "tab"]}
    assert seen["narrow_overflow"] <= 0
    assert seen["tabs"] == len(seen["clocks"]) == len(ran)
    assert seen["tab"][1:] == [1, ran[1]["name"]]
    assert seen["tab_key"] == ran[0]["name"]
    assert all("cores used so far" in one for one in seen["clocks"])
    assert_clocks(all_data(tmp_path / "race.html"), seen["midway"], seen["clocks_midway"])
    assert seen["first"] == [race["winner"]]
    for clock, one in zip(seen["clocks"], ran, strict=True):
        (told,) = re.findall(r"([\d.]+)\u00d7 as fast as sequential · done", clock)
        assert float(told) == pytest.approx(one["speedup"], abs=0.011)  # both are rounded
    (stacks,) = seen["first_top"]
    assert re.search(r"count \S*app\.py:\d", stacks) and "_race.py" not in stacks
    assert seen["playing"][0] == "Pause"
    assert seen["playing"][1] > 0
    for text in (race["reason"], *(one["verdict"]["sentence"] for one in ran)):
        assert text in seen["without_script"]
