"""The fix as a diff: it applies with `patch`, the program prints the same afterwards, or no diff is given and why.

The helper is asked as the command asks it: a request as JSON on the stdin of a process of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from conftest import Runner
from interpreters import Interpreter, interpreters

TWO_CPUS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU: nothing to gain anywhere")
HELPER = "from allcores.fixes import main; main()"

THREADS = """\
from concurrent.futures import ThreadPoolExecutor

def work(n):
    total = 0
    for i in range(n):
        total += i * i % 7
    return total

with ThreadPoolExecutor(max_workers=4) as pool:
    results = list(pool.map(work, range(100, 108)))
print("total:", sum(results))
"""
LOOP = """\
import sys

def work(n):
    total = 0
    for i in range(n):
        total += i * i % 7
    return total

def main():
    results = []
    for n in range(100, 108):
        results.append(work(n))
    print("total:", sum(results))

if __name__ == "__main__":
    main()
"""
NATIVE = """\
import hashlib

def digest(n):
    return hashlib.sha256(b"x" * n).hexdigest()

def main():
    print([digest(n) for n in range(8)])

main()
"""
WAITS = """\
import time

def fetch(n):
    time.sleep(0.01)
    return n * 2

def main():
    found = []
    for n in range(8):
        found.append(fetch(n))
    print(found)

main()
"""
SERIAL = """\
from concurrent.futures import ProcessPoolExecutor

def work(n):
    return n * n

def main():
    total = 0
    with ProcessPoolExecutor(2) as pool:
        for n in range(8):
            total += pool.submit(work, n).result()
    print(total)

if __name__ == "__main__":
    main()
"""
TINY = """\
from concurrent.futures import ProcessPoolExecutor

def work(n):
    return n * n

def main():
    with ProcessPoolExecutor(2) as pool:
        print(sum(pool.map(work, range(300))))

if __name__ == "__main__":
    main()
"""
REWRITES = [
    ("gil-bound-threads", THREADS, "ProcessPoolExecutor"),
    ("single-thread-python", LOOP, "ProcessPoolExecutor"),
    ("single-thread-native", NATIVE, "ThreadPoolExecutor"),
    ("io-sequential", WAITS, "ThreadPoolExecutor"),
    ("serial-pool-use", SERIAL, "for job in jobs"),
    ("tiny-tasks", TINY, "chunksize=max(1, len(range(300)) // 8)"),
]
IDS = [verdict for verdict, _, _ in REWRITES]


def ask(path: Path, verdict: str, /, **more: object) -> dict[str, str]:
    """The helper's answer on a file of which every line was seen."""
    lines = list(range(1, path.read_bytes().count(b"\n") + 2))
    request = {"verdict": verdict, "path": str(path), "name": path.name, "lines": lines, "python": "3.11"}
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", HELPER],
        input=json.dumps({**request, "workers": 2, **more}).encode(),
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    answer: dict[str, str] = json.loads(done.stdout)
    assert len(answer) == 1 and set(answer) <= {"diff", "withheld"}
    return answer


def output(python: str, path: Path) -> str:
    return subprocess.run([python, str(path)], capture_output=True, text=True, timeout=60, check=True).stdout


def apply(directory: Path, diff: str) -> None:
    done = subprocess.run(
        ["patch", "-p1", "--binary"], cwd=directory, input=diff.encode(), capture_output=True
    )
    assert done.returncode == 0, done.stdout
    assert b"fuzz" not in done.stdout and b"offset" not in done.stdout


@pytest.mark.parametrize(("verdict", "text", "marker"), REWRITES, ids=IDS)
@pytest.mark.parametrize("style", ["plain", "crlf", "tabs"])
def test_rewrite(tmp_path: Path, verdict: str, text: str, marker: str, style: str) -> None:
    text = text.replace("    ", "\t") if style == "tabs" else text
    text = text.replace("\n", "\r\n") if style == "crlf" else text
    path = tmp_path / "program.py"
    path.write_bytes(text.encode())
    before = output(sys.executable, path)
    answer = ask(path, verdict)
    assert "diff" in answer, answer
    apply(tmp_path, answer["diff"])
    after = path.read_bytes()
    assert marker.encode() in after and marker not in text
    assert output(sys.executable, path) == before
    if style == "crlf":
        assert after.count(b"\n") == after.count(b"\r\n")
    if style == "tabs":
        assert b"\n    " not in after


