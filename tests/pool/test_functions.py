"""Functions that no import finds, and the surroundings that workers share with the parent."""

from __future__ import annotations

import functools
import multiprocessing
import os
import subprocess
import sys
import threading
import types
import unittest
import warnings

from allcores import ProcessPoolExecutor
from common import Case

SCRIPT = """
import allcores, sys, threading, os
FACTOR = 2
LOCK = threading.Lock()

class Point:
    def __init__(self, x): self.x = x
    def twice(self): return Point(self.x * 2)

def scaled(x): return x * FACTOR
def locked(x):
    with LOCK: return x + 1
def make_adder(n): return lambda x: x + n
"""


class Functions(Case):
    def setUp(self) -> None:
        super().setUp()
        self.pool = ProcessPoolExecutor(2)
        self.addCleanup(self.pool.shutdown)

    def test_lambdas_closures_partials_and_methods(self) -> None:
        offset = 5
        self.assertEqual(self.pool.submit(lambda x: x + offset, 1).result(), 6)

        def outer(x: int) -> int:
            def inner(y: int) -> int:
                return y * offset if y > 0 else outer(-y)

            return inner(x)

        self.assertEqual(list(self.pool.map(outer, [-2, 3])), [10, 15])
        self.assertEqual(self.pool.submit(functools.partial(pow, 2), 10).result(), 1024)
        self.assertEqual(self.pool.submit("a-b".split, "-").result(), ["a", "b"])

    def test_a_method_that_no_class_has(self) -> None:
        multiprocessing.Pipe()  # its reducers, of methods too, are there from now on
        method = types.MethodType(lambda self, n: self + n, 5)
        self.assertEqual(self.pool.submit(method, 2).result(), 7)

    def test_a_changed_capture_is_seen(self) -> None:
        box = {"n": 1}
        values = []
        for n in (1, 2, 3):
            box["n"] = n
            values.append(self.pool.submit(lambda: box["n"]).result())
        count = 0
        for count in (10, 20):
            values.append(self.pool.submit(lambda: count).result())
        self.assertEqual(values, [1, 2, 3, 10, 20])

    def test_what_cannot_go_by_value_says_why(self) -> None:
        lock = threading.Lock()
        with self.assertRaisesRegex(TypeError, "pickle") as caught:
            self.pool.submit(lambda: lock.locked()).result()
        self.assertIn("cannot be reached by name", "".join(getattr(caught.exception, "__notes__", [])))

    def test_a_large_capture_is_warned_of_once(self) -> None:
        data = bytes(3 << 20)

        def use(i: int) -> int:
            return len(data) + i

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.assertEqual(list(self.pool.map(use, range(3))), [len(data) + i for i in range(3)])
            self.pool.submit(use, 1).result()
        about = [str(one.message) for one in caught if "captured" in str(one.message)]
        self.assertEqual(len(about), 1)
        self.assertIn("3.0 MiB", about[0])


