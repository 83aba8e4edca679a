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
from typing import Any

import pytest
from conftest import TESTS, Runner
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
JOINED = """\
import threading

results = []
lock = threading.Lock()

def work(n):
    total = 0
    for i in range(n):
        total += i * i % 7
    with lock:
        results.append(total)

threads = [threading.Thread(target=work, args=(n,)) for n in range(100, 108)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("total:", sum(results))
"""
GIVEN_A_LIST = """\
from threading import Thread

def work(n, out):
    total = 0
    for i in range(n):
        total += i * i % 7
    out.append((n, total))

def main():
    found = []
    threads = []
    for n in range(100, 108):
        thread = Thread(target=work, args=(n, found))
        threads.append(thread)
        thread.start()
    for thread in threads:
        thread.join()
    print(sorted(found))

if __name__ == "__main__":
    main()
"""
TWO_THREADS = """\
import threading

def work(n):
    total = 0
    for i in range(n):
        total += i * i % 7

def main():
    first = threading.Thread(target=work, args=(100,))
    second = threading.Thread(target=work, args=(200,))
    first.start()
    second.start()
    first.join()
    second.join()
    print("done")

main()
"""
AWAITS = """\
import asyncio

async def fetch(n):
    await asyncio.sleep(0.01)
    return n * 2

async def main():
    found = []
    for n in range(20):
        found.append(await fetch(n))
    print(found)

asyncio.run(main())
"""
AWAIT_AND_USE = AWAITS.replace(
    "        found.append(await fetch(n))", "        page = await fetch(n)\n        found.append(page + n)"
)
AWAIT_LIST = AWAITS.replace("found = []", "found = [await fetch(n) for n in range(20)]").replace(
    "    for n in range(20):\n        found.append(await fetch(n))\n", ""
)
BLOCKED = """\
import asyncio
import time

def ask(n):
    time.sleep(0.01)
    return n * 3

async def handle(n):
    return ask(n) + 1

async def main():
    print(await asyncio.gather(*(handle(n) for n in range(8))))

asyncio.run(main())
"""
SLEEPS = BLOCKED.replace("    return ask(n) + 1", "    time.sleep(0.01)\n    return n")
ANEW = """\
from concurrent.futures import ProcessPoolExecutor

def work(n):
    return n * n

def main():
    total = 0
    for batch in range(3):
        size = batch + 20
        with ProcessPoolExecutor(2) as pool:
            # a batch
            total += sum(pool.map(work, range(size)))
        print(batch, total)

if __name__ == "__main__":
    main()
"""
POOL_MADE = """\
from multiprocessing import Pool

def work(n):
    return n * n

def main():
    total = 0
    pool = Pool(2)
    for n in range(8):
        total += pool.apply(work, (n,))
    pool.close()
    pool.join()
    print(total)

if __name__ == "__main__":
    main()
"""
TINY_MADE = POOL_MADE.replace("total = 0", "total = []").replace(
    "    for n in range(8):\n        total += pool.apply(work, (n,))\n",
    "    for square in pool.imap(work, range(300)):\n        total.append(square)\n",
)
MADE_ANEW = """\
from multiprocessing import Pool

def work(n):
    return n * n

def main():
    total = 0
    for batch in range(3):
        pool = Pool(2)
        # a batch
        total += sum(pool.map(work, range(batch + 20)))
        pool.close()
        pool.join()
        print(batch, total)
    print(total)

if __name__ == "__main__":
    main()
"""
THREADS_MADE = THREADS.replace(
    "with ThreadPoolExecutor(max_workers=4) as pool:", "pool = ThreadPoolExecutor()"
)
THREADS_MADE = THREADS_MADE.replace("    results", "results").replace(
    "range(100, 108)))", "range(100, 108)))\npool.shutdown()"
)
SUBMITTED = THREADS.replace(
    "list(pool.map(work, range(100, 108)))",
    "[job.result() for job in [pool.submit(work, n) for n in range(8)]]",
)


def filled(change: str, value: str = "[]") -> str:
    """The tasks read a table that the program fills some time after it was made."""
    text = THREADS.replace("def work", f"import random, sys\n\nTABLE = {value}\n\ndef work", 1)
    text = text.replace("total = 0", "total = len(TABLE)", 1)
    return text.replace("\nwith", f"\ndef load(table):\n    table.append(1)\n\n{change}\nwith", 1)


