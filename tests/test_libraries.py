"""Libraries that take an executor, or its map, run with ours: as their documentation says, in a script of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from extension import Package, package_for, supported

SCRIPTS = {
    "scipy": """
from scipy.optimize import differential_evolution, rosen
from allcores import ProcessPoolExecutor
with ProcessPoolExecutor(2) as pool:
    found = differential_evolution(
        rosen, [(0, 2), (0, 2)], workers=pool.map, updating="deferred", rng=1, maxiter=40, polish=True)
print(found.x.round(3).tolist())
""",
    "dask": """
import dask, operator
from allcores import ProcessPoolExecutor
add, double = dask.delayed(operator.add), dask.delayed(lambda x: 2 * x)
with ProcessPoolExecutor(2) as pool, dask.config.set(scheduler="processes", pool=pool):
    print(dask.delayed(sum)([double(add(i, 1)) for i in range(20)]).compute())
""",
    "emcee": """
import emcee, numpy
from allcores import ProcessPoolExecutor
def log_prob(x): return -0.5 * numpy.sum(x ** 2)
numpy.random.seed(1)
with ProcessPoolExecutor(2) as pool:
    sampler = emcee.EnsembleSampler(16, 2, log_prob, pool=pool)
    sampler.run_mcmc(numpy.random.randn(16, 2), 30)
print(sampler.get_chain().shape)
""",
    "tornado": """
from tornado.ioloop import IOLoop
from allcores import ProcessPoolExecutor
pool = ProcessPoolExecutor(2)
async def main(): return [await IOLoop.current().run_in_executor(pool, pow, 2, n) for n in range(5)]
print(IOLoop.current().run_sync(main))
""",
    "tqdm": """
import concurrent.futures
from allcores import ProcessPoolExecutor
concurrent.futures.ProcessPoolExecutor = ProcessPoolExecutor  # where process_map looks for one
from tqdm.contrib.concurrent import process_map
print(sum(process_map(lambda x: x * x, range(100), max_workers=2, chunksize=5, disable=True)))
""",
    "pandas and Arrow": """
import pandas, pyarrow
from allcores import ProcessPoolExecutor
def shared(address):
    lines = [line.split() for line in open("/proc/self/maps")]
    spans = [(line[0].split("-"), line[-2:]) for line in lines]
    return any(int(a, 16) <= address < int(b, 16) and "memfd:" in str(name) for (a, b), name in spans)
frame = pandas.DataFrame({"x": range(100_000), "y": [0.5] * 100_000})
table = pyarrow.Table.from_pandas(frame)
def doubled(frame):
    frame["x"] *= 2  # private and writable
    return frame
with ProcessPoolExecutor(1) as pool:
    back = pool.submit(doubled, frame).result()
    rows = pool.submit(lambda table: table.slice(1), table).result()
    print(back["x"].sum() == 2 * frame["x"].sum(), rows.equals(table.slice(1)),
          shared(back["x"].values.__array_interface__["data"][0]),
          shared(rows.column(0).chunk(0).buffers()[1].address))
""",
    "asyncio": """
import asyncio
from allcores import ProcessPoolExecutor
async def main():
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(2) as pool:
        return sum(await asyncio.gather(*(loop.run_in_executor(pool, lambda n=n: n * n) for n in range(50))))
print(asyncio.run(main()))
""",
}
ANSWERS = {
    "scipy": "[1.0, 1.0]",
    "dask": "420",
    "emcee": "(30, 16, 2)",
    "tornado": "[1, 2, 4, 8, 16]",
    "tqdm": "328350",
    "pandas and Arrow": "True True True True",
    "asyncio": "40425",
}


@pytest.fixture(scope="module")
def package() -> Package:
    """The newest interpreter here that has no root of its own and runs these tests, where the libraries are."""
    import sys

    here = [one for one in supported() if one.version == sys.version_info[:2] and not one.root]
    return package_for(here[0])


@pytest.mark.parametrize("library", SCRIPTS)
def test_library(package: Package, library: str, tmp_path: Path) -> None:
    import sys

    script = tmp_path / "program.py"
    script.write_text(SCRIPTS[library])
    done = subprocess.run(
        [sys.executable, script], env=package.environ(), capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, ANSWERS[library]), done.stderr
