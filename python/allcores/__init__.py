"""Why isn't my Python using all my cores? The package: executors whose engine is C.

    for r in allcores.map(fn, items): ...         # picks threads, processes or neither by itself
    from allcores import ProcessPoolExecutor      # was: from concurrent.futures import ...

Nothing is imported before it is used; ``python -m allcores`` is the native command ``allcores``.
"""

TYPE_CHECKING = False  # not typing's: importing that takes longer than starting a pool
if TYPE_CHECKING:
    from typing import Any

    from allcores._auto import explain, for_each, map, starmap
    from allcores._auto_executor import AutoExecutor
    from allcores._errors import WorkerDied
    from allcores._executor import Future, ProcessPoolExecutor
    from allcores._threads import ThreadPoolExecutor

__version__: str
__all__ = [
    "AutoExecutor",
    "Future",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "WorkerDied",
    "__version__",
    "explain",
    "for_each",
    "map",
    "starmap",
]

_HOME = {
    "AutoExecutor": "_auto_executor",
    "Future": "_executor",
    "ProcessPoolExecutor": "_executor",
    "ThreadPoolExecutor": "_threads",
    "WorkerDied": "_errors",
    "explain": "_auto",
    "for_each": "_auto",
    "map": "_auto",
    "starmap": "_auto",
}


def __getattr__(name: str) -> "Any":
    if name in _HOME:
        home = __import__(f"allcores.{_HOME[name]}", fromlist=[name])
        value = getattr(home, name)
    elif name == "__version__":
        value = _version()
    else:
        raise AttributeError(f"module 'allcores' has no attribute {name!r}")
    globals()[name] = value
    return value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("allcores")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
