"""Two recordings side by side: what changed between runs whose difference is known by construction."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import Runner
from interpreters import interpreters

SCHEMA = json.loads((Path(__file__).parent.parent / "docs" / "compare.schema.json").read_text())


@pytest.fixture(scope="module")
def recordings(allcores: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """threads.allcores: four threads that take turns; processes.allcores: two processes that do not."""
    directory = tmp_path_factory.mktemp("compare")
    here = [one for one in interpreters() if not one.root and not one.free_threaded][-1]
    runner = Runner(allcores, directory)
    for name, program in (("threads", ("gil_threads", 1, 4)), ("processes", ("busy_processes", 1, 2))):
        command = runner.program(here, *program)
        recording = directory / f"{name}.allcores"
        subprocess.run([allcores, "why", "-q", "-o", recording, "--", *command], check=True, timeout=60)
    return directory


def show(allcores: str, directory: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [allcores, "show", *args], cwd=directory, capture_output=True, text=True, timeout=60
    )


def report(allcores: str, directory: Path, name: str) -> Any:
    return json.loads(show(allcores, directory, "--json", f"{name}.allcores").stdout)


def test_json(allcores: str, recordings: Path) -> None:
    done = show(allcores, recordings, "--json", "threads.allcores", "processes.allcores", "-o", "change.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert (recordings / "change.json").read_text() == done.stdout
    change = json.loads(done.stdout)
    jsonschema.validate(change, SCHEMA, cls=jsonschema.Draft202012Validator)
    for side, name in (("before", "threads"), ("after", "processes")):
        alone = report(allcores, recordings, name)
        assert change[side]["verdict"]["id"] == alone["verdict"]["id"]
        assert change[side]["states_s"] == alone["states_s"]
        assert change[side]["cpu_s"] == pytest.approx(alone["cpu_s"])
    before, after = change["before"], change["after"]
    assert (before["program"], after["program"]) == ("gil_threads.py", "busy_processes.py")
    assert change["speedup"] == pytest.approx(before["wall_s"] / after["wall_s"])
    assert before["states_s"]["gil_wait"] > 1 and after["states_s"]["gil_wait"] < 0.5
    assert "different_programs" in [one["id"] for one in change["notes"]]
    waits = [one for one in change["functions"] if one["state"] == "gil_wait" and one["function"] == "crunch"]
    assert waits and waits[0]["before_s"] > 1 > waits[0]["after_s"]
    changes = [abs(one["after_s"] - one["before_s"]) for one in change["functions"]]
    assert changes == sorted(changes, reverse=True)


def test_text(allcores: str, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = show(allcores, recordings, "threads.allcores", "processes.allcores")
    assert (done.returncode, done.stdout) == (0, "")
    for name in ("threads", "processes"):
        assert report(allcores, recordings, name)["verdict"]["id"] in done.stderr
    assert "different programs" in done.stderr and "gil wait" in done.stderr
    assert max(map(len, done.stderr.splitlines())) <= 80  # also of a sentence and its notes


def test_a_run_beside_itself(allcores: str, recordings: Path) -> None:
    done = show(allcores, recordings, "--json", "threads.allcores", "threads.allcores")
    change = json.loads(done.stdout)
    assert change["speedup"] == 1 and [one["id"] for one in change["notes"]] == ["within_noise"]
    assert all(one["before_s"] == one["after_s"] for one in change["functions"])
    assert "As fast as before" in show(allcores, recordings, "threads.allcores", "threads.allcores").stderr


def test_what_cannot_be_compared(allcores: str, recordings: Path) -> None:
    for args, words in (
        (["threads.allcores", "gone.allcores"], "gone.allcores: no such file"),
        (["threads.allcores", "processes.allcores", "-o", "x.folded"], "as text, as .html or as .json"),
        (["threads.allcores"] * 3, "two to compare"),
    ):
        done = show(allcores, recordings, *args)
        assert (done.returncode, done.stdout) == (125, "")
        assert words in done.stderr and done.stderr.count("\n") == 1
