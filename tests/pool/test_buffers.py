"""Large values: out of band, private and writable in the worker, read in place in the parent, given back."""

from __future__ import annotations

import array
import gc
import hashlib
import mmap
import operator
import os
import pickle
import sys
import unittest
from pathlib import Path

from allcores import ProcessPoolExecutor
from common import Case, wait_until

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

SIZE = 4 << 20
MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)


def available() -> int:
    """Bytes of memory that this process may still have, its memory cgroup's limit counted."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    for limit in (
        Path("/sys/fs/cgroup").glob("memory*/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup").glob("memory.max"),
    ):
        for file in limit:
            text = file.read_text().strip()
            free = min(free, int(text)) if text.isdigit() else free
    return free


def digest(data: object) -> str:
    return hashlib.sha256(data).hexdigest()  # type: ignore[arg-type]


class Buffers(Case):
    def setUp(self) -> None:
        super().setUp()
        self.pool = ProcessPoolExecutor(2)
        self.addCleanup(self.pool.shutdown)

    def test_every_kind_arrives_whole(self) -> None:
        data = os.urandom(SIZE)
        for value in (data, bytearray(data), memoryview(data), array.array("B", data)):
            self.assertEqual(self.pool.submit(digest, value).result(), digest(data))
            back = self.pool.submit(operator.itemgetter(0), [value]).result()
            self.assertEqual(bytes(back), data)
            self.assertIs(type(back), type(value))
        shaped = memoryview(array.array("d", range(1000))).cast("B").cast("d", (10, 100))
        back = self.pool.submit(operator.itemgetter(0), [shaped]).result()
        self.assertEqual((back.format, back.shape, back.tolist()), ("d", (10, 100), shaped.tolist()))
        self.assertEqual(bytes(self.pool.submit(bytes, memoryview(data)[::2]).result()), data[::2])

    def test_memory_is_given_back(self) -> None:
        for _ in range(30):
            self.pool.submit(len, bytes(SIZE)).result()
            self.pool.submit(bytes, SIZE).result()
        gc.collect()
        self.assertLess(self.pool.stats()["segment_bytes"], 20 * SIZE)

    @unittest.skipIf(numpy is None, "numpy is not here")
    def test_arrays(self) -> None:
        source = numpy.arange(1 << 20, dtype="f8").reshape(1024, 1024)

        def work(a: object) -> tuple[bool, float]:
            a[0, 0] = 7  # type: ignore[index]  # private and writable
            return a.flags.writeable, float(a.sum())  # type: ignore[attr-defined]

        writable, total = self.pool.submit(work, source).result()
        self.assertEqual((writable, total, source[0, 0]), (True, source.sum() + 7, 0))
        made = self.pool.submit(numpy.arange, 1 << 20).result()
        self.assertTrue((made == numpy.arange(1 << 20)).all())
        made += 1
        both = self.pool.submit(lambda a: (a, a[:10], {"deep": [a * 2]}), source).result()
        self.assertTrue((both[2]["deep"][0] == source * 2).all())
        fortran = numpy.asfortranarray(source)
        self.assertTrue((self.pool.submit(operator.itemgetter(0), [fortran]).result() == fortran).all())

    @unittest.skipIf(numpy is None, "numpy is not here")
    def test_an_argument_that_is_returned(self) -> None:
        source = numpy.arange(1 << 20, dtype="f8")

        def changed(a: object) -> object:
            a += 1  # type: ignore[operator]
            return a

        def kept(a: object) -> object:
            sys.kept = a  # type: ignore[attr-defined]
            return a

        def change_kept() -> None:
            sys.kept[:] = -1  # type: ignore[attr-defined]

        with ProcessPoolExecutor(1) as pool:
            back = [pool.submit(changed, source).result() for _ in range(3)]
            for array in back:
                self.assertTrue((array == source + 1).all())
            self.assertIs(type(pool.submit(changed, source[:10]).result()), type(source))
            seen = pool.submit(kept, source).result()
            pool.submit(change_kept).result()  # what a task has returned is no longer the worker's to change
            self.assertTrue((seen == source).all())
            size = pool.stats()["segment_bytes"]
            for _ in range(20):
                array = pool.submit(changed, array).result()
            self.assertTrue((array == source + 21).all())
            self.assertLess(pool.stats()["segment_bytes"], size + 3 * source.nbytes)

    @unittest.skipUnless("ALLCORES_LONG" in os.environ, "one of the long ones: tests/test_pool.py")
    @unittest.skipIf(available() < 10 << 30, "this machine has no 10 GiB to spare")
    def test_four_gigabytes(self) -> None:
        size = (4 << 30) + 5
        data = mmap.mmap(-1, size)  # only the pages that are written take memory
        places = (0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, size - 1)
        for number, place in enumerate(places):
            data[place] = number + 1

        def seen(view: memoryview) -> list[int]:
            return [view[place] for place in places]

        def made() -> memoryview:
            made = mmap.mmap(-1, size)
            for number, place in enumerate(places):
                made[place] = number + 1
            return memoryview(made)

        with ProcessPoolExecutor(1) as pool:
            self.assertEqual(pool.submit(seen, memoryview(data)).result(), list(range(1, 8)))
            data.close()
            back = pool.submit(made).result()
            self.assertEqual((len(back), seen(back)), (size, list(range(1, 8))))

    def test_more_than_the_machine_has_is_refused(self) -> None:
        class Huge:
            def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
                return bytes, (pickle.PickleBuffer(view),)

        data = mmap.mmap(-1, 1 << 42, flags=mmap.MAP_PRIVATE | MAP_NORESERVE)
        view = memoryview(data)
        with self.assertRaises(MemoryError):
            self.pool.submit(len, Huge()).result()
        self.assertEqual(self.pool.submit(abs, -1).result(), 1)

    @unittest.skipIf(numpy is None, "numpy is not here")
    def test_a_result_outlives_its_pool_and_worker(self) -> None:
        with ProcessPoolExecutor(1) as pool:
            kept = pool.submit(numpy.full, SIZE, 3, "u1").result()
            view = kept[100:200]
        del kept
        gc.collect()
        self.assertEqual(int(view.sum()), 300)

    @unittest.skipIf(numpy is None, "numpy is not here")
    def test_memory_of_results_returns_when_they_are_collected(self) -> None:
        results = [self.pool.submit(numpy.zeros, SIZE, "u1").result() for _ in range(8)]
        held = self.pool.stats()["segment_bytes"]
        self.assertGreaterEqual(held, 8 * SIZE)
        del results
        gc.collect()
        for _ in range(8):
            self.pool.submit(numpy.zeros, SIZE, "u1").result()
        self.assertLessEqual(self.pool.stats()["segment_bytes"], held + 2 * SIZE)

    @unittest.skipIf(numpy is None, "numpy is not here")
    def test_a_forked_process_cannot_damage_a_result(self) -> None:
        made = self.pool.submit(numpy.ones, SIZE, "u1").result()
        pid = os.fork()
        if pid == 0:
            made[:] = 9
            os._exit(0)
        os.waitpid(pid, 0)
        self.assertEqual(int(made.sum()), SIZE)

    def test_too_large_is_refused(self) -> None:
        class Huge:
            def __reduce__(self) -> str:
                raise MemoryError("as if")

        with self.assertRaises(MemoryError):
            self.pool.submit(id, Huge()).result()
        wait_until(lambda: self.pool.submit(abs, -1).result() == 1)


if __name__ == "__main__":
    unittest.main()
