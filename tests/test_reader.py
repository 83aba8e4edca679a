"""The Python reader on real interpreters: what tests/c/pyread.c shows, against programs of known truth."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from interpreters import Interpreter, interpreters

ROOT = Path(__file__).parent.parent
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
MAX_DEPTH = 192  # AC_MAX_DEPTH


@dataclass
class Stack:
    count: int
    tid: int
    result: int
    kind: str
    frames: list[tuple[str, str, int]]  # name, file, line; leaf first

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.frames]


@dataclass
class Reading:
    version: str = ""
    free_threaded: bool = False
    threads: list[tuple[str, int, int]] = field(default_factory=list)  # tstate, interpreter, native tid
    gils: list[tuple[int, bool, bool, str]] = field(
        default_factory=list
    )  # interpreter, enabled, held, holder
    stacks: list[Stack] = field(default_factory=list)
    waits: list[tuple[int, int]] = field(default_factory=list)  # native tid, interpreter
    torn: int = 0
    failed: int = 0

    def shown(self) -> list[Stack]:
        return [stack for stack in self.stacks if stack.result == 0]


def parse(text: str) -> Reading:
    reading = Reading()
    for line in text.splitlines():
        kind, *rest = line.split("\t")
        if kind == "version":
            reading.version, reading.free_threaded = rest[0], rest[2] == "1"
        elif kind == "thread":
            reading.threads.append((rest[0], int(rest[1]), int(rest[2])))
        elif kind == "gil":
            reading.gils.append((int(rest[0]), rest[1] == "1", rest[2] == "1", rest[3]))
        elif kind == "wait":
            reading.waits.append((int(rest[0]), int(rest[1])))
        elif kind == "stack":
            frames = [re.fullmatch(r"(.*):(.*):(-?\d+)", frame) for frame in rest[4].split(";") if frame]
            parts = [(match[1], match[2], int(match[3])) for match in frames if match]
            reading.stacks.append(Stack(int(rest[0]), int(rest[1]), int(rest[2]), rest[3], parts))
        elif kind == "errors":
            reading.torn, reading.failed = int(rest[0]), int(rest[1])
    return reading


@pytest.fixture(scope="session")
def pyread(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binary that `make check-c` has built; built here when it was not."""
    built = Path(os.environ.get("ALLCORES_PYREAD", ROOT / "build" / "c-plain" / "tests" / "c" / "pyread"))
    if built.exists():
        return built
    directory = tmp_path_factory.mktemp("build")
    subprocess.run(["meson", "setup", directory, ROOT, "-Dtests=true"], check=True, capture_output=True)
    subprocess.run(["ninja", "-C", directory, "tests/c/pyread"], check=True, capture_output=True)
    return directory / "tests" / "c" / "pyread"


def read(pyread: Path, pid: int, samples: int = 100, interval_us: int = 2000) -> Reading:
    command = [str(pyread), str(pid), str(samples), str(interval_us)]
    answer = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    return parse(answer.stdout.decode())


