"""Functions that came by value are put together here, in the worker. Cloudpickle takes them apart in the parent; its
import would cost every worker 35 ms and 5 MB."""

from __future__ import annotations

import builtins
from types import CellType, CodeType, FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any


def code(*parts: Any) -> CodeType:
    """A code object of what its constructor takes."""
    return CodeType(*parts)


def cell(*contents: Any) -> CellType:
    """A closure's cell, empty without an argument."""
    return CellType(*contents)


def module(name: str) -> ModuleType:
    """A module by its name."""
    from importlib import import_module

    return import_module(name)


def function(*parts: Any) -> FunctionType:
    """A function without its state: code, globals, name, defaults, closure."""
    parts[1]["__builtins__"] = builtins
    return FunctionType(*parts)


def fill(made: FunctionType, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """The function's state, which may refer to the function itself."""
    attributes, slots = state
    made.__dict__.update(attributes)
    made.__globals__.update(slots.pop("__globals__"))
    slots.pop("_cloudpickle_submodules", None)  # unpickling them has imported them
    for own, came in zip(made.__closure__ or (), slots.pop("__closure__") or (), strict=True):
        try:
            own.cell_contents = came.cell_contents
        except ValueError:  # empty
            continue
    for name, value in slots.items():
        setattr(made, name, value)
