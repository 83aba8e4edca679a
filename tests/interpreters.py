"""The CPython interpreters of this machine that the tests run against.

Found in PATH, in pyenv's directory and in a Debian root made by tools/get-pythons (run by chroot); one per
version and kind of build, the newest micro version. ALLCORES_FORKY names another root, ALLCORES_PYTHONS
(paths, colon-separated) further interpreters.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

TEMPORARY = f"allcores-tests-{os.getpid()}"  # in the /tmp of a root; conftest.py removes it
WANTED = [(3, minor) for minor in range(8, 16)]


@dataclass(frozen=True)
class Interpreter:
    """`prefix` is the command that starts it, `root` the chroot that it lives in ("" mostly)."""

    version: tuple[int, int]
    micro: int
    free_threaded: bool
    prefix: tuple[str, ...]
    root: str = ""

    @property
    def name(self) -> str:
        return f"{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    def command(self, args: list[str]) -> list[str]:
        return [*self.prefix, *args]

    def script(self, directory: Path, name: str, text: str) -> str:
        """Write a program where this interpreter sees it; the path as it sees it."""
        where = Path(self.root) / "tmp" / TEMPORARY / directory.name if self.root else directory
        where.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text, encoding="utf-8")
        return "/" + str((where / name).relative_to(self.root)) if self.root else str(where / name)


PROBE = (
    "import sys, sysconfig; print(sys.implementation.name, *sys.version_info[:3],"
    " int(bool(sysconfig.get_config_var('Py_GIL_DISABLED'))), sys.executable)"
)


def _ask(prefix: tuple[str, ...], root: str = "") -> Interpreter | None:
    try:
        answer = subprocess.run(
            [*prefix, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    name, major, minor, micro, free_threaded, executable = answer.stdout.split(maxsplit=5)
    if name != "cpython":
        return None
    if not root:
        prefix = (executable.strip(),)  # not a version manager's shim, which is a shell script
    return Interpreter((int(major), int(minor)), int(micro), free_threaded == "1", prefix, root)


def _candidates() -> list[tuple[tuple[str, ...], str]]:
    names = [f"python3.{minor}{kind}" for _, minor in WANTED for kind in ("", "t")]
    paths = [path for name in names if (path := shutil.which(name))]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    paths += [str(path) for path in sorted(pyenv.glob("3.*/bin/python3"))]
    paths += [path for path in os.environ.get("ALLCORES_PYTHONS", "").split(":") if path]
    found: list[tuple[tuple[str, ...], str]] = [((path,), "") for path in paths]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    root = Path(os.environ.get("ALLCORES_FORKY", cache / "allcores" / "forky"))
    if os.geteuid() == 0 and (root / "usr" / "bin").is_dir():
        for file in sorted((root / "usr" / "bin").iterdir()):
            if re.fullmatch(r"python3\.\d+t?", file.name):
                found.append((("chroot", str(root), "/usr/bin/" + file.name), str(root)))
    return found


@functools.cache
def interpreters() -> list[Interpreter]:
    """Every wanted version that is here, oldest first."""
    best: dict[tuple[tuple[int, int], bool], Interpreter] = {}
    for prefix, root in _candidates():
        found = _ask(prefix, root)
        if found is None or found.version not in WANTED:
            continue
        key = (found.version, found.free_threaded)
        if key not in best or found.micro > best[key].micro:
            best[key] = found
    return sorted(best.values(), key=lambda found: (found.version, found.free_threaded))


def missing() -> list[str]:
    """Wanted versions that no interpreter was found of."""
    here = {found.version for found in interpreters() if not found.free_threaded}
    return [f"{major}.{minor}" for major, minor in WANTED if (major, minor) not in here]