REWRITES = [
    ("gil-bound-threads", THREADS, "ProcessPoolExecutor"),
    ("single-thread-python", LOOP, "ProcessPoolExecutor"),
    ("single-thread-native", NATIVE, "ThreadPoolExecutor"),
    ("io-sequential", WAITS, "ThreadPoolExecutor"),
    ("serial-pool-use", SERIAL, "for job in jobs"),
    ("tiny-tasks", TINY, "chunksize=max(1, len(range(300)) // 8)"),
    ("gil-bound-threads", JOINED, "results.extend(executor.map(work, range(100, 108)))"),
    ("gil-bound-threads", GIVEN_A_LIST, "found.extend(executor.map(work, range(100, 108)))"),
    ("gil-bound-threads", TWO_THREADS, "list(executor.map(work, [100, 200]))"),
    ("serial-awaits", AWAITS, "found.extend(await asyncio.gather(*(limited(fetch(n)) for n in range(20))))"),
    ("serial-awaits", AWAIT_AND_USE, "for n, page in zip("),
    ("serial-awaits", AWAIT_LIST, "found = await asyncio.gather("),
    ("blocked-event-loop", BLOCKED, "(await asyncio.to_thread(ask, n)) + 1"),
    ("blocked-event-loop", SLEEPS, "await asyncio.sleep(0.01)"),
    (
        "start-up",
        ANEW,
        "    with ProcessPoolExecutor(2) as pool:\n        for batch in range(3):\n            size",
    ),
    ("serial-pool-use", POOL_MADE, "jobs = [pool.apply_async(work, (n,)) for n in range(8)]"),
    ("tiny-tasks", TINY_MADE, "pool.imap(work, range(300), chunksize=max(1, len(range(300)) // 8))"),
    ("gil-bound-threads", THREADS_MADE, "pool = ProcessPoolExecutor()\n"),
    (
        "start-up",
        MADE_ANEW,
        "pool = Pool(2)\n    for batch in range(3):\n        # a batch\n"
        "        total += sum(pool.map(work, range(batch + 20)))\n"
        "        print(batch, total)\n    pool.close()\n    pool.join()\n    print(total)",
    ),
]
IDS = [f"{verdict}-{i}" for i, (verdict, _, _) in enumerate(REWRITES)]


def ask(path: Path, verdict: str, /, **more: object) -> dict[str, Any]:
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
    answer: dict[str, Any] = json.loads(done.stdout)
    assert len({"diff", "withheld"} & set(answer)) == 1
    assert set(answer) <= {"diff", "withheld", "calls", "at_once"}
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
    words = " ".join(marker.split())
    assert words in " ".join(after.decode().split()) and words not in " ".join(text.split())
    assert output(sys.executable, path) == before
    if style == "crlf":
        assert after.count(b"\n") == after.count(b"\r\n")
    if style == "tabs":
        assert b"\n    " not in after


PROCESSES = [
    REWRITES[0][:2],
    REWRITES[1][:2],
    *[one[:2] for one in REWRITES[6:9]],
    ("gil-bound-threads", SUBMITTED),
    ("gil-bound-threads", filled("print(len(TABLE), TABLE[0])", "[n * n for n in range(9)]")),
]


@pytest.mark.parametrize(("verdict", "text"), PROCESSES)
def test_processes_that_are_not_forked(tmp_path: Path, verdict: str, text: str) -> None:
    """From 3.14 on each process imports the program anew, and has nothing of what it did."""
    newest = [one for one in interpreters() if not one.free_threaded and one.version >= (3, 14)]
    if not newest:
        pytest.skip("no Python 3.14")
    python = newest[-1]
    command = python.command([python.script(tmp_path, "program.py", text)])
    before = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    path = tmp_path / "asked" / "program.py"
    path.parent.mkdir()
    path.write_text(text)
    apply(path.parent, ask(path, verdict, python=python.name)["diff"])
    python.script(tmp_path, "program.py", path.read_text())
    after = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "ProcessPoolExecutor" in path.read_text() and after == before


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
    ("filled", filled("load(TABLE)"), "TABLE, which the program may change"),
    ("shuffled", filled("random.shuffle(TABLE)"), "TABLE, which the program may change"),
    ("alias", filled("table = TABLE\ntable.append(1)"), "TABLE, which the program may change"),
    (
        "row",
        filled("for row in TABLE:\n    row.append(1)", "[[1], [2]]"),
        "TABLE, which the program may change",
    ),
    ("stdin", filled("print(1)", "list(sys.stdin)"), "compute TABLE again"),
    ("two-iterables", THREADS.replace("range(100, 108)", "range(3), range(3)"), "can be counted"),
    ("each-turn", THREADS.replace("with Thr", "for turn in range(3):\n  with Thr"), "each turn would start"),
]


