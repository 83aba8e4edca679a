"""Torn stacks that are shown: callers and callees that the program cannot have, in functions of 250 us."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from common import COMMAND, Row, program


def run(quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "stacks.folded"
        subprocess.run(
            [
                COMMAND,
                "why",
                "-q",
                "-r",
                "1khz",
                "-o",
                str(path),
                "--",
                *program("chains", 2 if quick else 10),
            ],
            check=True,
        )
        good = bad = 0.0
        for line in path.read_text().splitlines():
            stack, weight = line.rsplit(" ", 1)
            chains = {frame.split(" ")[0][0] for frame in stack.split(";") if frame[:2] in ("a_", "b_")}
            if len(chains) > 1:
                bad += float(weight)
            elif chains:
                good += float(weight)
    share = 100 * bad / max(good + bad, 1)
    return [
        Row("torn stacks shown, functions of 250 us", "under 1 %", f"{share:.3f} %", good > 0 and share < 1)
    ]


if __name__ == "__main__":
    print(run("--quick" in sys.argv))
