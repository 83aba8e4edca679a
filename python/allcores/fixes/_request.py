"""What the command asks for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


class Withheld(Exception):
    """No diff; the message says why, for the user."""


@dataclass
class Request:
    """A verdict about one file. ``lines``: where the run was seen, most telling first."""

    verdict: str
    path: str  # where the file is to be read
    name: str  # what the diff calls it, relative
    lines: list[int] = field(default_factory=list)
    python: tuple[int, int] = (3, 11)
    workers: int = 2  # CPUs that the program may use, rounded up
    online: int = 0  # CPUs of the machine, and those that the affinity leaves; 0: not known
    affinity: int = 0
    threads: int = 0  # that the process had
    free_threaded: bool = False
    computes: bool = False  # what keeps an event loop from its tasks; else it waits
    rss_bytes: int = 0  # the most memory that the program was seen to hold; 0: not known
    free_bytes: int = 0  # that more of it could have; 0: not known
    cpu_s: float = 0  # what it computed in all; 0: not known
    main: str = ""  # where the program's main file is to be read; "" not known, "-" none of the user's
    started_ns: int = 0  # 0: not known
    told: dict[str, int] = field(default_factory=dict)  # by the source, for the estimate: see tell()

    def tell(self, calls: int | None, at_once: int) -> None:
        """How many calls there are each time, where the source says so, and how many of them the diff lets run at
        once. Withheld where there is nothing to run side by side."""
        if calls is not None:
            self.told = {"calls": calls, "at_once": at_once}
            if calls < 2:
                raise Withheld("there is no more than one call each time: nothing runs beside it")

    @property
    def default_workers(self) -> int:
        """What a pool that is given no number starts: the standard library knows of no quota."""
        known = self.affinity if self.python >= (3, 13) else self.online
        return max(known, 1) if known else self.workers

    @property
    def pool_size(self) -> int:
        """Processes of a pool that is made with ``number``."""
        return min(self.default_workers, self.workers)

    @property
    def number(self) -> str:
        """The argument of a pool of processes for the usable CPUs: none where the default is right."""
        return "" if self.default_workers <= self.workers else f"max_workers={self.workers}"

    @classmethod
    def parse(cls, text: str) -> Request:
        """From JSON; ValueError, KeyError or TypeError for what is none."""
        o: dict[str, Any] = json.loads(text)
        version = str(o.get("python") or "3.11").split(".")
        return cls(
            verdict=str(o["verdict"]),
            path=str(o["path"]),
            name=str(o["name"]),
            lines=[int(line) for line in o.get("lines", [])],
            python=(int(version[0]), int(version[1])),
            workers=max(1, int(o.get("workers", 2))),
            online=int(o.get("online", 0)),
            affinity=int(o.get("affinity", 0)),
            threads=int(o.get("threads", 0)),
            free_threaded=bool(o.get("free_threaded", False)),
            computes=bool(o.get("computes", False)),
            rss_bytes=int(o.get("rss_bytes", 0)),
            free_bytes=int(o.get("free_bytes", 0)),
            cpu_s=float(o.get("cpu_s", 0)),
            main=str(o.get("main", "")),
            started_ns=int(o.get("started_ns", 0)),
        )
