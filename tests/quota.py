"""A cgroup with a share of a CPU, where one may be made (as root, with the cpu controller)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
V1 = ROOT / "cpu"


def remove(group: Path) -> None:
    """The group, once the last of its processes is gone: what a program leaves behind ends after it."""
    until = time.monotonic() + 10
    while True:
        try:
            group.rmdir()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@contextmanager
def quota(cpus: float) -> Iterator[Path | None]:
    """The file to which a process writes its id to join a group with that many CPUs; None: none could be made."""
    version_1 = (V1 / "cpu.shares").exists()
    group = (V1 if version_1 else ROOT) / f"allcores-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield None
        return
    try:
        if version_1:
            (group / "cpu.cfs_quota_us").write_text(str(int(cpus * 100_000)))
            yield group / "tasks"
        elif (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{int(cpus * 100_000)} 100000")
            yield group / "cgroup.procs"
        else:
            yield None
    finally:
        remove(group)
