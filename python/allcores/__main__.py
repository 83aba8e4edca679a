"""``python -m allcores``: hand over to the native command that was installed with this package."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path


def _candidates() -> Iterator[Path]:
    """Where an installer puts the scripts of this package, most likely place first."""
    schemes = [sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user")]
    for scheme in schemes:
        yield Path(sysconfig.get_path("scripts", scheme)) / "allcores"
    # pip install --target and zip-less vendoring: bin/ beside the package
    yield Path(__file__).resolve().parent.parent / "bin" / "allcores"


def main() -> None:
    """Replace this process by the command. Exits 127 where it is not installed."""
    for path in _candidates():
        if os.access(path, os.X_OK):
            os.execv(path, ["allcores", *sys.argv[1:]])
    looked = ", ".join(str(path) for path in _candidates())
    print(
        f"allcores: the native command is not installed (looked at {looked}); reinstall the package",
        file=sys.stderr,
    )
    sys.exit(127)


if __name__ == "__main__":
    main()
