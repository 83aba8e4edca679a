"""What is to be done once a module has been imported, by whomever: so that we need not import it ourselves.

concurrent.futures takes 15 to 25 ms to import, more than all else that starting a pool takes, since it brings
logging. Whoever can ask whether our Future is one of concurrent.futures has imported it, so until then ours need not
be a subclass of it.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_waiting: dict[str, list[Callable[[Any], object]]] = {}


def loaded(name: str) -> Any:
    """The module of that name if it is imported, else None. Another thread that is half way through importing it is
    waited for: until then the module is in sys.modules without what it will hold."""
    if sys.modules.get(name) is None:
        return None
    __import__(name)
    return sys.modules[name]


def after_import(name: str, call: Callable[[Any], object]) -> None:
    """Call call(module) when the module of that name has been run: now, if it has been."""
    if (module := loaded(name)) is not None:
        call(module)
        return
    if not _waiting:
        sys.meta_path.insert(0, LateFinder)
    _waiting.setdefault(name, []).append(call)


def join(ours: type, name: str) -> None:
    """Make `ours` a subclass of concurrent.futures' class of that name, once there is one."""

    def add_base(module: Any) -> None:
        ours.__bases__ = (*ours.__bases__, getattr(module, name))

    after_import("concurrent.futures._base", add_base)


class LateFinder:
    """Finds the modules that are waited for as the other finders do, and sees to it that they are run first."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        """The import system's question."""
        if name not in _waiting:
            return None
        calls = _waiting.pop(name)
        if not _waiting:
            sys.meta_path.remove(LateFinder)
        for finder in sys.meta_path:
            spec = None if finder is LateFinder else finder.find_spec(name, path, target)
            if spec is not None:
                _call_after(spec.loader, calls)
                return spec
        return None


def _call_after(loader: Any, calls: list[Callable[[Any], object]]) -> None:
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        execute(module)
        for call in calls:
            call(module)

    loader.exec_module = exec_module
