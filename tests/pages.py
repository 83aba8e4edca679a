"""The verdicts' pages, docs/verdicts/ID.md, and the programs in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).resolve().parent.parent / "docs" / "verdicts"
SECTIONS = ["What it means", "How it is recognised", "Fixes"]
PROGRAM = re.compile(r"^(Before|After)(?:, run as `([^`]*)`)?:\n```python\n(.*?)^```\n", re.M | re.S)


@dataclass
class Program:
    """`command` is how the page says to run it: "python before.py" where it says nothing."""

    name: str
    command: str
    text: str


def page_ids() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.md"))


def page_text(page: str) -> str:
    return (DIRECTORY / f"{page}.md").read_text()


def programs(page: str) -> list[Program]:
    return [
        Program(name.lower(), command or f"python {name.lower()}.py", text)
        for name, command, text in PROGRAM.findall(page_text(page))
    ]
