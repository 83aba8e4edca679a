"""Pickling for the pool: buffers out of band, and by value what cannot be reached by name.

Three steps, each only where the one before does not do: plain pickle of small trees (in C, src/ext/pickle.c); the
C pickler with our reducers and a look at every class and function; cloudpickle.
"""

from __future__ import annotations

import array
import copyreg
import io
import pickle
import sys
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from allcores._late import loaded
from allcores._reach import Reach, name_of

LARGE = 1 << 14  # bytes from which on a buffer travels out of band
_TREES = (list, tuple, dict)
_SWAPPED = frozenset((*_TREES, bytes, bytearray))


class _NeedsValue(Exception):
    """Something in there cannot be reached by name."""


def dumps(value: Any, reach: Reach | None) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """(stream, out-of-band buffers). `reach` is the parent's; None in a worker. Raises what the pickling raises."""
    buffers: list[pickle.PickleBuffer] = []
    value = _swap(value, {}, 3)
    try:
        return _dump(_Pickler, value, reach, buffers), buffers
    except _NeedsValue:
        buffers.clear()
        return _dump(_value_pickler(), value, reach, buffers), buffers


def in_band(value: Any, reach: Reach | None = None) -> bytes:
    """One stream without buffers on the side."""
    try:
        return _dump(_Pickler, value, reach, None)
    except _NeedsValue:
        return _dump(_value_pickler(), value, reach, None)


