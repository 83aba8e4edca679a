"""`allcores race`: the contenders, their figures, and everything that can be wrong with a function."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import TESTS
from interpreters import Interpreter, interpreters

APP = """
import os, sys, threading, time

def square(item):
    return {"item": item, "square": item * item, "set": {str(item), "b", "c"}}

def noisy(item):
    print("to stdout", flush=True)
    os.write(2, b"to stderr")
    return sys.stdin.read() + str(item)

def fails(item):
    if item == 3:
        raise ValueError("three is\\nodd")
    return item

def interrupted(item):
    raise KeyboardInterrupt

def leaves(item):
    sys.exit(3)

def crashes(item):
    os.kill(os.getpid(), 9)

def where(item):
    return os.getpid()

def hangs(item):
    if os.fork() == 0:
        os.setsid()
    time.sleep(600)

def two(a, b):
    return a

async def later(item):
    return item

def results(item):
    return threading.Lock()

def absent(item):
    if item:
        open("data.pickle")

def cannot(item):
    if item:
        raise TypeError("cannot pickle the fish")

def marks(item):
    raise ValueError("a\\\\|b <img> `c` **d** &lt; __e__ [f]")

def noted(item):
    with open("noted", "a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(repr(item) + "\\n")
    return item

def breaks_in_a_thread(item):
    if threading.current_thread() is not threading.main_thread():
        os.kill(os.getpid(), 9)
    return item

def hangs_in_a_thread(item):
    if threading.current_thread() is not threading.main_thread():
        time.sleep(600)
    return item

class Sticky:
    def __reduce__(self):
        return int, ("no number",)

def sticky(item):
    return Sticky()

def line(text):
    return text.upper()

VALUES = ["x", "y"]
NUMBER = 3
class Plain: pass
local = (lambda: lambda item: item)()
"""

plain = [one for one in interpreters() if not one.root and one.version >= (3, 8)]


class Race:
    def __init__(self, command: str, directory: Path) -> None:
        self.command = command
        self.directory = directory
        (directory / "app.py").write_text(APP)

    def __call__(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.command, "race", *args],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.directory,
            **more,
        )

    def json(self, *args: str, code: int = 0, **more: Any) -> dict[str, Any]:
        done = self(*args, "--json", **more)
        assert done.returncode == code, done.stderr
        race: dict[str, Any] = json.loads(done.stdout)
        jsonschema.validate(race, json.loads((TESTS.parent / "docs" / "race.schema.json").read_text()))
        return {**race, **{one["name"]: one for one in race["contenders"]}}


@pytest.fixture
def race(allcores: str, tmp_path: Path) -> Race:
    return Race(allcores, tmp_path)


def ran(race: dict[str, Any]) -> list[dict[str, Any]]:
    return [one for one in race["contenders"] if not one["left_out"]]


@pytest.mark.parametrize("python", plain, ids=lambda one: one.name)
def test_contenders(race: Race, python: Interpreter) -> None:
    found = race.json("--python", python.prefix[0], "app.py:square", "-n", "5")
    names = [one["name"] for one in ran(found)]
    assert names[:3] == ["sequential", "ThreadPoolExecutor", "ProcessPoolExecutor"]
    assert ("InterpreterPoolExecutor" in names) == (python.version >= (3, 14))
    assert all(one["agrees"] and one["error"] is None for one in ran(found)), found
    assert found["winner"] in names
    assert found["python"] == f"CPython {python.name.rstrip('t')}.{python.micro}"
    left_out = {one["name"]: one["error"] for one in found["contenders"] if one["left_out"]}
    if python.version < (3, 11):
        assert left_out["allcores.ProcessPoolExecutor"] == "needs Python 3.11"


def test_built_in(race: Race) -> None:
    found = race.json("--quick", "--runs", "2")
    assert {"sequential", "ThreadPoolExecutor", "ProcessPoolExecutor", "allcores.ProcessPoolExecutor"} <= {
        one["name"] for one in ran(found)
    }
    for one in ran(found):
        assert one["agrees"] is True
        assert len(one["runs_s"]) == 2
        assert one["cpu_s"] > 0.3
        assert one["peak_bytes"] > 5e6
        assert one["start_up_s"] < one["wall_s"]
        assert one["reason"]
    assert found["ThreadPoolExecutor"]["workers"] == 8
    assert found["sequential"]["pickling_s"] == 0


MOVED = """
import pickle, time
def items():
    return [[{str(i): i} for i in range(60_000)] for _ in range(24)]
def measure(item):
    return len(item)
if __name__ == "__main__":
    rows, spent = items(), 0.0
    for row in rows:
        began = time.process_time()
        pickle.loads(pickle.dumps(row, 5))
        spent += time.process_time() - began
    print(spent)
"""


def test_pickling_is_told(race: Race) -> None:
    """About what pickle takes for the same items there and back, in our pool as in the standard one; drawn so."""
    (race.directory / "app.py").write_text(MOVED)
    command = [sys.executable, str(race.directory / "app.py")]
    took = float(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    command = [
        "--python",
        sys.executable,
        "app.py:measure",
        "--items",
        "items()",
        "--runs",
        "1",
        "-o",
        "r.json",
    ]
    drawn = race(*command).stdout.partition("Each core")[2]
    found = {one["name"]: one for one in json.loads((race.directory / "r.json").read_text())["contenders"]}
    for name in ("ProcessPoolExecutor", "allcores.ProcessPoolExecutor", "InterpreterPoolExecutor"):
        if not found[name]["left_out"]:
            assert 0.4 * took < found[name]["pickling_s"] < 2.5 * took, (name, took, found[name])
    assert found["sequential"]["pickling_s"] == 0
    lanes = drawn.partition("  allcores.ProcessPoolExecutor")[2].partition("allcores.map")[0]
    assert lanes.count("\u2592") > 5 * lanes.count("\u2588"), drawn


def test_installed_peers(race: Race) -> None:
    """joblib and loky, which tests/requirements.txt installs beside the command, race too."""
    found = race.json("app.py:square", "-n", "5")
    for name in ("joblib.Parallel", "loky.ProcessPoolExecutor"):
        assert found[name]["error"] is None
        assert found[name]["agrees"] is True
        assert found[name]["workers"] == found["ProcessPoolExecutor"]["workers"]
        assert "took turns" not in found[name]["reason"]
    found = race.json("app.py:fails", "-n", "5", code=1)
    said = "raised ValueError: three is odd (app.py:14 in fails: "
    for one in ran(found):  # joblib gives all results or none: which item it was is not known
        which = "an item" if one["name"] == "joblib.Parallel" else "item 3"
        assert one["error"].startswith(f"{which} {said}"), one


def test_what_map_picked(race: Race) -> None:
    """Its reason says what it chose, and its workers are those that it had."""
    (race.directory / "app.py").write_text(
        "def chunk(item):\n    total = item\n    for step in range(600_000):\n"
        "        total = total * 31 + step & 0xFFFF\n    return total\n"
        "seen = []\n"
        "def shares(item):\n    chunk(item)\n    seen.append(item)\n    return item\n"
    )
    found = race.json("app.py:chunk", "-n", "24")["allcores.map"]
    picked = re.match(
        r"picked (\d+) (threads|processes \(its own is one\), (up to \d+|1) items? a chunk); ",
        found["reason"],
    )
    if picked:
        assert found["workers"] == int(picked[1])
    else:  # one CPU, or a machine so busy that nothing else was estimated to be sooner
        assert found["reason"].startswith("stayed in the calling thread (")
        assert found["workers"] == 1
    found = race.json("app.py:shares", "-n", "8")["allcores.map"]
    assert found["reason"].startswith("stayed in the calling thread (shares change"), found
    assert found["workers"] == 1


@pytest.mark.long
def test_work_while_imported(race: Race) -> None:
    """A script without a guard does all of it again in each fresh worker: that is start-up, not the race."""
    script = (TESTS.parent / "examples" / "batch.py").read_text()
    (race.directory / "app.py").write_text(script.replace("4_000_000", "1_500_000"))
    found = race.json("app.py:transform", "-n", "2")
    assert found["advice"].startswith("app.py computes for ")
    ours = found["allcores.ProcessPoolExecutor"]
    assert "took turns" not in ours["reason"]
    assert ours["start_up_s"] > 0.3 * ours["wall_s"], ours
    (race.directory / "app.py").write_text("import numpy\ndef f(item):\n    return item\n")
    assert race.json("app.py:f", "-n", "2")["advice"] is None


@pytest.mark.long
def test_busy_machine(race: Race) -> None:
    """Who waits for a CPU does not take turns at the GIL; who does is told so all the same."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        found = race.json("--quick", "--runs", "3")
    finally:
        for one in hogs:
            one.kill()
            one.wait()
    # up to 8: a thread that is done before the last one could start takes that one's item
    assert re.match("took turns: [2-8] threads waited", found["ThreadPoolExecutor"]["reason"]), found
    # each GIL has one thread here; allcores.map may have begun with several, where a stolen CPU looked like waiting
    alone = [one for one in ran(found) if one["name"] not in ("ThreadPoolExecutor", "allcores.map")]
    assert len(alone) >= 3
    assert not [one for one in alone if "took turns" in one["reason"]], alone
    assert found["machine"]["others_used"] > 0.3


def test_waiting(race: Race) -> None:
    found = race.json("--quick", "--io")
    assert found["winner"] == "ThreadPoolExecutor"
    assert "waited for 8 items at a time" in found["ThreadPoolExecutor"]["reason"]


def test_text_and_files(race: Race) -> None:
    done = race("app.py:square", "-n", "2", "-o", "r.md", "-o", "r.json", "-o", "r.html")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "ThreadPoolExecutor" in done.stdout
    assert "computing" in done.stdout
    assert json.loads((race.directory / "r.json").read_text())["items"] == 2
    page = (race.directory / "r.html").read_text()
    assert "ProcessPoolExecutor" in page
    assert "square over 2 items" in page


def rows_of(markdown: str) -> list[list[str]]:
    """The cells of a table as GitHub reads them: a bar ends one, and a character after a backslash is itself."""
    rows = []
    for line in markdown.splitlines():
        if line.startswith("|"):
            cells = re.findall(r"((?:\\.|[^|\\])*)\|", line)[1:]
            rows.append([re.sub(r"\\([^0-9A-Za-z])", r"\1", cell.strip()) for cell in cells])
    return rows


def seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


@pytest.mark.parametrize("function", ["square", "marks"])
def test_markdown(race: Race, function: str) -> None:
    """The table has the figures of the JSON, and no message can break it or be taken for markup."""
    done = race(f"app.py:{function}", "-n", "2", "--runs", "2", "--markdown", "-o", "r.md", "-o", "r.json")
    text = (race.directory / "r.md").read_text()
    assert done.stdout == text
    assert f"app.py:{function} over 2 items" in text
    names, rule, *rows = rows_of(text)
    assert len(rule) == len(names)
    raced = ran(json.loads((race.directory / "r.json").read_text()))
    for row, one in zip(rows, raced, strict=True):
        cell = dict(zip(names, row, strict=True))
        assert cell[""] == one["name"]
        assert cell["why"] == (one["error"] or one["reason"])
        assert cell["CPU"] == seconds(one["cpu_s"])
        assert cell["start-up"] == seconds(one["start_up_s"])
        assert cell["pickling"] == seconds(one["pickling_s"])
        if one["error"]:
            assert "a\\|b <img> `c` **d** &lt; __e__ [f]" in cell["why"]
            assert cell["wall"] == cell["speed-up"] == cell["cores"] == cell["peak memory"] == ""
            continue
        least, most = min(one["runs_s"]), max(one["runs_s"])
        assert cell["wall"] == f"{one['wall_s']:.2f} s ({least:.2f}-{most:.2f})"
        assert cell["speed-up"] == f"{one['speedup']:.2f}x"
        assert cell["cores"] == f"{one['cores_used']:.1f}"
        assert cell["peak memory"] == f"{one['peak_bytes'] / 1e6:.0f} MB"


def test_paths_are_short(race: Race) -> None:
    """Where the project lies, and in whose home directory, is in no output unless it is asked for."""
    (race.directory / "app.py").write_text(
        "import os, time\n"
        "if not os.path.exists('imported'):\n"
        "    open('imported', 'w').close()\n"
        "    end = time.process_time() + 0.8\n"
        "    while time.process_time() < end: pass\n"
        "def f(item): return item\n"
    )
    home = {**os.environ, "HOME": str(race.directory)}
    target = f"{race.directory}/app.py:f"
    outputs = ["-o", "r.html", "-o", "r.json", "-o", "r.md"]
    done = race(target, "-n", "2", *outputs, env=home)
    files = [(race.directory / f"r.{kind}").read_text() for kind in ("html", "json", "md")]
    for text in (done.stdout, *files):
        assert "app.py:f over 2 items" in text
        assert "app.py computes for" in text
        assert race.directory.name not in text
    race(target, "-n", "2", "--full-paths", *outputs, env=home)
    assert f"{target} over 2 items" in (race.directory / "r.html").read_text()


def test_items(race: Race) -> None:
    """The function is called with the very items: those of the sequential run, which is the first, in their order."""
    for args, stdin, items in (
        (["app:noted", "--items", "VALUES + [3.5]"], None, ["x", "y", 3.5]),
        (["app.py:noted", "--stdin"], "a\r\n b\x0cc \n\n\u00e9", ["a", " b\x0cc ", "", "\u00e9"]),
        (["app.py:noted", "-n", "3"], None, [0, 1, 2]),
    ):
        (race.directory / "noted").unlink(missing_ok=True)
        found = race.json(*args, input=stdin)
        assert found["items"] == len(items)
        told = (race.directory / "noted").read_text(encoding="utf-8").splitlines()
        assert told[: len(items)] == [repr(one) for one in items]
        assert sorted(told) == sorted([repr(one) for one in items] * len(ran(found)))


def test_prints_and_reads_nothing_of_ours(race: Race) -> None:
    done = race("app.py:noisy", "-n", "2", input="secret")
    assert done.returncode == 0
    assert "to std" not in done.stdout + done.stderr
    assert done.stderr == ""
    dropped = "the function or its module printed: that output was dropped"
    assert " ".join(done.stdout.split()).count(dropped) == 1
    for function in ("noisy", "square"):
        note = race.json(f"app.py:{function}", "-n", "2")["note"] or ""
        assert (dropped in note) == (function == "noisy")


def test_a_module_that_reads_its_arguments_has_none(race: Race) -> None:
    text = "import sys\nFACTOR = int(sys.argv[1]) if len(sys.argv) > 1 else 3\ndef f(item): return item * FACTOR\n"
    (race.directory / "reads.py").write_text(text)
    found = race.json("reads.py:f", "-n", "2")
    assert all(one["error"] is None for one in ran(found))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["app.py:sqare"], "app.py has no function sqare; did you mean square?"),
        (["app.py"], "which function of app.py? app.py:NAME; it has square, noisy"),
        (["none.py:f"], "none.py: no such file"),
        (["none:f"], "no module none here"),
        (["broken.py:f"], "broken.py:2: "),
        (["needs.py:f"], "needs.py imports not_there: it is not installed for"),
        (["exits.py:f"], "exits.py called sys.exit() while it was imported"),
        (["app.py:two"], "two(a, b) cannot be called so"),
        (["app.py:later"], "later is a coroutine function"),
        (["app.py:NUMBER"], "app.py:NUMBER is no function but of type int"),
        (["app.py:square", "--items", "1 +"], "--items 1 +: "),
        (["app.py:square", "--items", "[]"], "there are no items"),
        (["app.py:square", "--items", "nope"], "NameError: name 'nope' is not defined"),
        (["app.py:square", "-n", "0"], "-n 0: a number of items is 1 to 10000000"),
        (["-n", "3"], "go with a function"),
        (["--python", "/bin/true"], "/bin/true cannot run a race"),
        (["-o", "x.txt"], "-o x.txt: a race is written as .html, .json or .md"),
        (["slow.py:f", "--timeout", "1"], "did not end within 1 s"),
    ],
)
def test_wrong_at_once(race: Race, args: list[str], message: str) -> None:
    files = {"broken": "x = 1\nif:\n", "needs": "import not_there", "exits": "raise SystemExit(2)"}
    for name, text in {**files, "slow": "import time; time.sleep(99)"}.items():
        (race.directory / f"{name}.py").write_text(text)
    done = race(*args)
    assert done.returncode == 125
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_interpreter(race: Race) -> None:
    assert race("--python", "/nowhere/python3").returncode == 127


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", "item 3 raised ValueError: three is odd (app.py:14 in fails: raise ValueError"),
        ("interrupted", "KeyboardInterrupt"),
        ("leaves", "SystemExit: 3"),
        ("crashes", "killed by signal 9"),
    ],
)
def test_fails_everywhere(race: Race, function: str, message: str) -> None:
    found = race.json(f"app.py:{function}", code=1)
    assert found["winner"] is None
    assert message in found["sequential"]["error"]
    assert all(one["error"] for one in ran(found))


