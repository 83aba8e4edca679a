"""Deaths: of workers, of the parent, and the end of the program."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
import unittest
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from allcores import ProcessPoolExecutor, WorkerDied
from common import Case, is_alive, wait_until


def kill_me(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def recurse_in_c() -> None:
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, 1 << 20))
    data: object = []
    for _ in range(200_000):
        data = [data]
    sys.setrecursionlimit(10**9)
    ctypes.string_at(0)


def maybe_die(i: int) -> int:
    if i == 50:
        os._exit(9)
    return i


class Workers(Case):
    def setUp(self) -> None:
        super().setUp()
        self.pool = ProcessPoolExecutor(2)
        self.addCleanup(self.pool.shutdown)

    def test_a_death_fails_only_its_task_and_says_how(self) -> None:
        others = [self.pool.submit(abs, -i) for i in range(200)]
        cases: list[tuple[Any, ...]] = [
            (kill_me, (signal.SIGKILL,), signal.SIGKILL, None, "killed by SIGKILL"),
            (kill_me, (signal.SIGSEGV,), signal.SIGSEGV, None, "killed by SIGSEGV"),
            (os._exit, (7,), None, 7, "exited with code 7"),
            (ctypes.string_at, (0,), signal.SIGSEGV, None, "string_at"),
            (recurse_in_c, (), signal.SIGSEGV, None, "SIGSEGV"),
            (os.abort, (), signal.SIGABRT, None, "SIGABRT"),
        ]
        for function, args, number, code, words in cases:
            future = self.pool.submit(function, *args)
            others += [self.pool.submit(abs, -i) for i in range(200, 220)]
            with self.assertRaisesRegex(WorkerDied, words) as caught:
                future.result(timeout=30)
            self.assertIsInstance(caught.exception, BrokenProcessPool)
            self.assertEqual((caught.exception.signal, caught.exception.exitcode), (number, code))
            self.assertIn(function.__name__, caught.exception.task)
        self.assertEqual(len([one.result(timeout=30) for one in others]), 200 + 20 * len(cases))

    def test_the_rest_of_a_chunk_runs_elsewhere(self) -> None:
        results = self.pool.map(maybe_die, range(100), chunksize=100)
        self.assertEqual([next(results) for _ in range(50)], list(range(50)))
        with self.assertRaises(WorkerDied):
            next(results)

    def test_out_of_memory(self) -> None:
        def eat() -> int:
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used, used))
            return len(bytearray(1 << 31))

        with self.assertRaises(MemoryError):
            self.pool.submit(eat).result(timeout=30)
        self.assertEqual(self.pool.submit(abs, -1).result(timeout=30), 1)

    def test_a_full_memory_cgroup(self) -> None:
        """The kernel kills the worker whose group is full; the others' tasks are none the worse."""
        procs = self.memory_cgroup(64 << 20)

        def eat() -> int:
            Path(procs).write_text(str(os.getpid()))
            held = bytearray(b"x") * (24 << 20)
            time.sleep(2.5)  # the pool looks at the memory of workers that run for long, once a second
            return sum(held * 64)

        future = self.pool.submit(eat)
        others = [self.pool.submit(abs, -i) for i in range(100)]
        with self.assertRaisesRegex(
            WorkerDied, "memory had run out, and the kernel killed it .*held [0-9]+ MiB"
        ) as caught:
            future.result(timeout=60)
        self.assertEqual(caught.exception.signal, signal.SIGKILL)
        self.assertGreater(caught.exception.rss_bytes or 0, 16 << 20)
        self.assertEqual([one.result(timeout=30) for one in others], list(range(100)))

    def memory_cgroup(self, limit: int) -> str:
        """The file that takes the pids of a new group's processes; skips where this user may not make one."""
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = {names: path for _, names, path in (line.split(":", 2) for line in lines)}
        for base, path, file in (
            ("memory", own.get("memory", "/"), "memory.limit_in_bytes"),
            ("", own.get("", "/"), "memory.max"),
            ("unified", own.get("", "/"), "memory.max"),
        ):
            group = Path("/sys/fs/cgroup", base, path.strip("/"), f"allcores-test-{os.getpid()}")
            try:
                group.mkdir()
                self.addCleanup(group.rmdir)
                (group / file).write_text(str(limit))
            except OSError:
                continue
            self.addCleanup(self.pool.shutdown)  # its workers go before the group
            return str(group / "cgroup.procs")
        self.skipTest("no memory cgroup can be made here")

    def test_break(self) -> None:
        pool = ProcessPoolExecutor(2, on_crash="break")
        futures = [pool.submit(time.sleep, 30) for _ in range(4)]
        dead = pool.submit(kill_me, signal.SIGKILL)
        wait_until(lambda: sum(one.running() for one in futures) == 2)
        os.kill(next(iter(pool._processes or ())), signal.SIGKILL)
        for future in (*futures, dead):
            with self.assertRaises(BrokenProcessPool):
                future.result(timeout=30)
        with self.assertRaises(BrokenProcessPool):
            pool.submit(abs, 1)
        pool.shutdown()

    def test_hundreds_of_kills(self) -> None:
        futures = [self.pool.submit(pow, i, 2) for i in range(3000)]
        for _ in range(60):
            for process in (self.pool._processes or {}).values():
                process.kill()
            futures += [self.pool.submit(pow, i, 2) for i in range(100)]
        wait(futures, timeout=60)
        wrong = [
            one for one in futures if one.exception(0) is not None and type(one.exception()) is not WorkerDied
        ]
        self.assertEqual(wrong, [])
        self.assertEqual(self.pool.submit(abs, -1).result(timeout=30), 1)


