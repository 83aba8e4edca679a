"""What workers can reach by name. Apart from _pickling, whose imports most pools never need."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def name_of(thing: Any, reach: Reach | None) -> str | None:
    """ "module:qualname" where that finds the same object in the other process, else None."""
    module = getattr(thing, "__module__", None)
    path = getattr(thing, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str) or "<locals>" in path:
        return None
    holder: Any = sys.modules.get(module)
    if holder is None or (module != "__main__" and getattr(holder, "__spec__", None) is None):
        return None
    found = holder
    for part in path.split("."):
        found = getattr(found, part, None)
    if found is not thing:
        return None
    if module == "__main__" and reach is not None and not reach.has_main(thing):
        return None
    return f"{module}:{path}"


class Reach:
    """What one pool's workers can reach by name, and the functions that it was given by value."""

    def __init__(self, fork: bool) -> None:
        main = vars(sys.modules["__main__"]) if fork else {}
        self._main = {id(value): name for name, value in main.items() if callable(value)}

    def has_main(self, thing: Any) -> bool:
        """Whether workers have this object of __main__: forked ones, if it was there when the pool began."""
        return id(thing) in self._main
