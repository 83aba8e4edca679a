"""Pages of made-up runs, with as many different stacks as a page takes: how large they are, and the scripting time of
one zoom or pan step on that of 1,000 threads and ten minutes, in Chromium."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import ROOT, Row

MODULES = os.environ.get("ALLCORES_NODE", str(ROOT / ".venv" / "web"))
BOUND_MS = 8.0
KB = 1024
SIZES = {  # what of, what bigpage is told, the bound
    "an empty run": (("1", "0"), 100 * KB),
    "16 threads x 60 s": (("16", "60"), 400 * KB),
    "1,000 threads x 10 min": (("1000", "600"), 5 * KB * KB),
    "eight runs of 1,000 threads x 10 min": (("1000", "600", "8"), 5 * KB * KB),
}


def told(size: float) -> str:
    return f"{size / KB:.0f} KB" if size < KB * KB else f"{size / KB / KB:.1f} MB"


def run(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        built = Path(directory) / "c"
        tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for command in (["meson", "setup", built, "-Dtests=true"], ["ninja", "-C", built, "tests/c/bigpage"]):
            subprocess.run(command, cwd=ROOT, env=tools, check=True, capture_output=True)
        page = Path(directory) / "big.html"
        for what, (options, most) in SIZES.items():
            with page.open("wb") as out:
                subprocess.run([built / "tests" / "c" / "bigpage", *options], check=True, stdout=out)
            size = page.stat().st_size
            yield Row(f"page of {what}: size", f"at most {told(most)}", told(size), size <= most)
        with page.open("wb") as out:
            subprocess.run([built / "tests" / "c" / "bigpage", "1000", "600"], check=True, stdout=out)
        command = ["node", str(ROOT / "bench" / "page.mjs"), MODULES, str(page)]
        times = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    for step in ("zoom", "pan"):
        ms = times[f"{step}_ms"]
        yield Row(
            f"page of 1,000 threads x 10 min: scripting of a {step} step, median",
            f"under {BOUND_MS:.0f} ms",
            f"{ms:.1f} ms",
            ms < BOUND_MS,
        )