THREADS_WITHHELD = [
    (
        "returns",
        JOINED.replace("    with lock", "    if n < 0:\n        return\n    with lock"),
        "returns before",
    ),
    ("reads", JOINED.replace("total = 0", "total = len(results)"), "reads what the threads share"),
    (
        "raises",
        JOINED.replace("    with lock", "    if n < 0:\n        raise ValueError\n    with lock"),
        "may raise",
    ),
    ("used-later", JOINED + "print(threads[0].name)\n", "threads is used after"),
    ("elsewhere", JOINED + "work(3)\n", "work is used in other places"),
    ("computed", JOINED.replace("args=(n,)", "args=(n + 1,)"), "computed from the loop's variable"),
    ("two", GIVEN_A_LIST.replace("args=(n, found)", "args=(n, n)"), "computed from the loop's variable"),
    ("no-list", JOINED.replace("results = []", "results = set_up()"), "what results is"),
    ("options", JOINED.replace("args=(n,)", "args=(n,), name=str(n)"), "options that processes do not"),
    ("generator", JOINED.replace("in range(100, 108)]", "in (n for n in range(3))]"), "can be counted"),
    ("comment", JOINED.replace("    thread.start()", "    thread.start()  # go"), "a comment stands"),
    ("coroutine", TWO_THREADS.replace("def main", "async def main"), "joined in a coroutine"),
    (
        "lock-read",
        JOINED.replace("    total = 0", "    total = 0\n    lock.acquire()"),
        "reads what the threads share",
    ),
]


def crawler(text: str) -> str:
    """The loop goes through what its own turns append."""
    text = text.replace("for n in range(20):", "todo = [1]\n    for n in todo:")
    return text.replace("        found.append(page + n)", "        todo.append(page)")


AWAITS_WITHHELD = [
    ("prints", AWAITS.replace("    return", "    print(n)\n    return"), "fetch calls print"),
    ("depends", AWAITS.replace("fetch(n))", "fetch(sum(found)))"), "an earlier turn"),
    (
        "break",
        AWAIT_AND_USE.replace("        found.append", "        if page: break\n        found.append"),
        "may end before",
    ),
    ("shared", AWAITS.replace("    return n", "    global last\n    last = n\n    return n"), "others share"),
    (
        "some",
        AWAITS.replace("        found.append", "        if n:\n            found.append"),
        "in every turn",
    ),
    ("after", AWAITS.replace("    print(found)", "    print(found, n)"), "used after it"),
    ("grows", crawler(AWAIT_AND_USE), "todo, which its turns may change"),
    (
        "grows-by-alias",
        crawler(AWAIT_AND_USE).replace("todo.append", "more.append").replace("[1]", "[1]\n    more = todo"),
        "todo, which its turns may change",
    ),
    (
        "large",
        AWAIT_AND_USE.replace("return n * 2", "return list(range(n))"),
        "the size of what fetch returns",
    ),
]