class Main(Case):
    def test_functions_and_classes_of_a_script_without_a_guard(self) -> None:
        done = self.run_script(
            SCRIPT + "pool = allcores.ProcessPoolExecutor(2)\n"
            "print(list(pool.map(scaled, range(3))))\n"
            "FACTOR = 10\n"
            "print(list(pool.map(scaled, range(3))))\n"
            "print(pool.submit(make_adder(4), 1).result())\n"
            "point = pool.submit(Point.twice, Point(4)).result()\n"
            "print(type(point) is Point, point.x)\n"
        )
        self.assertEqual(done.stdout, "[0, 2, 4]\n[0, 10, 20]\n5\nTrue 8\n")

    def test_what_cannot_go_by_value_goes_by_name(self) -> None:
        use = "with allcores.ProcessPoolExecutor(2) as pool: print(list(pool.map(locked, [1, 2, 3], chunksize=1)))\n"
        done = self.run_script(SCRIPT + f"if __name__ == '__main__':\n    {use}")
        self.assertEqual(done.stdout, "[2, 3, 4]\n")
        done = self.run_script(SCRIPT + use, code=1)
        for words in ("__name__ ==", "cannot be sent by value: cannot pickle '_thread.lock' object"):
            self.assertIn(words, done.stderr)

    def test_the_repl_and_c(self) -> None:
        lines = ["import allcores", "def f(x): return x + 1", "", "pool = allcores.ProcessPoolExecutor(1)"]
        code = "\n".join([*lines, "print(pool.submit(f, 1).result())\n"])
        for how in (["-i", "-q"], ["-c", code]):
            done = subprocess.run(
                [sys.executable, *how], input=code, capture_output=True, text=True, check=True, timeout=60
            )
            self.assertEqual(done.stdout.strip(), "2")

    def test_a_notebooks_cell_that_is_run_again(self) -> None:
        text = """
import allcores
CELL = '''
FACTOR = %d
class Box:
    size = FACTOR
    def __init__(self, n): self.n = n
def helper(x): return x * FACTOR
def work(x): return helper(x), Box(x), Box.size
'''
with allcores.ProcessPoolExecutor(1) as pool:
    for factor in (2, 3, 2):
        exec(compile(CELL % factor, f"<cell {factor}>", "exec"))
        product, box, size = pool.submit(work, 5).result()
        print(product, type(box) is Box, box.n, size, list(pool.map(helper, range(3))))
"""
        done = self.run_script(text)
        lines = [f"{5 * n} True 5 {n} [0, {n}, {2 * n}]" for n in (2, 3, 2)]
        self.assertEqual(done.stdout.splitlines(), lines)

    def test_surroundings_are_the_parents(self) -> None:
        (self.directory / "lib").mkdir()
        (self.directory / "lib" / "only_here.py").write_text("def f(): return 'found'\n")
        done = self.run_script(
            "import os, sys, warnings\n"
            "sys.path.insert(0, 'lib')\n"
            "import only_here, allcores\n"
            "os.environ['MARK'] = 'set'; os.environ.pop('GONE', None)\n"
            "warnings.simplefilter('error', UserWarning)\n"
            "os.mkdir('sub'); os.chdir('sub'); sys.path[0] = os.path.abspath('../lib')\n"
            "def look():\n"
            "    import warnings\n"
            "    try: warnings.warn('x')\n"
            "    except UserWarning: warned = True\n"
            "    return warned, os.path.basename(os.getcwd()), os.environ.get('MARK'), os.environ.get('GONE')\n"
            "with allcores.ProcessPoolExecutor(1) as pool:\n"
            "    print(pool.submit(only_here.f).result(), pool.submit(look).result())\n"
            "    print(pool.submit(lambda: sys.argv[1:]).result())\n",
            "argument",
            GONE="here",
        )
        self.assertEqual(done.stdout, "found (True, 'sub', 'set', None)\n['argument']\n")

    def test_a_frozen_interpreter_is_refused(self) -> None:
        done = self.run_script(
            "import sys; sys.frozen = True\nimport allcores\n"
            "try: allcores.ProcessPoolExecutor(1)\nexcept RuntimeError as error: print(error)\n"
        )
        self.assertIn("frozen", done.stdout)

    def test_blas_threads_are_capped(self) -> None:
        script = (
            "import allcores, os\n"
            "with allcores.ProcessPoolExecutor(2) as pool:\n"
            "    print(pool.submit(os.getenv, 'OPENBLAS_NUM_THREADS').result())\n"
        )
        cpus = len(os.sched_getaffinity(0))
        self.assertEqual(self.run_script(script).stdout.strip(), str(max(1, cpus // 2)))
        self.assertEqual(self.run_script(script, OMP_NUM_THREADS="7").stdout.strip(), "None")

    def test_output_of_workers_comes_line_by_line(self) -> None:
        done = self.run_script(
            "import allcores, time\n"
            "def speak(i):\n"
            "    print('line', i); time.sleep(0.01)\n"
            "with allcores.ProcessPoolExecutor(2) as pool: list(pool.map(speak, range(10)))\n"
        )
        self.assertEqual(sorted(done.stdout.splitlines()), sorted(f"line {i}" for i in range(10)))


if __name__ == "__main__":
    unittest.main()
