"""What a target on full cores loses at 200 Hz: the sampler toggled on and off, in pairs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from common import COMMAND, Row, program

SLICE = 1.0


def run(quick: bool) -> list[Row]:
    pairs = 6 if quick else 40
    workers = len(os.sched_getaffinity(0))
    target = subprocess.Popen(
        program("counter", workers, pairs * 2 * (SLICE + 0.4) + 10), stdout=subprocess.PIPE, text=True
    )
    assert target.stdout
    time.sleep(1)

    def work(sampled: bool) -> float:
        """Work units a second over one slice."""
        sampler = None
        if sampled:
            sampler = subprocess.Popen([COMMAND, "why", "-q", "-d", str(SLICE + 0.3), "-p", str(target.pid)])
        time.sleep(0.15)
        target.send_signal(10)
        before = target.stdout.readline().split()
        time.sleep(SLICE)
        target.send_signal(10)
        after = target.stdout.readline().split()
        if sampler:
            sampler.wait()
        return (int(after[0]) - int(before[0])) / (float(after[1]) - float(before[1]))

    losses = []
    for index in range(pairs):
        first = work(index % 2 == 0)
        second = work(index % 2 == 1)
        on, off = (first, second) if index % 2 == 0 else (second, first)
        losses.append(100 * (1 - on / off))
    target.kill()
    target.wait()
    loss = statistics.median(losses)
    error = 1.25 * statistics.stdev(losses) / len(losses) ** 0.5  # of a median
    return [
        Row(
            f"target's loss, {workers} processes on full cores, 200 Hz",
            "under 1 %",
            f"{loss:.2f} % ± {error:.2f}",
            loss < 1,
        )
    ]


if __name__ == "__main__":
    print(run("--quick" in sys.argv))