BLOCKED_WITHHELD = [
    (
        "alone",
        BLOCKED.replace("asyncio.gather(*(handle(n) for n in range(8)))", "handle(1)"),
        "only one task",
    ),
    ("prints", BLOCKED.replace("    return ask(n) + 1", "    print(ask(n))"), "handle calls print"),
    (
        "shared",
        BLOCKED.replace("    return n * 3", "    global last\n    last = n\n    return n"),
        "others share",
    ),
    ("nested", BLOCKED.replace("ask(n) + 1", "[ask(m) for m in range(n)]"), "in a comprehension"),
    (
        "locked",
        BLOCKED.replace("    return ask(n) + 1", "    async with asyncio.Lock():\n        return ask(n)"),
        "in a with block",
    ),
]
LOOP_WITHHELD = [
    ("twice", LOOP.replace("    main()\n", "    main()\n    main()\n"), "how often main is called"),
    (
        "each-turn",
        LOOP.replace("    results = []", "  for turn in range(9):\n    results = []"),
        "each turn would start its processes",
    ),
    (
        "later",
        LOOP.replace("    results = []\n", "    later = lambda m: [work(n) for n in range(m)]\n")
        .replace("    for n in range(100, 108):\n        results.append(work(n))\n", "")
        .replace("sum(results)", "sum(later(108))"),
        "no pattern of code",
    ),
    (
        "shadowed",
        LOOP.replace("def main", "items = range(9)\n\ndef main")
        .replace("main()", "main(iter(items))")
        .replace("def main(iter(items))", "def main(items)")
        .replace("range(100, 108)", "items"),
        "can be counted",
    ),
]
NO_POOL = "class Series:\n    def apply(self, f, args):\n        return f(*args)\n\n"
SERIAL_WITHHELD = [
    ("no-pool", NO_POOL + POOL_MADE.replace("Pool(2)", "Series()"), "that pool is a pool, and nothing else"),
    ("lazily", SERIAL.replace("range(8)", "map(int, open('numbers'))"), "can be taken as a whole"),
    ("large", SERIAL.replace("return n * n", "return list(range(n))"), "the size of what work returns"),
    (
        "grows",
        SERIAL.replace("for n in range(8)", "todo = [1, 2]\n        for n in todo").replace(
            "            total +=", "            todo.append(n)\n            total +="
        ),
        "todo, which its turns may change",
    ),
    (
        "given",
        POOL_MADE.replace("main()", "main(pool)").replace("    pool = Pool(2)\n", ""),
        "that pool is a pool",
    ),
    (
        "rebound",
        POOL_MADE.replace("    pool = Pool", "    pool = None\n    pool = Pool"),
        "that pool is a pool",
    ),
]
ANEW_WITHHELD = [
    (
        "closed-sometimes",
        MADE_ANEW.replace("        pool.join()", "        if batch:\n            pool.join()"),
        "closed in a way",
    ),
    ("terminated", MADE_ANEW.replace("pool.join", "pool.terminate"), "ways that were not thought of"),
    ("varies", ANEW.replace("Executor(2)", "Executor(size)"), "made from what the loop changes"),
    ("initializer", ANEW.replace("Executor(2)", "Executor(2, initializer=print)"), "options that may mean"),
    ("prints", ANEW.replace("    return n", "    print(n)\n    return n"), "work calls print"),
    ("handed-on", ANEW.replace("sum(pool.map(work, range(size)))", "use(pool)"), "pool is handed on"),
]
ALL_WITHHELD = [
    (verdict, text, reason, f"{verdict}-{name}")
    for verdict, cases in (
        ("gil-bound-threads", WITHHELD + THREADS_WITHHELD),
        ("single-thread-python", LOOP_WITHHELD),
        ("serial-awaits", AWAITS_WITHHELD),
        ("blocked-event-loop", BLOCKED_WITHHELD),
        ("start-up", ANEW_WITHHELD),
        ("serial-pool-use", SERIAL_WITHHELD),
    )
    for name, text, reason in cases
]


