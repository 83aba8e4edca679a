"""Deadlines passed by a period or more, on 4 GIL-bound threads."""

from __future__ import annotations

from common import Row, median, program, why

CASES = [
    ("10 kHz with SCHED_FIFO", "10khz", "", 0.1),
    ("1 kHz without", "1khz", "sched_setscheduler", 10.0),
    ("200 Hz without", "200", "sched_setscheduler", 10.0),
]


def run(quick: bool) -> list[Row]:
    rows = []
    for name, rate, denied, bound in CASES:
        shares = []
        for _ in range(1 if quick else 3):
            report, _ = why(program("busy", 3, 4, 4), "-r", rate, denied=denied)
            sampling = report["sampling"]
            shares.append(100 * sampling["missed"] / max(sampling["ticks"] + sampling["missed"], 1))
        reached = sampling["reached_hz"]
        rows.append(
            Row(
                f"missed ticks: {name}",
                f"at most {bound} %",
                f"{median(shares):.2f} %, {reached:.0f} Hz reached",
                median(shares) <= bound,
            )
        )
    return rows
