"""`allcores explain`: a page for each verdict, whose programs run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DIRECTORY, SECTIONS, Program, page_ids, page_text, programs

ROOT = DIRECTORY.parent.parent


def explain(allcores: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([allcores, "explain", *args], capture_output=True, text=True, timeout=60)


def listed(allcores: str) -> dict[str, str]:
    """The table's ids, each with its line."""
    rows = re.findall(r"^  (\S+) +(.*)$", explain(allcores).stdout, re.M)
    return dict(rows)


def test_every_verdict_has_its_page_and_no_page_is_without_one(allcores: str) -> None:
    ids = listed(allcores)
    assert len(ids) >= 26
    assert sorted(ids) == page_ids()
    for name, line in ids.items():
        assert line.endswith("."), name
        assert len(line) <= 79, name
        assert explain(allcores, name).stdout == page_text(name)


@pytest.mark.parametrize("page", page_ids())
def test_a_page_is_whole(page: str) -> None:
    text = page_text(page)
    outside = re.sub(r"```python\n.*?^```\n", "", text, flags=re.M | re.S)
    assert text.startswith(f"# {page}\n\n")
    assert re.findall(r"^## (.*)$", outside, re.M) == SECTIONS
    assert all(len(part.strip()) > 40 for part in outside.split("\n## ")[1:])
    assert [one.name for one in programs(page)] == ["before", "after"]
    assert text.count("```python") == 2
    assert f"`{page}`" in text[text.index("\nMeasured (") :], "figures by bench/verdict_pages.py --write"
    assert max(map(len, outside.splitlines())) <= 80
    assert set(re.findall(r"`([a-z]+-[a-z-]+)`", outside)) <= set(page_ids())


def run_small(program: Program, directory: Path) -> str:
    """What the program prints with its N made small; on this Python, whatever the page runs it with."""
    text, found = re.subn(r"^N = [\d_]+$", "N = 2", program.text, flags=re.M)
    assert found == 1, "a page's program has its size in one line, N = ..."
    script = directory / f"{program.name}.py"
    script.write_text(text)
    assert shlex.split(program.command)[-1] == script.name
    done = subprocess.run(
        [sys.executable, script],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("page", page_ids())
def test_before_and_after_print_the_same(page: str, tmp_path: Path) -> None:
    before, after = (run_small(program, tmp_path) for program in programs(page))
    assert before == after
    assert before.strip()


def test_a_wrong_id_gives_the_nearest(allcores: str) -> None:
    done = explain(allcores, "gil-bound-thread")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "allcores: unknown verdict gil-bound-thread; did you mean gil-bound-threads?\n"
    done = explain(allcores, "coffee")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr == "allcores: unknown verdict coffee; `allcores explain` lists them\n"
    assert explain(allcores, "idle", "pinned").returncode == 125


def test_the_readme_lists_every_verdict() -> None:
    table = (ROOT / "README.md").read_text().split("## What it can tell")[1].split("\n## ")[0]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.M)) == page_ids()
    assert "allcores explain" in table