def test_not_picklable(race: Race) -> None:
    found = race.json("app.py:results", "-n", "2")
    assert found["ThreadPoolExecutor"]["error"] is None
    assert "cannot be pickled" in found["ProcessPoolExecutor"]["error"]
    found = race.json("app.py:local", "-n", "2")
    assert "cannot be pickled" in found["ProcessPoolExecutor"]["error"]
    assert found["allcores.ProcessPoolExecutor"]["error"] is None
    found = race.json("app.py:sticky", "-n", "2")
    assert found["sequential"]["error"] is None
    for name in ("allcores.ProcessPoolExecutor", "loky.ProcessPoolExecutor"):
        assert "cannot be pickled" in found[name]["error"]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("absent", "FileNotFoundError: [Errno 2] No such file or directory: 'data.pickle' (app.py:"),
        ("cannot", "TypeError: cannot pickle the fish (app.py:"),
    ],
)
def test_talk_of_pickles_is_no_failure_to_pickle(race: Race, function: str, message: str) -> None:
    found = race.json(f"app.py:{function}", "-n", "2", code=1)
    for one in ran(found):
        which = "an item" if one["name"] == "joblib.Parallel" else "item 1"
        assert one["error"].startswith(f"{which} raised {message}"), one


def test_results_that_differ(race: Race) -> None:
    done = race("app.py:where", "-n", "3")
    assert done.returncode == 1
    assert "DIFFER" in done.stdout
    assert "is the function random" in done.stderr