@pytest.fixture(params=interpreters(), ids=lambda found: found.name)
def python(request: pytest.FixtureRequest) -> Interpreter:
    found = request.param
    assert isinstance(found, Interpreter)
    return found


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A program that prints a line once it is where the test wants it."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout and process.stdout.readline().strip() == "ready"
        time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def program(python: Interpreter, tmp_path: Path, text: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    script = python.script(tmp_path, "program.py", text)
    with started(python.command([script])) as process:
        yield process, script


def qualified(python: Interpreter, name: str) -> str:
    """Names are qualified from 3.11 on."""
    return name if python.version >= (3, 11) else name.rsplit(".", 1)[-1]


NAMES = """\
import time
class Outer:
    class Inner:
        def method(self, until):
            count = 0
            print("ready", flush=True)
            while True:
                count += 1

def middle(until):
    return Outer.Inner().method(
        until)
def outer():
    return middle(
        1)
outer()
"""


def test_names_files_and_lines(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, NAMES) as (process, script):
        reading = read(pyread, process.pid)
    assert reading.version == f"{python.version[0]}.{python.version[1]}.{python.micro}"
    assert reading.free_threaded == python.free_threaded
    assert [tid for _, _, tid in reading.threads] == [process.pid]
    assert reading.failed == 0
    stacks = reading.shown()
    assert sum(stack.count for stack in stacks) >= 1
    for stack in stacks:
        assert {file for _, file, _ in stack.frames} == {script}
        leaf, *callers = stack.frames
        assert leaf[0] == qualified(python, "Outer.Inner.method")
        assert leaf[2] in (7, 8)
        assert callers == [("middle", script, 11), ("outer", script, 14), ("<module>", script, 16)]


# C functions whose results cost nothing to free: that would be the bytecode's time.
KINDS = """\
import json, re, sys
def parses():
    text = json.dumps("a" * 5000000)
    scan = json.JSONDecoder().scan_once
    print("ready", flush=True)
    while True:
        scan(text, 0)
def searches():
    words = "ab " * 200000
    pattern = re.compile("b[cd]")
    print("ready", flush=True)
    while True:
        pattern.search(words)
def adds():
    numbers = list(range(300000))
    print("ready", flush=True)
    while True:
        sum(numbers)
def counts():
    n = 0
    print("ready", flush=True)
    while True:
        n = n * 3 % 1000003 + 1
BODY()
"""


@pytest.mark.parametrize("body", ["parses", "searches", "adds", "counts"])
def test_bytecode_is_told_from_c_functions(
    python: Interpreter, pyread: Path, tmp_path: Path, body: str
) -> None:
    with program(python, tmp_path, KINDS.replace("BODY", body)) as (process, _):
        reading = read(pyread, process.pid, 200, 1000)
    kinds = Counter[str]()
    for stack in reading.shown():
        kinds[stack.kind] += stack.count
        assert stack.names[0] == body
    assert kinds.total() > 190
    if body == "counts":
        assert kinds["c_call"] == 0, kinds
    else:
        assert kinds["c_call"] >= 0.9 * kinds.total(), kinds


GENERATORS = """\
import asyncio
def spin():
    n = 0
    print("ready", flush=True)
    while True:
        n += 1
def inner():
    yield spin()
def outer():
    yield from inner()
async def coroutine():
    for _ in outer():
        pass
async def main():
    await coroutine()
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
"""


def test_generators_and_coroutines(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, GENERATORS) as (process, _):
        reading = read(pyread, process.pid, 30)
    for stack in reading.shown():
        assert stack.names[:5] == ["spin", "inner", "outer", "coroutine", "main"]
        assert stack.names[-1] == "<module>"
        assert [line for _, _, line in stack.frames[1:5]] == [8, 10, 12, 15]


DEEP = """\
import sys
sys.setrecursionlimit(5000)
def spin():
    n = 0
    print("ready", flush=True)
    while True:
        n += 1
def fall(depth):
    if depth:
        fall(depth - 1)
    else:
        spin()
fall(DEPTH)
"""


@pytest.mark.parametrize("depth", [150, 900])
def test_deep_recursion(python: Interpreter, pyread: Path, tmp_path: Path, depth: int) -> None:
    with program(python, tmp_path, DEEP.replace("DEPTH", str(depth))) as (process, _):
        reading = read(pyread, process.pid, 20)
    assert reading.shown()
    for stack in reading.shown():
        names = stack.names
        assert names[0] == "spin" and names[-1] == "<module>"
        if depth == 150:
            assert names[1:-1] == ["fall"] * 151
        else:
            assert len(names) == MAX_DEPTH
            assert names.count("[...]") == 1
            assert names.count("fall") == MAX_DEPTH - 3


CALLBACK = """\
def key(x):
    n = 0
    print("ready", flush=True)
    while True:
        n += 1
def caller():
    return sorted([3, 1, 2],
                  key=key)
list(map(lambda _: caller(), [1]))
"""


def test_python_called_back_from_c(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, CALLBACK) as (process, _):
        reading = read(pyread, process.pid, 20)
    for stack in reading.shown():
        assert stack.names == ["key", "caller", "<lambda>", "<module>"]
        assert [line for _, _, line in stack.frames[1:]] == [7, 9, 9]
        assert stack.kind == "bytecode"


ODD = """\
source = '''
def gr\\u00f6\\u00dfe():
    n = 0
    print("ready", flush=True)
    while True:
        n += 1
def \\u6570():
    gr\\u00f6\\u00dfe()
def \\U00010330():
    \\u6570()
\\U00010330()
'''
exec(compile(source, "<\\u00fc \\u6587\\u4ef6 \\U0001f600>" + "x" * 3000, "exec"))
"""


def test_odd_names(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, ODD) as (process, _):
        reading = read(pyread, process.pid, 20)
    for stack in reading.shown():
        assert stack.names[:3] == ["größe", "数", "\U00010330"]
        for _, file, _ in stack.frames[:4]:
            assert file.startswith("<ü 文件 \U0001f600>xxx")
            assert 1000 < len(file.encode()) <= 1024


CHANGING = """\
def make(i):
    names = {}
    exec("def changing_%d():\\n%s    n = 0\\n    for k in range(100000): n += k\\n" % (i, "\\n" * i), names)
    return names["changing_%d" % i]
print("ready", flush=True)
i = 0
while True:
    i += 1
    make(i % 50)()
"""


def test_code_objects_whose_address_is_used_again(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, CHANGING) as (process, _):
        reading = read(pyread, process.pid, 300)
    right = wrong = 0
    for stack in reading.shown():
        match = re.fullmatch(r"changing_(\d+)", stack.names[0])
        if match and stack.frames[0][2] - int(match[1]) in (2, 3):
            right += stack.count
        elif match:
            wrong += stack.count
    assert right > 50
    assert wrong == 0


INTERPRETERS = """\
import threading
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
def spin():
    n = 0
    while True:
        n += 1
inner = interpreters.create()
source = "def inside():\\n    n = 0\\n    while True:\\n        n += 1\\ninside()\\n"
threading.Thread(target=lambda: interpreters.run_string(inner, source), daemon=True).start()
threading.Thread(target=spin, daemon=True).start()
import time
time.sleep(0.5)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("python", [p for p in interpreters() if p.version >= (3, 12)], ids=lambda p: p.name)
def test_interpreters_have_their_own_gil(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, INTERPRETERS) as (process, _):
        reading = read(pyread, process.pid, 50)
    assert {interpreter for _, interpreter, _ in reading.threads} == {0, 1}
    leaves = {stack.names[0] for stack in reading.shown()}
    assert {"inside", "spin"} <= leaves
    assert {interpreter for interpreter, _, _, _ in reading.gils} == {0, 1}
    inside = {tstate for tstate, interpreter, _ in reading.threads if interpreter == 1}
    for interpreter, enabled, held, holder in reading.gils:
        assert enabled != python.free_threaded
        if held:
            assert (holder in inside) == (interpreter == 1)


GIL = """\
import threading
def spin():
    n = 0
    while True:
        n += 1
for _ in range(3):
    threading.Thread(target=spin, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""


def test_gil_holder_and_thread_ids(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, GIL) as (process, _):
        while (process.pid, 0) in read(pyread, process.pid, 1).waits:
            pass  # on a busy machine: not at its sleep yet
        readings = [read(pyread, process.pid, 1) for _ in range(10)]
        tasks = {int(task.name) for task in Path(f"/proc/{process.pid}/task").iterdir()}
    holders = set()
    waiters = {wait for reading in readings for wait in reading.waits}
    for reading in readings:
        assert {tid for _, _, tid in reading.threads} == tasks
        assert len(reading.gils) == 1
        _, enabled, held, holder = reading.gils[0]
        assert enabled != python.free_threaded
        assert not (held and python.free_threaded)
        if held:
            holders.add({tstate: tid for tstate, _, tid in reading.threads}[holder])
    if python.free_threaded:
        assert not waiters
    else:
        assert holders and holders <= tasks - {process.pid}
        # Two of three wait at any time, and sleep in a futex of the GIL; the main thread sleeps in another.
        assert waiters and waiters <= {(tid, 0) for tid in tasks - {process.pid}}


CHURN = """\
import threading
def work():
    n = 0
    for k in range(20000):
        n += k
def start():
    while True:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
for _ in range(4):
    threading.Thread(target=start, daemon=True).start()
print("ready", flush=True)
threading.Event().wait()
"""


def test_threads_that_come_and_go(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, CHURN) as (process, script):
        reading = read(pyread, process.pid, 500, 1000)
    names = Counter[str]()
    for stack in reading.shown():
        names[stack.names[0]] += stack.count
        assert all(line > 0 and (file == script or "thread" in file) for _, file, line in stack.frames[1:])
    assert names["work"] > 0
    total = sum(stack.count for stack in reading.stacks)
    assert reading.torn <= 0.1 * total


FORK = """\
import os, threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
pid = os.fork()
if pid == 0:
    n = 0
    def child():
        n = 0
        while True:
            n += 1
    child()
print("ready", flush=True)
print(pid, flush=True)
time.sleep(60)
"""


def test_after_fork(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, FORK) as (process, _):
        assert process.stdout
        child = int(process.stdout.readline())
        try:
            time.sleep(0.2)
            reading = read(pyread, child, 10)
        finally:
            os.kill(child, 9)
    assert child in {tid for _, _, tid in reading.threads}
    assert any(stack.names[0] == "child" and stack.tid == child for stack in reading.shown())


TORN_FUNCTIONS = 6
TORN = (
    "".join(
        f"def leaf{i}(n):\n    s = 0\n    for k in range(n):\n        s += k * k % 7\n    return s\n"
        f"def mid{i}(n):\n    x = leaf{i}(n)\n    return x\n"
        f"def top{i}(n):\n    y = mid{i}(n)\n    return y\n"
        for i in range(TORN_FUNCTIONS)
    )
    + "def loop(n):\n    while True:\n"
    + "".join(f"        top{i}(n)\n" for i in range(TORN_FUNCTIONS))
    + """
import time
n, took = 16, 0.0
while took < 250e-6:
    n = int(n * 1.2)
    took = min((lambda t: (leaf0(n), time.perf_counter() - t)[1])(time.perf_counter()) for _ in range(5))
def deep(k):
    if k:
        deep(k - 1)
    else:
        print("ready", flush=True)
        loop(n)
deep(20)
"""
)
LOOP_LINE = 11 * TORN_FUNCTIONS + 3


def possible(stack: Stack) -> bool:
    """Does this stack of TORN's exist: leafI in midI in topI in loop, at the line that calls topI?"""
    if "loop" not in stack.names:
        return False
    at = stack.names.index("loop")
    chain = stack.names[:at]
    if not chain:
        return True
    number = chain[0][-1]
    if chain != [f"{kind}{number}" for kind in ("leaf", "mid", "top")[3 - at :]]:
        return False
    return stack.frames[at][2] == LOOP_LINE + int(number)


def test_torn_stacks_are_not_shown(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    with program(python, tmp_path, TORN) as (process, _):
        reading = read(pyread, process.pid, 2000, 500)
    wrong = sum(stack.count for stack in reading.shown() if not possible(stack))
    total = sum(stack.count for stack in reading.shown())
    assert total > 1000
    assert wrong < 0.01 * total
    assert reading.torn < 0.05 * total


# --- processes that are hard to open; one version with and one without debug offsets


def by_version(*versions: tuple[int, int]) -> list[Interpreter]:
    return [found for found in interpreters() if found.version in versions and not found.root]


def executable(python: Interpreter) -> tuple[Path, dict[str, str]]:
    """The real executable and the environment that a copy of it needs."""
    text = "import sys, os; print(os.path.realpath(sys.executable), sys.base_prefix)"
    answer = subprocess.run(python.command(["-c", text]), capture_output=True, text=True, check=True)
    path, prefix = answer.stdout.split()
    return Path(path), {**os.environ, "PYTHONHOME": prefix}


SPIN = "def spin():\n    n = 0\n    print('ready', flush=True)\n    while True:\n        n += 1\nspin()\n"


@contextmanager
def copy_started(python: Interpreter, copy: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([str(copy), "-c", SPIN], stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert process.stdout and process.stdout.readline().strip() == "ready"
        time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


def shows_spin(pyread: Path, process: subprocess.Popen[str], python: Interpreter) -> None:
    reading = read(pyread, process.pid, 5)
    assert reading.version.startswith(f"{python.version[0]}.{python.version[1]}.")
    assert reading.shown()[0].names == ["spin", "<module>"]


STATIC = [found for found in interpreters() if not found.root]
WITH_COOKIE = [found for found in STATIC if found.version >= (3, 13)]


@pytest.mark.parametrize("python", STATIC, ids=lambda found: found.name)
def test_stripped_deleted_and_renamed(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    original, env = executable(python)
    copy = tmp_path / "server"  # the name does not tell the version
    shutil.copy(original, copy)
    subprocess.run(["strip", "--strip-all", copy], check=True)
    with copy_started(python, copy, env) as process:
        copy.unlink()
        shows_spin(pyread, process, python)


@pytest.mark.parametrize(
    "python", [found for found in STATIC if found.version >= (3, 13)], ids=lambda p: p.name
)
def test_without_section_headers(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    original, env = executable(python)
    image = bytearray(original.read_bytes())
    image[0x28:0x30] = bytes(8)  # e_shoff
    image[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
    copy = tmp_path / "server"
    copy.write_bytes(image)
    copy.chmod(0o755)
    with copy_started(python, copy, env) as process:
        shows_spin(pyread, process, python)


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")
@pytest.mark.parametrize("python", by_version((3, 8), (3, 11), (3, 14)), ids=lambda found: found.name)
def test_in_a_pid_namespace(python: Interpreter, pyread: Path, tmp_path: Path) -> None:
    script = python.script(tmp_path, "program.py", GIL)
    with started(["unshare", "--fork", "--pid", "--kill-child", *python.command([script])]) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        reading = read(pyread, int(children[0]), 5)
    assert sorted(tid for _, _, tid in reading.threads) == [1, 2, 3, 4]


OLD = [path for pattern in ("2.7*", "3.6*", "3.7*") for path in PYENV.glob(pattern + "/bin/python")]


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.parent.parent.name)
def test_older_versions_are_named_and_refused(path: Path, pyread: Path) -> None:
    with started([str(path), "-u", "-c", "import time; print('ready'); time.sleep(60)"]) as process:
        answer = subprocess.run([pyread, str(process.pid)], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    error, version = answer.stderr.split()
    assert int(error) == errno.ENOTSUP
    assert version.startswith(".".join(path.parent.parent.name.split(".")[:2]) + ".")


def test_what_is_not_python(pyread: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        time.sleep(0.1)
        answer = subprocess.run([pyread, str(process.pid)], capture_output=True, text=True, check=False)
    finally:
        process.kill()
        process.wait()
    assert answer.returncode == 2
    assert int(answer.stderr.split()[0]) == errno.ENOEXEC


def test_a_process_that_is_gone(pyread: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    answer = subprocess.run([pyread, str(process.pid)], capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert int(answer.stderr.split()[0]) == errno.ESRCH
