"""How long the command keeps the user waiting: before the script's start, and after its end."""

from __future__ import annotations

import subprocess
import sys
import time

from common import COMMAND, Row, median

STAMP = "import time; print(time.clock_gettime(time.CLOCK_MONOTONIC))"


def start(prefix: list[str]) -> float:
    """Milliseconds from here to the script's first line."""
    began = time.clock_gettime(time.CLOCK_MONOTONIC)
    done = subprocess.run(
        [*prefix, sys.executable, "-S", "-c", STAMP],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return 1e3 * (float(done.stdout) - began)


def end(threads: int) -> float:
    """Milliseconds from the program's last line to the command's own end, the report printed."""
    code = (
        "import threading, time\n"
        f"threads = [threading.Thread(target=lambda: sum(range(3_000_000))) for _ in range({threads})]\n"
        "for one in threads: one.start()\n"
        "for one in threads: one.join()\n" + STAMP
    )
    done = subprocess.run(
        [COMMAND, "why", "--", sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return 1e3 * (time.clock_gettime(time.CLOCK_MONOTONIC) - float(done.stdout))


def run(quick: bool) -> list[Row]:
    times = 5 if quick else 15
    pairs = [(start([]), start([COMMAND, "why", "-q", "--"])) for _ in range(times)]
    added = median([under - alone for alone, under in pairs])
    report = median([end(50) for _ in range(3 if quick else 7)])
    return [
        Row("start: added before the script's first line", "under 10 ms", f"{added:.1f} ms", added < 10),
        Row(
            "end: from the program's last line to the report",
            "under 200 ms",
            f"{report:.0f} ms",
            report < 200,
        ),
    ]