class Parent(Case):
    def test_workers_die_with_it(self) -> None:
        program = self.start(
            "import allcores, time, os\n"
            "pool = allcores.ProcessPoolExecutor(2)\n"
            "f = [pool.submit(time.sleep, 600) for _ in range(2)]\n"
            "while sum(x.running() for x in f) < 2: time.sleep(0.01)\n"
            "print(*pool._processes, flush=True)\n"
            "time.sleep(600)\n"
        )
        assert program.stdout
        pids = [int(word) for word in program.stdout.readline().split()]
        self.assertEqual([is_alive(pid) for pid in pids], [True, True])
        program.kill()
        program.communicate()
        wait_until(lambda: not any(is_alive(pid) for pid in pids))

    def test_a_normal_exit_finishes_what_is_pending(self) -> None:
        mark = self.directory / "mark"
        self.run_script(
            "import allcores, time\n"
            "def note(i):\n"
            "    time.sleep(0.1)\n"
            f"    with open({str(mark)!r}, 'a') as file: file.write(f'{{i}}\\n')\n"
            "pool = allcores.ProcessPoolExecutor(2)\n"
            "for i in range(6): pool.submit(note, i)\n"
        )
        self.assertEqual(sorted(mark.read_text().split()), [str(i) for i in range(6)])

    def test_ctrl_c_ends_all_with_one_traceback(self) -> None:
        program = subprocess.Popen(
            [sys.executable, "-c",
             "import allcores, time\n"
             "with allcores.ProcessPoolExecutor(2) as pool:\n"
             "    f = [pool.submit(time.sleep, 60) for _ in range(8)]\n"
             "    while sum(x.running() for x in f) < 2: time.sleep(0.01)\n"
             "    print(*pool._processes, flush=True)\n"
             "    f[0].result()\n"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert program.stdout
        pids = [int(word) for word in program.stdout.readline().split()]
        began = time.monotonic()
        os.killpg(program.pid, signal.SIGINT)
        _, errors = program.communicate(timeout=30)
        self.assertLess(time.monotonic() - began, 5)  # a second is promised; the machine may be slow
        self.assertEqual(errors.count("Traceback"), 1, errors)
        self.assertEqual(program.returncode, -signal.SIGINT)
        self.assertFalse(any(is_alive(pid) for pid in pids))

    def test_a_users_fork_is_harmless(self) -> None:
        done = self.run_script(
            "import allcores, os, time\n"
            "pool = allcores.ProcessPoolExecutor(2)\n"
            "before = pool.submit(time.sleep, 0.3)\n"
            "kept = pool.submit(bytes, 1 << 20).result()\n"
            "pid = os.fork()\n"
            "if pid == 0:\n"
            "    try: print(pool.submit(abs, 1).result(), flush=True)\n"
            "    except BaseException as error: print(type(error).__name__, flush=True)\n"
            "    own = allcores.ProcessPoolExecutor(1)\n"
            "    print(own.submit(abs, -2).result(), len(kept), flush=True)\n"
            "    own.shutdown(); os._exit(0)\n"
            "os.waitpid(pid, 0)\n"
            "before.result(); print(pool.submit(abs, -3).result())\n"
        )
        lines = done.stdout.split()
        self.assertEqual(lines[0], "RuntimeError")
        self.assertEqual(lines[1:], ["2", str(1 << 20), "3"])

    def test_a_pool_made_in_a_thread_that_ends(self) -> None:
        import threading

        made: list[ProcessPoolExecutor] = []

        def make() -> None:
            made.append(ProcessPoolExecutor(2))
            made[0].submit(abs, 1)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        time.sleep(0.2)
        self.assertEqual(list(made[0].map(abs, range(-20, 0), chunksize=1)), list(range(20, 0, -1)))
        made[0].shutdown()

    def test_nothing_is_leaked(self) -> None:
        def look() -> tuple[int, int]:
            maps = Path("/proc/self/maps").read_text()
            return len(os.listdir("/proc/self/fd")), maps.count("allcores")

        def use() -> None:
            with ProcessPoolExecutor(2) as pool:
                list(pool.map(abs, range(100)))
                pool.submit(bytes, 1 << 20).result()

        use()
        before = look()
        for _ in range(8):
            use()
        self.assertEqual(look(), before)


if __name__ == "__main__":
    unittest.main()