def test_a_guard_is_added(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(THREADS)
    assert '+if __name__ == "__main__":' in ask(path, "gil-bound-threads")["diff"]


WITHHELD = [
    (
        "lambda",
        THREADS.replace("map(work,", "map(lambda n: n,"),
        "a lambda cannot be sent to another process",
    ),
    ("method", THREADS.replace("map(work,", "map(work.run,"), "the tasks are methods"),
    ("decorator", THREADS.replace("def work", "@print\ndef work"), "work has a decorator"),
    ("global", THREADS.replace("    total = 0", "    global total\n    total = 0"), "others share"),
    ("prints", THREADS.replace("    total = 0", "    print(n)\n    total = 0"), "work calls print"),
    ("initializer", THREADS.replace("max_workers=4", "initializer=print"), "options that mean threads"),
    ("generator", THREADS.replace("return total", "yield total"), "work is a generator"),
    ("large", THREADS.replace("return total", "return list(range(n))"), "the size of what work returns"),
    ("handed-on", THREADS.replace("list(pool", "use(pool, pool"), "pool is handed on"),
    (
        "nested",
        THREADS.replace("def work", "def outer():\n    def inner(n):\n        return n\n\ndef work").replace(
            "map(work,", "map(inner,"
        ),
        "inner is no plain function",
    ),
    ("latin", "# coding: latin-1\n" + THREADS, "not in UTF-8"),
    ("unknown-coding", "# coding: nonsense\n" + THREADS, "encoding is not known"),
    ("bom", "\ufeff" + THREADS, "byte order mark"),
    ("syntax", THREADS + "nonsense here\n", "syntax is newer"),
    ("no-pool", "print(1)\n", "no pattern of code"),
]


@pytest.mark.parametrize(("text", "reason"), [one[1:] for one in WITHHELD], ids=[one[0] for one in WITHHELD])
def test_withheld(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(text)
    assert reason in ask(path, "gil-bound-threads").get("withheld", "a diff was given")


def test_withheld_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(THREADS)
    changed = ask(path, "gil-bound-threads", started_ns=time.time_ns() - 3_600_000_000_000)
    assert "has changed since the program started" in changed["withheld"]
    assert "cannot hold" in ask(path, "gil-bound-threads", name="../program.py")["withheld"]
    assert "cannot be read" in ask(path, "gil-bound-threads", path=str(tmp_path / "none.py"))["withheld"]
    assert "no regular file" in ask(path, "gil-bound-threads", path="/dev/null")["withheld"]


def test_chunks_are_withheld_where_the_items_cannot_be_counted(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(TINY.replace("range(300)", "(n for n in range(300))"))
    assert "can be counted cannot be told" in ask(path, "tiny-tasks")["withheld"]


MUTATE = """\
import json, sys
from allcores.fixes import answer
for path, verdict in json.load(sys.stdin):
    lines = list(range(1, 40))
    request = {"verdict": verdict, "path": path, "name": path.rsplit("/", 1)[1], "lines": lines, "workers": 2}
    print(json.dumps(answer(json.dumps(request))))
"""


def compiles(path: Path) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(path.read_text(), str(path), "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def test_mutated_sources(tmp_path: Path) -> None:
    """Whatever is in a file, the helper answers, and what it gives applies and can be parsed."""
    chance = random.Random(20261127)
    asked, ran = [], []
    for i in range(600):
        verdict, text, _ = REWRITES[i % len(REWRITES)]
        lines = text.splitlines(keepends=True)
        for _ in range(chance.randint(1, 3)):
            at, to = chance.randrange(len(lines)), chance.randrange(len(lines))
            kind = chance.randrange(5)
            if kind == 0 and len(lines) > 3:
                del lines[at]
            elif kind == 1:
                lines.insert(to, lines[at])
            elif kind == 2:
                lines[at] = chance.choice(["\t", "    ", ""]) + lines[at].lstrip()
            elif kind == 3:
                word = chance.choice(["work", "pool", "n", "(", ")", "0", ";", "# é", '"', "\\"])
                column = chance.randrange(len(lines[at]) + 1)
                lines[at] = lines[at][:column] + word + lines[at][column:]
            else:
                lines[at], lines[to] = lines[to], lines[at]
        path = tmp_path / f"mutant{i}.py"
        path.write_text("".join(lines))
        asked.append((str(path), verdict))
        ran.append(compiles(path))
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", MUTATE], input=json.dumps(asked), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(asked)
    assert not [one for one in answers if "could not be looked through" in one.get("withheld", "")]
    diffs = [one["diff"] for one in answers if "diff" in one]
    assert len(diffs) > 30
    apply(tmp_path, "".join(diffs))
    assert not list(tmp_path.glob("*.orig"))
    for (mutant, _), one, could_run in zip(asked, answers, ran, strict=True):
        assert compiles(Path(mutant)) or "diff" not in one or not could_run, mutant


# --- the command

BUSY = {"range(100, 108)": "range(900_000, 900_008)"}
COMMAND = [
    ("gil-bound-threads", THREADS, BUSY),
    ("single-thread-python", LOOP, BUSY),
]


def python_of_tests() -> Interpreter:
    return next(one for one in interpreters() if one.name == "3.11")


@TWO_CPUS
@pytest.mark.parametrize(("verdict", "text", "changes"), COMMAND, ids=[one[0] for one in COMMAND])
def test_why_fix(run: Runner, tmp_path: Path, verdict: str, text: str, changes: dict[str, str]) -> None:
    for old, new in changes.items():
        text = text.replace(old, new)
    python = python_of_tests()
    path = Path(python.script(tmp_path, "program.py", text))
    patch = tmp_path / "out.patch"
    command = python.command([str(path)])
    report = run.why_alone(command, "--fix", str(patch))
    assert report["verdict"]["id"] == verdict, report["verdict"]
    diff = patch.read_text()
    assert report["verdict"]["fix"]["diff"] == diff
    assert report["verdict"]["fix"]["withheld"] is None
    name = diff.split("\n", 1)[0].removeprefix("--- a/")
    directory = Path(str(path).removesuffix(name))
    apply(directory, diff)
    after = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert after.stdout == report["stdout"]


def test_fix_that_cannot_be_written(allcores: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            allcores,
            "why",
            "--fix",
            str(tmp_path / "none" / "out.patch"),
            "--",
            sys.executable,
            "-c",
            "print(1)",
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0 and done.stdout == ""
    assert "cannot be written" in done.stderr


def test_fix_of_nothing(allcores: str, tmp_path: Path) -> None:
    patch = tmp_path / "out.patch"
    done = subprocess.run(
        [allcores, "why", "--fix", str(patch), "--", sys.executable, "-c", "print(1)"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "not written" in done.stderr
    assert not patch.exists()