def _dump(kind: Any, value: Any, reach: Reach | None, buffers: list[pickle.PickleBuffer] | None) -> bytes:
    file = io.BytesIO()

    def callback(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < LARGE:
            return True
        assert buffers is not None
        buffers.append(buffer)
        return False

    pickler = kind(file, protocol=5, buffer_callback=None if buffers is None else callback)
    _add_multiprocessings(pickler)
    pickler.reach = reach
    pickler.out_of_band = buffers is not None
    pickler.dump(value)
    return file.getvalue()


# --- reducers


def _add_multiprocessings(pickler: Any) -> None:
    """What is registered with multiprocessing's ForkingPickler (sockets, connections, shared values, torch's tensors)
    is pickled as the standard pool does it."""
    reduction = loaded("multiprocessing.reduction")
    if reduction is not None:
        theirs = reduction.ForkingPickler._extra_reducers
        if isinstance(pickler, _Pickler):
            pickler.dispatch_table = {**copyreg.dispatch_table, **theirs}
        else:  # cloudpickle knows better how methods go by value
            pickler.dispatch_table = {**theirs, **pickler.dispatch_table}


def _as_memoryview(data: Any, form: str, shape: tuple[int, ...]) -> memoryview:
    view: Any = memoryview(data)
    if shape and (form, shape) != ("B", (len(view),)):
        view = view.cast("B").cast(form, shape)
    made: memoryview = view
    return made


def _as_array(code: str, data: Any) -> array.array[Any]:
    made: array.array[Any] = array.array(code)
    made.frombytes(data)
    return made


def _reduce_memoryview(view: memoryview) -> Any:
    if not view.c_contiguous:
        view = memoryview(view.tobytes()).cast(view.format, view.shape)  # type: ignore[call-overload]
    return _as_memoryview, (pickle.PickleBuffer(view), view.format, view.shape)


def _reduce_array(values: array.array[Any]) -> Any:
    return _as_array, (values.typecode, pickle.PickleBuffer(values))


class _Large:
    """Stands for bytes or a bytearray, which the C pickler would put in band; a copy is made where it arrives."""

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data

    def __reduce__(self) -> Any:
        return type(self.data), (pickle.PickleBuffer(self.data),)


def _swap(value: Any, seen: dict[int, Any], depth: int) -> Any:
    """`value` with large bytes and bytearrays in its exact lists, tuples and dicts replaced by _Large."""
    kind = type(value)
    if kind is bytes or kind is bytearray:
        if len(value) < LARGE:
            return value
        return seen.setdefault(id(value), _Large(value))
    if depth == 0 or kind not in _TREES or len(value) > 1000:
        return value
    if id(value) in seen:
        return seen[id(value)]
    members = list(value.values()) if kind is dict else value
    for item in members:
        if type(item) in _SWAPPED:
            break
    else:
        return value
    seen[id(value)] = value  # a cycle ends here
    swapped = [_swap(item, seen, depth - 1) for item in members]
    for new, old in zip(swapped, members, strict=True):
        if new is not old:
            seen[id(value)] = dict(zip(value, swapped, strict=True)) if kind is dict else kind(swapped)
            break
    return seen[id(value)]


def _reduce_buffer(thing: Any, out_of_band: bool) -> Any:
    if not out_of_band:
        return (
            NotImplemented
            if type(thing) is not memoryview
            else (_as_memoryview, (thing.tobytes(), thing.format, thing.shape))
        )
    if type(thing) is memoryview:
        return _reduce_memoryview(thing)
    if type(thing) is array.array and len(thing) * thing.itemsize >= LARGE:
        return _reduce_array(thing)
    return NotImplemented


class _Pickler(pickle.Pickler):
    """The C pickler; gives up where something must go by value."""

    reach: Reach | None = None
    out_of_band = True

    def reducer_override(self, thing: Any) -> Any:
        kind = type(thing)
        if kind is memoryview or kind is array.array:
            return _reduce_buffer(thing, self.out_of_band)
        if (kind is FunctionType or isinstance(thing, type)) and name_of(thing, self.reach) is None:
            if isinstance(thing, type) and getattr(thing, "__module__", None) == "builtins":
                return NotImplemented
            raise _NeedsValue
        if kind is ModuleType:
            raise _NeedsValue
        if kind is MethodType and getattr(thing.__self__, thing.__name__, None) != thing:
            raise _NeedsValue  # pickle would look for it there
        return NotImplemented


def _make_main_class(make: Any, path: str, *args: Any) -> Any:
    """In the worker: a class of the parent's __main__, which its pickles will then name."""
    made = make(*args)
    if "." not in path and "<" not in path:
        setattr(sys.modules["__main__"], path, made)
    return made


_VALUE_PICKLER: Any = None


def _value_pickler() -> Any:
    """cloudpickle's pickler with our reducers; made when first needed, since the import is slow."""
    global _VALUE_PICKLER
    if _VALUE_PICKLER is not None:
        return _VALUE_PICKLER
    import cloudpickle
    from cloudpickle import cloudpickle as parts

    from allcores import _rebuild

    def reduce_part(thing: Any) -> Any:
        """What functions consist of; NotImplemented for the rest."""
        kind = type(thing)
        if kind is CodeType:
            return _rebuild.code, parts._code_reduce(thing)[1]
        if kind is CellType:
            try:
                return _rebuild.cell, (thing.cell_contents,)
            except ValueError:
                return _rebuild.cell, ()
        if (
            isinstance(thing, ModuleType)
            and sys.modules.get(thing.__name__) is thing
            and thing.__name__ != "__main__"
        ):
            return _rebuild.module, (thing.__name__,)
        return NotImplemented

    class ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]
        reach: Reach | None = None
        out_of_band = True

        def reducer_override(self, thing: Any) -> Any:
            kind = type(thing)
            if kind is memoryview or kind is array.array:
                return _reduce_buffer(thing, self.out_of_band)
            if isinstance(thing, type) and thing.__module__ == "__main__" and name_of(thing, self.reach):
                return NotImplemented  # forked workers and the way back
            if kind is FunctionType and thing.__module__ == "__main__" and name_of(thing, self.reach):
                return NotImplemented
            reduced = reduce_part(thing)
            if reduced is NotImplemented:
                reduced = super().reducer_override(thing)
            if isinstance(reduced, tuple) and reduced[0] is parts._make_function:
                return (_rebuild.function, *reduced[1:5], _rebuild.fill)
            if isinstance(thing, type) and thing.__module__ == "__main__" and isinstance(reduced, tuple):
                return (_make_main_class, (reduced[0], thing.__qualname__, *reduced[1]), *reduced[2:])
            return reduced

    _VALUE_PICKLER = ValuePickler
    return ValuePickler
