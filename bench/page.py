"""The scripting time of one zoom or pan step on the page of 1,000 threads and ten minutes, in Chromium."""

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


def run(quick: bool) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        built = Path(directory) / "c"
        tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for command in (["meson", "setup", built, "-Dtests=true"], ["ninja", "-C", built, "tests/c/bigpage"]):
            subprocess.run(command, cwd=ROOT, env=tools, check=True, capture_output=True)
        page = Path(directory) / "big.html"
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