@pytest.mark.parametrize(
    ("verdict", "text", "reason"), [one[:3] for one in ALL_WITHHELD], ids=[one[3] for one in ALL_WITHHELD]
)
def test_withheld(tmp_path: Path, verdict: str, text: str, reason: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(text)
    assert reason in ask(path, verdict).get("withheld", "a diff was given")


def test_tasks_are_worth_a_process(tmp_path: Path) -> None:
    """By the CPU time that the program had: 8 tasks of 1.25 ms, then of 0.1 ms, then of 10 us."""
    path = tmp_path / "program.py"
    for text, least in ((THREADS, 1e-3), (SUBMITTED, 1e-2)):
        path.write_text(text)
        assert ask(path, "gil-bound-threads", cpu_s=least)["calls"] == 8
        assert "diff" in ask(path, "gil-bound-threads", cpu_s=least)
        short = ask(path, "gil-bound-threads", cpu_s=least / 12)
        assert "too little for what handing it out costs" in short["withheld"]
    path.write_text(SUBMITTED.replace("range(8)", "range(int(open('numbers').read()))"))
    assert "how many tasks there are" in ask(path, "gil-bound-threads")["withheld"]
    path.write_text(LOOP)
    assert "too little" in ask(path, "single-thread-python", cpu_s=1e-4)["withheld"]


@pytest.mark.parametrize("guarded", [True, False])
def test_the_main_file_is_another(tmp_path: Path, guarded: bool) -> None:
    """Each process imports it, too: under its guard it does nothing, without it all again."""
    path, main = tmp_path / "jobs.py", tmp_path / "program.py"
    path.write_text(LOOP[: LOOP.index("\nif __name__")])
    call = 'if __name__ == "__main__":\n    jobs.main()\n' if guarded else "jobs.main()\n"
    main.write_text(f"import jobs\n\n{call}")
    before = output(sys.executable, main)
    path.write_text(path.read_text() + "\n\ndef run():\n    main()\n")
    main.write_text(main.read_text().replace("jobs.main", "jobs.run"))
    answer = ask(path, "single-thread-python", main=str(main))
    if guarded:
        apply(tmp_path, answer["diff"])
        assert output(sys.executable, main) == before
    else:
        assert "imports program.py, too" in answer["withheld"]
    path.write_text(LOOP[: LOOP.index("\nif __name__")] + "\nprint(1)\n")
    main.write_text(f"import jobs\n\n{call}")
    withheld = ask(path, "single-thread-python", main=str(main))["withheld"]
    assert ("imports the file" if guarded else "imports program.py, too") in withheld


def test_what_computes_goes_to_no_thread(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(BLOCKED)
    assert "would hold the GIL" in ask(path, "blocked-event-loop", computes=True)["withheld"]
    assert "3.9" in ask(path, "blocked-event-loop", python="3.8")["withheld"]


def test_memory_for_the_processes(tmp_path: Path) -> None:
    """As many of them as the diff starts: the program's own number, else what that Python takes by itself."""
    path = tmp_path / "program.py"
    path.write_text(THREADS)  # has 4
    gib = 2**30
    free = {"free_bytes": 5 * gib, "online": 8, "affinity": 3}
    held = ask(path, "gil-bound-threads", rss_bytes=2 * gib, **free)["withheld"]
    assert "2.0 GiB, and 4 of them more than the 5.0 GiB that are free" in held
    assert "diff" in ask(path, "gil-bound-threads", rss_bytes=gib, **free)
    assert "diff" in ask(path, "gil-bound-threads", rss_bytes=2 * gib, free_bytes=0)  # not known
    path.write_text(THREADS.replace("max_workers=4", "max_workers=None"))
    assert "and 8 of them" in ask(path, "gil-bound-threads", rss_bytes=2 * gib, **free)["withheld"]
    assert "and 3 of" in ask(path, "gil-bound-threads", rss_bytes=2 * gib, python="3.13", **free)["withheld"]
    path.write_text(THREADS.replace("max_workers=4", "size").replace("\nwith", "\nsize = 6\nwith"))
    assert "and 6 of them" in ask(path, "gil-bound-threads", rss_bytes=gib, **free)["withheld"]
    path.write_text(THREADS.replace("max_workers=4", "len(open('sizes').read())"))
    told = ask(path, "gil-bound-threads", rss_bytes=gib, threads=12, **free)
    assert "and 11 of them" in told["withheld"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (LOOP, "with ProcessPoolExecutor({}) as executor:"),
        (JOINED, "with ProcessPoolExecutor({}) as executor:"),
        (THREADS.replace("max_workers=4", ""), "with ProcessPoolExecutor({}) as pool:"),
    ],
)
def test_a_quota_is_written_into_the_pool(tmp_path: Path, text: str, line: str) -> None:
    """The standard library counts the machine's CPUs, which a container may not use."""
    path = tmp_path / "program.py"
    path.write_text(text)
    verdict = "single-thread-python" if text is LOOP else "gil-bound-threads"
    quota = {"workers": 3, "online": 64, "affinity": 64, "rss_bytes": 1 << 30, "free_bytes": 4 << 30}
    diff = ask(path, verdict, **quota)["diff"]
    assert line.format("max_workers=3") in diff
    assert line.format("") in ask(path, verdict, workers=64, online=64, affinity=64)["diff"]
    assert "and 3 of" in ask(path, verdict, **{**quota, "free_bytes": 2 << 30})["withheld"]
    assert line.format("max_workers=3") in ask(path, verdict, python="3.13", **quota)["diff"]
    few = {"workers": 3, "online": 64, "affinity": 3}  # what 3.13 counts
    assert line.format("") in ask(path, verdict, python="3.13", **few)["diff"]
    assert line.format("max_workers=3") in ask(path, verdict, python="3.12", **few)["diff"]


COUNTED = [
    ("io-sequential", WAITS, 8, 8),
    ("io-sequential", WAITS.replace("range(8)", "[3, 1, 2]"), 3, 8),
    ("io-sequential", WAITS.replace("range(8)", "range(1)"), 1, 8),
    (
        "io-sequential",
        WAITS.replace("found = []", "found = []\n    pages = list(range(2, 6))").replace("range(8)", "pages"),
        4,
        8,
    ),
    (
        "io-sequential",
        WAITS.replace("found = []", "found = []\n    pages = [1]\n    pages.append(2)").replace(
            "range(8)", "pages"
        ),
        0,
        0,
    ),
    ("io-sequential", WAITS.replace("range(8)", "list(open('pages'))"), 0, 0),
    ("single-thread-python", LOOP, 8, 2),
    ("single-thread-native", NATIVE, 8, 2),
    ("gil-bound-threads", TWO_THREADS, 2, 2),
    ("serial-awaits", AWAITS, 20, 8),
    ("serial-awaits", AWAIT_LIST.replace("range(20)", "(1, 2)"), 2, 8),
    ("serial-pool-use", SERIAL.replace("Executor(2)", "Executor(max_workers=5)"), 8, 5),
    ("serial-pool-use", POOL_MADE.replace("Pool(2)", "Pool()"), 8, 6),
    ("blocked-event-loop", BLOCKED, 8, 10),
    ("blocked-event-loop", SLEEPS, 8, 8),
    ("blocked-event-loop", BLOCKED.replace("*(handle(n) for n in range(8))", "handle(1), handle(2)"), 2, 10),
    ("blocked-event-loop", BLOCKED.replace("*(handle(n) for n in range(8))", "handle(1), main()"), 0, 0),
    ("blocked-event-loop", BLOCKED.replace("(handle(n) for", "(asyncio.create_task(handle(n)) for"), 0, 0),
    (
        "blocked-event-loop",
        BLOCKED.replace(
            "async def main", "async def outer(n):\n    return await handle(n)\n\nasync def main"
        ).replace("*(handle(n) for n in range(8))", "*(outer(n) for n in [1, 2, 3])"),
        3,
        10,
    ),
]


@pytest.mark.parametrize(("verdict", "text", "calls", "at_once"), COUNTED)
def test_how_many_calls_there_are(tmp_path: Path, verdict: str, text: str, calls: int, at_once: int) -> None:
    """What the estimate is limited by; nothing of it where the source does not say."""
    path = tmp_path / "program.py"
    path.write_text(text)
    answer = ask(path, verdict, online=6)
    assert (answer.get("calls", 0), answer.get("at_once", 0)) == (calls, at_once)
    assert ("no more than one call" in answer.get("withheld", "")) == (calls == 1)


ASKS_A_CLIENT = """\
import asyncio
import aiohttp

async def fetch(session, n):
    async with session.get(f"http://localhost/{n}") as answer:
        return await answer.text()

async def main():
    async with aiohttp.ClientSession() as session:
        pages = []
        for n in range(20):
            pages.append(await fetch(session, n))
        print(len(pages))

asyncio.run(main())
"""


def test_a_client_that_asks(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text(ASKS_A_CLIENT)
    assert "limited(fetch(session, n)) for n in range(20)" in ask(path, "serial-awaits")["diff"]
    path.write_text(ASKS_A_CLIENT.replace("session.get", "session.post"))
    assert "may change something on the other side" in ask(path, "serial-awaits")["withheld"]


def test_a_handler_of_a_web_application(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text((TESTS / "applications" / "fastapi_app.py").read_text())
    diff = ask(path, "blocked-event-loop")["diff"]
    assert "+import asyncio\n" in diff
    assert "+    return await asyncio.to_thread(ask_the_database)\n" in diff


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
    ("single-thread-native", NATIVE, {'b"x" * n': 'b"x" * (n + 30_000_000)', "range(8)": "range(60)"}),
    (
        "serial-pool-use",
        SERIAL,
        {"return n * n": "return sum(i * i % 7 for i in range(1_000_000 + n))", "range(8)": "range(20)"},
    ),
    ("tiny-tasks", TINY, {"range(300)": "range(20_000)"}),
    ("gil-bound-threads", JOINED, BUSY),
    ("blocked-event-loop", BLOCKED, {"time.sleep(0.01)": "time.sleep(0.1)", "range(8)": "range(16)"}),
    (
        "start-up",
        ANEW,
        {
            "from concurrent.futures": "import multiprocessing\nfrom concurrent.futures",
            "ProcessPoolExecutor(2)": "ProcessPoolExecutor(2, mp_context=multiprocessing.get_context('spawn'))",
            "range(3)": "range(12)",
        },
    ),
]


def python_of_tests() -> Interpreter:
    return next(one for one in interpreters() if one.name == "3.11")


@TWO_CPUS
@pytest.mark.parametrize(
    ("verdict", "text", "changes"), COMMAND, ids=[f"{one[0]}-{i}" for i, one in enumerate(COMMAND)]
)
def test_why_fix(run: Runner, tmp_path: Path, verdict: str, text: str, changes: dict[str, str]) -> None:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    fix_and_run(run, tmp_path, verdict, text, "")


def fix_and_run(run: Runner, tmp_path: Path, verdict: str, text: str, marker: str) -> None:
    """The verdict of a program comes with a diff that applies, and the program prints the same afterwards."""
    python = python_of_tests()
    path = Path(python.script(tmp_path, "program.py", text))
    patch = tmp_path / "out.patch"
    command = python.command([str(path)])
    report = run.why_alone(command, "--fix", str(patch))
    assert report["verdict"]["id"] == verdict, report["verdict"]
    assert report["verdict"]["fix"]["withheld"] is None, report["verdict"]
    diff = patch.read_text()
    assert report["verdict"]["fix"]["diff"] == diff
    name = diff.split("\n", 1)[0].removeprefix("--- a/")
    directory = Path(str(path).removesuffix(name))
    apply(directory, diff)
    assert marker in path.read_text()
    after = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert after.stdout == report["stdout"]


def test_why_fix_knows_the_main_file(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop stands in a module; the script, or the module given to -m, has no guard."""
    text = LOOP[: LOOP.index("\nif __name__")].replace(*next(iter(BUSY.items())))
    python = python_of_tests()
    python.script(tmp_path, "jobs.py", text)
    script = python.script(tmp_path, "program.py", "import jobs\n\njobs.main()\n")
    for command in ([script], ["-m", "program"]):
        monkeypatch.chdir(tmp_path)
        fix = run.why(python.command(command))["verdict"]["fix"]
        assert fix["withheld"].startswith("each process imports program.py, too"), fix


PAGES = """\
import urllib.request
from slow_server import URL

def fetch(n):
    with urllib.request.urlopen(f"{URL}/{n}") as answer:
        return len(answer.read())

def main():
    sizes = []
    for n in range(60):
        sizes.append(fetch(n))
    print(sum(sizes))

main()
"""
CONNECTIONS = """\
import asyncio
from slow_server import HOST, PORT

async def fetch(n):
    reader, writer = await asyncio.open_connection(HOST, PORT)
    writer.write(b"\\n")
    line = await reader.readline()
    writer.close()
    return line.decode()

async def main():
    lines = []
    for n in range(60):
        lines.append(await fetch(n))
    print(len(lines))

asyncio.run(main())
"""


@TWO_CPUS
@pytest.mark.parametrize(
    ("verdict", "text", "marker"),
    [("io-sequential", PAGES, "ThreadPoolExecutor(8)"), ("serial-awaits", CONNECTIONS, "asyncio.gather(")],
)
def test_why_fix_of_waits(run: Runner, tmp_path: Path, verdict: str, text: str, marker: str) -> None:
    """They ask a server, which lies in a file of its own."""
    server = (TESTS.parent / "bench" / "slow_server.py").read_text()
    python_of_tests().script(tmp_path, "slow_server.py", server)
    fix_and_run(run, tmp_path, verdict, text, marker)


TWO_PHASES = """\
import urllib.request
from slow_server import URL

def work(n):
    return sum(i * i % 7 for i in range(900_000 + n))

def fetch(n):
    sum(i * i % 7 for i in range(20_000))
    with urllib.request.urlopen(f"{URL}/{n}") as answer:
        return len(answer.read())

def main():
    results = []
    for n in range(20):
        results.append(work(n))
    print(sum(results))
    sizes = []
    for n in range(130):
        sizes.append(fetch(n))
    print(sum(sizes))

main()
"""
WHILE = TWO_PHASES.replace("for n in range(130):", "page = 0\n    while page < 130:").replace(
    "(fetch(n))", "(fetch(page))\n        page += 1"
)


@TWO_CPUS
@pytest.mark.long
def test_the_fix_is_of_the_phase_that_speaks(run: Runner, tmp_path: Path) -> None:
    """First it computes, then it asks a server: the second saves more, and the first has no part in its fix."""
    server = (TESTS.parent / "bench" / "slow_server.py").read_text()
    python = python_of_tests()
    # one thread: where a fifth is the work of threads that lived shortly, no phases are told
    python.script(tmp_path, "slow_server.py", server.replace("ThreadingTCPServer", "TCPServer"))
    for text in (TWO_PHASES, WHILE):
        path = Path(python.script(tmp_path, "program.py", text))
        report = run.why_alone(python.command([str(path)]))
        assert [one["id"] for one in report["phases"]] == ["single-thread-python", "io-sequential"]
        assert report["verdict"]["id"] == "io-sequential", report["verdict"]
        fix = report["verdict"]["fix"]
        if text is WHILE:
            assert fix["withheld"].startswith("no pattern of code"), fix
        else:
            assert "+        sizes.extend(executor.map(fetch, range(130)))\n" in fix["diff"]
            assert "map(work" not in fix["diff"]


RECORDED = """\
import runpy, sys, time

calls, sleep = [], time.sleep

def recorded(seconds):
    start = time.monotonic()
    sleep(seconds)
    calls.append((start, time.monotonic()))

time.sleep = recorded
runpy.run_path(sys.argv[1], run_name="__main__")
reached = together = 0
for start, end in sorted(calls):
    together += max(end - max(start, reached), 0)
    reached = max(reached, end)
print(sum(end - start for start, end in calls) / together)
"""
FEW_BLOCK = """\
import asyncio
import time

def ask(n):
    time.sleep(0.25)
    return n * 3

async def handle(n):
    return ask(n) + 1

async def main():
    for turn in range(6):
        print(await asyncio.gather(*(handle(n) for n in TASKS)))

asyncio.run(main())
"""


@TWO_CPUS
@pytest.mark.parametrize(
    ("tasks", "at_a_time"), [("range(2)", 2), pytest.param("[4, 5, 6]", 3, marks=pytest.mark.long)]
)
def test_few_tasks_gain_what_is_told(run: Runner, tmp_path: Path, tasks: str, at_a_time: int) -> None:
    """The program waits, by construction: how many of its waits run at a time is what the patch gains."""
    python = python_of_tests()
    path = Path(python.script(tmp_path, "program.py", FEW_BLOCK.replace("TASKS", tasks)))
    report = run.why_alone(python.command([str(path)]))
    assert report["verdict"]["id"] == "blocked-event-loop", report["verdict"]
    estimate = report["verdict"]["estimate"]["speedup"]
    recorder = python.script(tmp_path, "recorder.py", RECORDED)
    gains = []
    for patched in (False, True):
        if patched:
            diff = report["verdict"]["fix"]["diff"]
            name = diff.split("\n", 1)[0].removeprefix("--- a/")
            apply(Path(str(path).removesuffix(name)), diff)
        command = python.command([recorder, str(path)])
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        *lines, gain = done.stdout.splitlines()
        assert "\n".join(lines) == report["stdout"].strip()
        gains.append(float(gain))
    assert gains[0] == pytest.approx(1, abs=0.1)
    assert gains[1] == pytest.approx(at_a_time, rel=0.2)
    assert gains[1] / gains[0] == pytest.approx(estimate, rel=0.3)


@TWO_CPUS
def test_the_page_says_why_not(run: Runner, tmp_path: Path) -> None:
    text = THREADS.replace("    total = 0", "    print(n)\n    total = 0").replace(
        "range(100, 108)", "range(900_000, 900_008)"
    )
    python = python_of_tests()
    page = tmp_path / "report.html"
    command = python.command([python.script(tmp_path, "program.py", text)])
    report = run.why_alone(command, "-o", str(page))
    assert report["verdict"]["fix"]["diff"] is None
    assert report["verdict"]["fix"]["withheld"].startswith("work calls print")
    assert "No patch: work calls print" in page.read_text()


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
