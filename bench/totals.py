"""CPU totals within 1 % of the kernel's own (the rusage that wait4 gives) for short threads and processes."""

from __future__ import annotations

import sys

from common import ROOT, Row, median, why


def run(quick: bool) -> list[Row]:
    rows = []
    for name, script in (
        ("a thread an item", "short_threads"),
        ("processes of milliseconds", "short_processes"),
    ):
        off = []
        for _ in range(1 if quick else 3):
            report, printed = why([sys.executable, str(ROOT / "tests" / "programs" / f"{script}.py"), "2"])
            off.append(100 * (report["cpu_s"] / float(printed) - 1))
        # The program cannot see its own end: some milliseconds of exit are in our total and not in its.
        rows.append(Row(f"CPU total: {name}", "within 1 %", f"{median(off):+.2f} %", abs(median(off)) <= 1.0))
    return rows
