"""The package for every interpreter of this machine that it supports: built once, put on sys.path."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from interpreters import Interpreter, interpreters

ROOT = Path(__file__).parent.parent
OLDEST = (3, 11)
ASK = "import sysconfig as s; print(s.get_path('include'), s.get_path('platinclude'), s.get_config_var('EXT_SUFFIX'))"


@dataclass(frozen=True)
class Package:
    """An interpreter and, as it sees it, the directory that holds its allcores."""

    python: Interpreter
    path: str

    def environ(self, **more: str) -> dict[str, str]:
        """Ours, with the package to be found."""
        kept = {
            name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONHOME")
        }
        return {**kept, "PYTHONPATH": self.path, **more}

    def run(
        self, *args: str, timeout: float = 60, cwd: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the interpreter on `args`; its output is captured."""
        return subprocess.run(
            self.python.command(list(args)),
            env=self.environ(**more),
            capture_output=True,
            text=True,
            timeout=timeout,
        )


def supported() -> list[Interpreter]:
    return [one for one in interpreters() if one.version >= OLDEST]


@functools.cache
def package_for(python: Interpreter) -> Package:
    """Builds what is not built. Raises RuntimeError where the interpreter's headers are missing."""
    answer = subprocess.run(
        python.command(["-c", ASK]), capture_output=True, text=True, check=True
    ).stdout.split()
    include, platform_include, suffix = answer
    if not Path(python.root + include, "Python.h").exists():
        raise RuntimeError(
            f"{python.root}{include}/Python.h is missing: tests need the headers of Python {python.name}"
        )
    here = hashlib.sha256(str(ROOT).encode()).hexdigest()[:8]  # checkouts share a root
    where = Path(python.root) / "tmp" / "allcores-ext" / here if python.root else ROOT / "build" / "ext"
    directory = where / f"{python.name}.{python.micro}"
    includes = [python.root + include, python.root + platform_include]
    if python.root:
        includes.append(python.root + "/usr/include")
        enter(python.root)
    subprocess.run([sys.executable, ROOT / "tools" / "build-ext", directory, *includes, suffix], check=True)
    cloudpickle = Path(importlib.util.find_spec("cloudpickle").origin).parent  # type: ignore[union-attr,arg-type]
    shutil.copytree(cloudpickle, directory / "cloudpickle", dirs_exist_ok=True)
    return Package(python, "/" + str(directory.relative_to(python.root)) if python.root else str(directory))


@functools.cache
def enter(root: str) -> None:
    """Mount what processes in the root need: /proc, and shared memory for the standard library's semaphores."""
    for kind, name, sign in (("proc", "proc", "proc/self"), ("tmpfs", "dev/shm", "")):
        place = Path(root) / name
        place.mkdir(exist_ok=True)
        if not (Path(root, sign).exists() if sign else os.path.ismount(place)):
            subprocess.run(["mount", "-t", kind, kind, place], check=True)