def tree_of(marker: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and marker in str((entry / "cwd").readlink()):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def test_never_ends(race: Race) -> None:
    found = race.json("app.py:hangs", "-n", "2", "--timeout", "1", code=1)
    assert all("did not end within 1 s" in one["error"] for one in ran(found))
    assert tree_of(str(race.directory)) == []


@pytest.mark.parametrize(
    ("function", "more", "message"),
    [
        ("breaks_in_a_thread", [], "the process was killed by signal 9 (Killed)"),
        pytest.param(
            "hangs_in_a_thread",
            ["--timeout", "15"],
            "did not end within 15 s and was killed",
            marks=pytest.mark.long,
        ),
    ],
)
def test_the_others_still_run(race: Race, function: str, more: list[str], message: str) -> None:
    """What kills or stops one contender leaves the others their race."""
    found = race.json(f"app.py:{function}", "-n", "2", *more)
    assert found["ThreadPoolExecutor"]["error"].startswith(message)
    assert found["winner"] not in (None, "ThreadPoolExecutor")
    for one in ran(found):
        if one["name"] not in ("ThreadPoolExecutor", "InterpreterPoolExecutor"):
            assert one["agrees"] is True, one


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ended_by_a_signal(race: Race, number: signal.Signals) -> None:
    command = [race.command, "race", "app.py:hangs"]
    with subprocess.Popen(command, cwd=race.directory, stdout=subprocess.PIPE, text=True) as running:
        until = time.monotonic() + 20
        while len(tree_of(str(race.directory))) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        running.send_signal(number)
        told = running.communicate(timeout=20)[0]
    assert running.returncode == 130
    assert "the race was ended before" in told
    assert tree_of(str(race.directory)) == []
