"""The command as its users meet it: exit codes, signals, the terminal, options, bad input."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from interpreters import Interpreter, interpreters

SHORT = "print('out'); import sys; print('err', file=sys.stderr)"


class Command:
    """The real command, run in a directory of its own."""

    def __init__(self, path: str, directory: Path) -> None:
        self.path = path
        self.directory = directory

    def __call__(self, *args: object, **options: object) -> subprocess.CompletedProcess[str]:
        keywords: dict[str, object] = {
            "capture_output": True,
            "text": True,
            "timeout": 60,
            "cwd": self.directory,
        }
        keywords.update(options)
        return subprocess.run([self.path, *map(str, args)], **keywords)  # type: ignore[call-overload, no-any-return]

    def script(self, text: str, name: str = "script.py") -> str:
        (self.directory / name).write_text(text)
        return name


@pytest.fixture
def cli(allcores: str, tmp_path: Path) -> Command:
    return Command(allcores, tmp_path)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The message: a single line that starts with our name."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("allcores: ")
    return lines[0]


# --- exit codes and streams


@pytest.mark.parametrize(("code", "expected"), [("sys.exit(0)", 0), ("sys.exit(3)", 3), ("1/0", 1)])
def test_the_scripts_exit_code(cli: Command, code: str, expected: int) -> None:
    assert cli("why", cli.script(f"import sys; {code}")).returncode == expected


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_killed_by_a_signal(cli: Command, number: signal.Signals) -> None:
    done = cli("why", cli.script(f"import os; os.kill(os.getpid(), {int(number)})"))
    assert done.returncode == 128 + number
    assert "CPUs:" in done.stderr


def test_streams_stay_the_programs(cli: Command) -> None:
    script = cli.script("import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1])")
    done = cli("why", script, input="abc\x00\n")
    assert done.stdout == "\n\x00cba"


def test_stdout_has_nothing_of_ours(cli: Command) -> None:
    assert cli("why", cli.script(SHORT)).stdout == "out\n"
    assert cli("why", "-q", cli.script(SHORT)).stderr == "err\n"


SEEN = """
import json, os, signal, sys
names = ['/proc/self/fd/' + name for name in os.listdir('/proc/self/fd')]
print(json.dumps({
    'env': dict(os.environ), 'cwd': os.getcwd(), 'argv': sys.argv[1:],
    'fds': sorted(os.readlink(name).split(':')[0] for name in names if os.path.exists(name)),
    'mask': sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    'ignored': [s for s in range(1, 65) if s not in (32, 33) and signal.getsignal(s) == signal.SIG_IGN],
    'group': os.getpgrp() == os.getpgid(os.getppid()), 'session': os.getsid(0) == os.getsid(os.getppid()),
    'nice': os.nice(0), 'policy': os.sched_getscheduler(0),
}))
"""


def test_the_program_cannot_tell(cli: Command, here: Interpreter) -> None:
    """Environment, descriptors, signal mask and dispositions, scheduling: as without us."""
    script = cli.script(SEEN)
    alone = subprocess.run(
        here.command([script, "a", "-b"]), capture_output=True, text=True, cwd=cli.directory, check=True
    )
    under = cli("why", "-r", "1000", "--", *here.command([script, "a", "-b"]))
    first, second = json.loads(alone.stdout), json.loads(under.stdout)
    for key in ("SHLVL", "_"):
        first["env"].pop(key, None)
        second["env"].pop(key, None)
    assert first == second


@pytest.mark.parametrize("command", [["-m", "json.tool", "-h"], ["-mjson.tool", "-h"]])
def test_modules(cli: Command, command: list[str]) -> None:
    done = cli("why", *command)
    assert done.returncode == 0
    assert "json.tool" in done.stdout


def test_python_picks_the_interpreter(cli: Command, here: Interpreter) -> None:
    script = cli.script("import sys; print(sys.executable)")
    done = cli("why", "--python", here.prefix[0], script)
    assert done.stdout.strip() == here.prefix[0]


def test_options_after_the_script_are_the_scripts(cli: Command) -> None:
    done = cli("why", cli.script("import sys; print(sys.argv[1:])"), "-q", "--pid", "--", "x")
    assert done.stdout == "['-q', '--pid', '--', 'x']\n"


def test_an_executable_is_a_command_though_no_dashes_say_so(cli: Command, here: Interpreter) -> None:
    done = cli("why", "-q", here.prefix[0], "-c", "print('ran')")
    assert (done.returncode, done.stdout) == (0, "ran\n")


# --- errors of our own

BAD = [
    (["why"], 125, "what shall run"),
    (["why", "missing.py"], 127, "no such script"),
    (["why", "--", "no-such-command-xyz"], 127, "not found"),
    (["why", "--", "/etc/passwd"], 126, "cannot be executed"),
    (["why", "--python", "/nonexistent/python", "x.py"], 127, ""),
    (["why", "--bogus", "x.py"], 125, "unknown option --bogus"),
    (["why", "--durations", "3", "x.py"], 125, "did you mean --duration"),
    (["why", "-d", "soon", "x.py"], 125, "a time is"),
    (["why", "-d", "-1", "x.py"], 125, "a time is"),
    (["why", "-r", "0", "x.py"], 125, "a rate is"),
    (["why", "-r", "30khz", "x.py"], 125, "a rate is"),
    (["why", "-r"], 125, "needs a value"),
    (["why", "--pid", "abc"], 125, "a process id"),
    (["why", "--pid", "0"], 125, "a process id"),
    (["why", "--pid", "2147483000"], 125, "no process"),
    (["why", "--pid", "1", "x.py"], 125, "not both"),
    (["why", "--json", "x.py"], 125, "-o report.json"),
    (["why", "-o", "report.txt", "x.py"], 125, "the suffix picks the format"),
    (["why", "-o", "/nonexistent/r.json", "x.py"], 125, "cannot be written"),
    (["why", "-o", ".json/", "x.py"], 125, ""),
    (["why", "--fail-under", "many", "x.py"], 125, "a number of cores"),
    (["show"], 125, "one recording"),
    (["show", "missing.allcores"], 125, "no such file"),
    (["show", "x.py"], 125, "not an .allcores recording"),
    (["dump"], 125, "which process"),
    (["dump", "--pid", "2147483000"], 125, "no process"),
    (["cpus", "--pid", "2147483000"], 125, "no process"),
    (["cpus", "extra"], 125, "no arguments"),
    (["whi"], 125, "did you mean why"),
    (["x.py"], 125, "allcores why x.py"),
]


@pytest.mark.parametrize(("args", "code", "words"), BAD, ids=lambda value: str(value)[:40])
def test_bad_input_gets_one_clear_line(cli: Command, args: list[str], code: int, words: str) -> None:
    cli.script("raise SystemExit('the program ran')", "x.py")
    done = cli(*args)
    assert done.returncode == code, done.stderr
    assert words in one_line(done)
    assert done.stdout == ""


def test_a_script_that_cannot_be_read(cli: Command) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (cli.directory / "secret.py").touch(mode=0)
    done = cli("why", "secret.py")
    assert (done.returncode, "cannot be read" in one_line(done)) == (126, True)


@pytest.mark.parametrize(
    "args", [["--help"], ["why", "--help"], ["why", "-h"], ["cpus", "--help"], ["--version"]]
)
def test_help(cli: Command, args: list[str]) -> None:
    done = cli(*args)
    assert (done.returncode, done.stderr) == (0, "")
    assert "allcores" in done.stdout
    assert all(len(line) <= 110 for line in done.stdout.splitlines())


def test_each_command_lists_what_it_writes(cli: Command) -> None:
    assert ".pftrace" in cli("why", "--help").stdout
    help_of_race = cli("race", "--help").stdout
    assert ".html .json .md" in help_of_race and ".pftrace" not in help_of_race


# --- outputs


def test_every_format_at_once(cli: Command) -> None:
    names = ["r.json", "r.speedscope.json", "r.gecko.json", "r.pftrace", "r.folded", "r.allcores"]
    options = [word for name in names for word in ("-o", name)]
    done = cli("why", "-q", *options, cli.script("sum(range(10_000_000))"))
    assert done.returncode == 0, done.stderr
    assert all((cli.directory / name).stat().st_size > 100 for name in names)


def test_a_full_disk_is_told_and_the_programs_code_wins(cli: Command) -> None:
    done = cli("why", "-q", "-o", "/dev/full", cli.script("pass"))
    assert done.returncode == 125
    assert "No space left" in one_line(done)
    assert cli("why", "-q", "-o", "/dev/full", cli.script("raise SystemExit(4)")).returncode == 4


def test_an_old_report_survives_a_failed_write(cli: Command) -> None:
    (cli.directory / "r.json").write_text("old")
    script = cli.script("import resource; import os; os.kill(os.getpid(), 9)")
    limited = ["bash", "-c", f"ulimit -f 0; trap '' XFSZ; exec {cli.path} why -q -o r.json {script}"]
    done = subprocess.run(limited, capture_output=True, text=True, cwd=cli.directory, timeout=60)
    assert done.returncode == 137
    assert (cli.directory / "r.json").read_text() == "old"
    assert [one.name for one in cli.directory.iterdir() if ".tmp" in one.name] == []


def test_fail_under(cli: Command) -> None:
    assert cli("why", "-q", "--fail-under", "0.01", cli.script("sum(range(10_000_000))")).returncode == 0
    done = cli("why", "-q", "--fail-under", "1.9", cli.script("sum(range(10_000_000))"))
    assert (done.returncode, "fewer than --fail-under" in done.stderr) == (1, True)
    assert cli("why", "-q", "--fail-under", "1.9", cli.script("raise SystemExit(6)")).returncode == 6


def test_show_tells_a_recording_again(cli: Command) -> None:
    cli("why", "-q", "-o", "r.allcores", "-o", "r.json", cli.script("sum(range(20_000_000))"))
    again = cli("show", "r.allcores", "--json")
    assert json.loads(again.stdout) == json.loads((cli.directory / "r.json").read_text())
    assert "CPUs:" in cli("show", "r.allcores").stderr
    assert cli("show", "r.allcores", "-q", "-o", "again.folded").returncode == 0


def test_damaged_recordings(cli: Command) -> None:
    cli("why", "-q", "-o", "r.allcores", cli.script("sum(range(5_000_000))"))
    data = (cli.directory / "r.allcores").read_bytes()
    damaged = {
        "half": data[: len(data) // 2],
        "empty": b"",
        "magic": b"x" + data[1:],
        "flipped": data[:60] + bytes([data[60] ^ 255]) + data[61:],
        "huge": data[:16] + b"\xff" * 8 + data[24:],
    }
    for name, bad in damaged.items():
        (cli.directory / f"{name}.allcores").write_bytes(bad)
        done = cli("show", f"{name}.allcores")
        assert done.returncode == 125, name
        one_line(done)
    (cli.directory / "newer.allcores").write_bytes(data[:8] + b"\x63\0\0\0" + data[12:])
    assert "newer allcores" in one_line(cli("show", "newer.allcores"))


# --- signals and the terminal


@contextlib.contextmanager
def terminal(command: list[str], directory: Path) -> Iterator[tuple[int, int, Callable[[str], str]]]:
    """A command on a terminal of its own: its pid, the terminal, and a function that reads up to a text."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.environ.update(PS1="$ ", TERM="xterm", INPUTRC="/dev/null")
        os.execv(command[0], command)
    seen = ""

    def read_until(text: str) -> str:
        nonlocal seen
        end = time.monotonic() + 30
        while text not in seen:
            assert time.monotonic() < end, f"no {text!r} in {seen!r}"
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    seen += os.read(fd, 65536).decode(errors="replace")
                except OSError:
                    assert text in seen, f"ended without {text!r}: {seen!r}"
        before, _, seen = seen.partition(text)
        return before + text

    try:
        yield pid, fd, read_until
    finally:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
        os.close(fd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


COUNTING = """
import signal, sys, time
count = 0
def handler(*args):
    global count
    count += 1
signal.signal(signal.SIG{name}, handler)
print('ready', flush=True)
end = time.monotonic() + 20
while not count and time.monotonic() < end: time.sleep(0.01)
time.sleep(0.3)
print('got', count, flush=True)
sys.exit(7)
"""


def test_ctrl_c_reaches_the_script_once_and_the_report_comes(cli: Command) -> None:
    script = cli.script(COUNTING.format(name="INT"))
    with terminal([cli.path, "why", script], cli.directory) as (pid, fd, read_until):
        read_until("ready")
        os.write(fd, b"\x03")
        read_until("got 1")
        read_until("CPUs:")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_ctrl_z_and_fg(cli: Command) -> None:
    script = cli.script(
        "import time\nfor i in range(40):\n    print('step', i, flush=True)\n    time.sleep(0.05)"
    )
    with terminal(["/bin/bash", "--norc", "-i"], cli.directory) as (_, fd, read_until):
        read_until("$ ")
        os.write(fd, f"{cli.path} why {script}\n".encode())
        read_until("step 5")
        os.write(fd, b"\x1a")
        read_until("Stopped")
        os.write(fd, b"fg\n")
        read_until("step 39")
        read_until("CPUs:")
        os.write(fd, b"echo code=$?\n")
        read_until("code=0")


@pytest.mark.parametrize("name", ["TERM", "HUP", "USR1", "USR2"])
def test_signals_to_the_command_are_passed_on(cli: Command, name: str, default_signals: None) -> None:
    script = cli.script(COUNTING.format(name=name))
    process = subprocess.Popen(
        [cli.path, "why", script],
        cwd=cli.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(getattr(signal, f"SIG{name}"))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (7, "got 1\n")
    assert "CPUs:" in err


def test_a_script_that_goes_to_the_background(cli: Command) -> None:
    script = cli.script(
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    for fd in (0, 1, 2): os.close(fd)\n"
        "    end = time.monotonic() + 3\n"
        "    while time.monotonic() < end: pass\n"
    )
    began = time.monotonic()
    done = cli("why", script)
    assert (done.returncode, time.monotonic() - began < 2.5) == (0, True)
    done = cli("why", "-q", "-d", "1.5", "-o", "r.json", script)
    report = json.loads((cli.directory / "r.json").read_text())
    assert report["wall_s"] > 1.3
    assert report["cpu_s"] > 0.3  # on a busy machine too; the script itself took some hundredths


def test_a_duration_longer_than_the_program(cli: Command) -> None:
    began = time.monotonic()
    done = cli("why", "-q", "-d", "30", "-o", "r.json", cli.script("import time; time.sleep(0.5)"))
    assert (done.returncode, time.monotonic() - began < 10) == (0, True)
    assert 0.4 < json.loads((cli.directory / "r.json").read_text())["wall_s"] < 3


def test_a_duration_shorter_than_the_program(cli: Command) -> None:
    script = cli.script("import time; time.sleep(1.5); print('end'); raise SystemExit(5)")
    done = cli("why", "-d", "0.3", "-o", "r.json", script)
    assert (done.returncode, done.stdout) == (5, "end\n")
    report = json.loads((cli.directory / "r.json").read_text())
    assert 0.25 < report["wall_s"] < 0.8
    assert report["target"]["exit_code"] is None


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_attached_until_its_end(cli: Command) -> None:
    with running(["sleep", "1"]) as target:
        done = cli("why", "--pid", target.pid)
    assert done.returncode == 0
    assert "idle" in done.stderr or "unclear" in done.stderr


def test_attached_until_ctrl_c(cli: Command) -> None:
    with (
        running(["sleep", "30"]) as target,
        terminal([cli.path, "why", "--pid", str(target.pid)], cli.directory) as (pid, fd, read_until),
    ):
        read_until("Ctrl-C for the report")
        os.write(fd, b"\x03")
        read_until("CPUs:")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert target.poll() is None


def test_no_descriptors_at_all(cli: Command) -> None:
    script = cli.script("raise SystemExit(9)")
    command = ["sh", "-c", f"exec {cli.path} why -o r.json {script} <&- >&- 2>&-"]
    assert subprocess.run(command, cwd=cli.directory, timeout=60).returncode == 9
    assert json.loads((cli.directory / "r.json").read_text())["target"]["exit_code"] == 9


def test_a_reader_that_went_away(cli: Command) -> None:
    with running(["sleep", "30"]) as target:
        command = [
            "sh",
            "-c",
            f"{cli.path} why --json -d 0.3 --pid {target.pid} | true; echo ${{PIPESTATUS-}}",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "stdout" in done.stderr or done.stderr == ""


# --- how it looks


def test_colour(cli: Command) -> None:
    script = cli.script("sum(range(10_000_000))")
    plain = {**os.environ, "TERM": "xterm"}
    for name in ("NO_COLOR", "FORCE_COLOR", "PYTHON_COLORS"):
        plain.pop(name, None)

    def coloured(**extra: str) -> bool:
        return "\x1b[" in cli("why", script, env={**plain, **extra}).stderr

    assert not coloured()  # no terminal
    assert coloured(FORCE_COLOR="1")
    assert not coloured(FORCE_COLOR="1", NO_COLOR="1")
    assert coloured(NO_COLOR="1", PYTHON_COLORS="1")


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_width(cli: Command, columns: int) -> None:
    env = {**os.environ, "COLUMNS": str(columns), "LC_ALL": "C.UTF-8"}
    done = cli("why", cli.script("sum(range(20_000_000))"), env=env)
    assert max(map(len, done.stderr.splitlines())) <= columns
    assert len(done.stderr.splitlines()) <= (24 if columns >= 80 else 40)


def test_plain_ascii(cli: Command) -> None:
    done = cli("why", cli.script("sum(range(20_000_000))"), env={**os.environ, "LC_ALL": "C"})
    assert done.stderr.isascii()


def test_hostile_names_never_reach_the_terminal(cli: Command, here: Interpreter) -> None:
    name = "evil\x1b]0;owned\x07\n\u202ename.py"
    cli.script("def \u0430ttack():\n    return sum(range(20_000_000))\nattack = \u0430ttack\nattack()", name)
    done = cli("why", "--python", here.prefix[0], name)
    dumped = done.stderr
    with running(here.command([str(cli.directory / name)])) as target:
        time.sleep(0.1)
        dumped += cli("dump", "--pid", target.pid).stdout
    for bad in ("\x1b]", "\x07", "\u202e"):
        assert bad not in dumped
    assert "allcores: " in cli("why", "missing\x1b[31m.py").stderr
    assert "\x1b" not in cli("why", "missing\x1b[31m.py").stderr


# --- the other commands


def test_cpus(cli: Command) -> None:
    told = json.loads(cli("cpus", "--json").stdout)
    assert told["affinity"] == len(os.sched_getaffinity(0))
    assert told["usable"] <= told["affinity"] <= told["online"]
    pinned = subprocess.run(
        ["taskset", "-c", "0", cli.path, "cpus"], capture_output=True, text=True, check=True
    ).stdout
    assert "1 of" in pinned
    assert "narrower than the machine" in pinned or told["online"] == 1


def test_dump(cli: Command, here: Interpreter) -> None:
    script = cli.script(
        "import threading, time\n"
        "def sleeper():\n    time.sleep(30)\n"
        "def spinner():\n    while True: pass\n"
        "threading.Thread(target=sleeper, daemon=True).start()\n"
        "print('ready', flush=True)\n"
        "spinner()\n"
    )
    process = subprocess.Popen(here.command([str(cli.directory / script)]), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        process.stdout.readline()
        time.sleep(0.1)
        text = cli("dump", "--pid", process.pid).stdout
        told = json.loads(cli("dump", "--json", "--pid", process.pid).stdout)
    finally:
        process.kill()
        process.wait()
    assert "holds the GIL" in text
    assert "sleeps" in text
    by_leaf = {one["stack"][0]["function"]: one for one in told["processes"][0]["threads"]}
    assert (by_leaf["spinner"]["state"], by_leaf["spinner"]["holds_gil"]) == ("python", True)
    assert (by_leaf["sleeper"]["state"], by_leaf["sleeper"]["holds_gil"]) == ("sleep", False)


RLOCKS = """
import threading, time

lock, other, plain = threading.RLock(), threading.RLock(), threading.Lock()
have = threading.Event()

class Box:
    def __init__(self):
        self.lock = lock

    def enters(self):
        with other:  # which it has itself
            with self.lock:
                pass

def keeper():
    lock.acquire()
    lock.acquire()
    plain.acquire()
    have.set()
    time.sleep(100)

def acquires():
    lock.acquire()

def acquires_in_time():
    box.lock.acquire(True, 60)

def has_a_condition():
    with threading.Condition(lock):
        pass

def waits_for_a_lock():
    seen = lock, other
    for one in seen:
        pass
    with plain:
        pass

box = Box()
threading.Thread(target=keeper).start()
have.wait()
for job in (box.enters, acquires, acquires_in_time, has_a_condition, waits_for_a_lock):
    threading.Thread(target=job).start()
print("ready", flush=True)
"""


@pytest.mark.parametrize("python", interpreters(), ids=lambda one: one.name)
def test_dump_tells_who_has_an_rlock(cli: Command, python: Interpreter, tmp_path: Path) -> None:
    command = python.command([python.script(tmp_path, "rlocks.py", RLOCKS)])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    jobs: dict[str, dict[str, object]] = {}
    try:
        assert process.stdout
        process.stdout.readline()
        for _ in range(100):  # until all of them wait
            told = json.loads(cli("dump", "--json", "--pid", process.pid).stdout)
            threads = [one for one in told["processes"][0]["threads"] if one["stack"]]
            jobs = {
                frame["function"].rpartition(".")[2]: one for one in threads for frame in one["stack"][:2]
            }
            if sum(one["state"] == "lock" for one in threads) >= 6:
                break
            time.sleep(0.05)
        text = cli("dump", "--pid", process.pid).stdout
    finally:
        process.kill()
        process.wait()
    keeper = jobs["keeper"]["tid"]
    for job in ("enters", "acquires", "acquires_in_time", "has_a_condition"):
        assert (jobs[job]["state"], jobs[job]["lock_owner"]) == ("lock", keeper), job
    assert (jobs["waits_for_a_lock"]["state"], jobs["waits_for_a_lock"]["lock_owner"]) == ("lock", None)
    assert jobs["keeper"]["lock_owner"] is None
    assert text.count(f"waits for a lock, thread {keeper} has it (an RLock)") == 4


def test_a_process_that_is_not_python(cli: Command) -> None:
    with running(["sleep", "30"]) as target:
        for _ in range(500):
            if "nanosleep" in Path(f"/proc/{target.pid}/wchan").read_text():  # else it is still being started
                break
            time.sleep(0.01)
        assert "sleeps" in cli("dump", "--pid", target.pid).stdout
        done = cli("why", "-d", "0.5", "--pid", target.pid)
    assert done.returncode == 0
