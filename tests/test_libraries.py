"""Libraries that take an executor, or its map, run with ours: as their documentation says, in a script of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from extension import Package, package_for, supported

pytestmark = pytest.mark.long  # until the pool is done (CONTRIBUTING.md)

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
