"""Runs one contender of ``allcores race``: a function over items, in a fresh interpreter of the user's choosing.

The command starts it by path with one argument, a JSON object, and reads JSON lines from the descriptor that it
names; stdout and stderr are the function's own. It must run on any CPython 3.8 or newer, also where allcores is not
installed. What is imported here every worker imports too that starts from a fresh interpreter: as little as can be.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    Function = Callable[[Any], Any]

MOST_ITEMS = 10_000_000
MOST_DIGESTS = 4096
# What pickle, our pool and loky say of an object that they could not send or take.
NOT_PICKLED = (
    r"(?i)can(no|')t (pickle|get local object)|a result (could not be unpickled|has failed to un-serialize)"
)

now = time.monotonic_ns


# --- the built-in experiment

PARTS = 64  # of one call; two numbers of 32 and 48 bytes are kept after each: more than half a page goes by


def crunch(loops: int) -> int:
    """Pure Python work: `loops` rounds of integer arithmetic.

    Where frame and numbers happen to lie in memory changes its speed by up to 8 %, the same all the time in one kind of
    worker, which is no contender's doing. So some numbers are kept, which moves the next ones: all places get a turn.
    """
    value, kept = 1, []
    for part in range(PARTS):
        for step in range(part, loops, PARTS):
            value = (value * 1103515245 + step) & 0x7FFFFFFF
        kept += [value, value * 1103515245]
    return value


def pause(seconds: float) -> float:
    """Waiting instead of computing."""
    time.sleep(seconds)
    return seconds


def calibrate(seconds: float) -> int:
    """How many loops of crunch() take so much CPU time here."""
    loops, best = 20_000, 0.0
    while best < 0.03:
        loops *= 2
        best = min(_thread_time(loops) for _ in range(3))
    return int(loops * seconds / best)


def _thread_time(loops: int) -> float:
    start = time.thread_time()
    crunch(loops)
    return time.thread_time() - start


# --- the user's function


class RaceError(Exception):
    """What is wrong with what was asked for, in one sentence."""


def places_of(error: BaseException) -> list[tuple[str, str, str, str]]:
    """File, line, function and source of each frame that the traceback tells, a worker's too."""
    import re
    import traceback

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return re.findall(r'File "([^"\n]+)", line (\d+), in (\S+)\n(?: +(.+))?', text)


def place_of(error: BaseException, file: str) -> str:
    """ "app.py:12 in transform: the line", innermost place in `file`, else innermost of all."""
    found = places_of(error)
    ours = [one for one in found if one[0] == file] or [one for one in found if one[0] != __file__]
    if not ours:
        return ""
    name, line, function, source = ours[-1]
    return f"{os.path.basename(name)}:{line} in {function}" + (f": {source}" if source else "")


def said(error: BaseException, file: str = "") -> str:
    """An exception in one line, with the place where it was raised."""
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    place = place_of(error, file)
    return f"{text} ({place})" if place else text


def timed_import(name: str) -> tuple[float, Any]:
    """CPU seconds that the module's own code took, without what it imports, and the module."""
    import builtins
    import importlib
    import threading

    plain, thread = builtins.__import__, threading.get_ident()
    nested, inside = 0.0, False

    def timed(*args: Any, **more: Any) -> Any:
        nonlocal nested, inside
        if inside or threading.get_ident() != thread:
            return plain(*args, **more)
        inside, began = True, time.process_time()
        try:
            return plain(*args, **more)
        finally:
            inside = False
            nested += time.process_time() - began

    began = time.process_time()
    builtins.__import__ = timed
    try:
        module = importlib.import_module(name)
    finally:
        builtins.__import__ = plain
    return time.process_time() - began - nested, module


def import_target(spec: dict[str, Any]) -> Any:
    """The module that holds the user's function. Raises RaceError."""
    name, path = spec["module"], spec.get("file")
    what = os.path.basename(path) if path else name
    if path and not os.path.exists(path):
        raise RaceError(f"{path}: no such file")
    if path and (not name or "." in name):
        raise RaceError(f"{path}: a file whose name has no dot before .py can be imported; rename it")
    try:
        spec["import_s"], module = timed_import(name)
    except SyntaxError as error:
        place = f"{os.path.basename(error.filename or what)}:{error.lineno}"
        raise RaceError(f"{place}: {error.msg}: {(error.text or '').strip()}") from None
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise RaceError(f"no module {name} here or in {sys.executable}") from None
        more = f"it is not installed for {sys.executable} (--python picks another)"
        raise RaceError(f"{what} imports {error.name}: {more}") from None
    except SystemExit:
        more = 'what only a script does goes under `if __name__ == "__main__":`'
        raise RaceError(f"{what} called sys.exit() while it was imported; {more}") from None
    except BaseException as error:
        more = f"; give the module's dotted name for a file of a package: package.{name}:function"
        more = more if path and "relative import" in str(error) else ""
        raise RaceError(f"{what} cannot be imported: {said(error)}{more}") from None
    found = getattr(module, "__file__", None)
    if path and not (found and os.path.samefile(found, path)):
        raise RaceError(f"{what}: `import {name}` finds another module; rename the file")
    return module


def callables_of(module: Any) -> list[str]:
    """The module's own functions."""
    return [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__ and name[0] != "_"
    ]


def find_function(module: Any, spec: dict[str, Any]) -> Function:
    """Raises RaceError, which names the nearest one."""
    what = os.path.basename(spec.get("file") or spec["module"])
    name = spec.get("function") or ""
    known = callables_of(module)
    if not name:
        some = f"it has {', '.join(known[:8])}" if known else "it has none of its own"
        raise RaceError(f"which function of {what}? {what}:NAME; {some}")
    value: Any = module
    for part in name.split("."):
        if not hasattr(value, part):
            import difflib

            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known[:8])}"
            raise RaceError(f"{what} has no function {name}; {hint if known else 'it has none of its own'}")
        value = getattr(value, part)
    if not callable(value):
        raise RaceError(f"{what}:{name} is no function but of type {type(value).__name__}")
    function: Function = value
    return function


def check_function(function: Function, name: str, item: Any) -> None:
    """Can it be called with one item, and does that do the work? Raises RaceError."""
    import inspect

    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise RaceError(f"{name} is a coroutine function; a race calls plain functions")
    if inspect.isgeneratorfunction(function):
        raise RaceError(f"{name} is a generator: a call does no work before someone iterates; return a list")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # written in C, without a signature to ask
    try:
        signature.bind(item)
    except TypeError as error:
        wanted = "a race calls it with one item at a time; wrap it in a function of one argument"
        raise RaceError(f"{name}{signature} cannot be called so ({error}): {wanted}") from None


def place_in_source(function: Any) -> dict[str, Any]:
    """Where the probe will see the function run: file and first line of its code; none for C code."""
    for _ in range(8):
        if hasattr(function, "__code__"):
            code = function.__code__
            return {"file": code.co_filename, "line": code.co_firstlineno}
        if hasattr(function, "func"):  # functools.partial
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif not isinstance(function, type) and hasattr(type(function).__call__, "__code__"):
            function = type(function).__call__
        else:
            break
    return {}


# --- the items


def load(spec: dict[str, Any]) -> tuple[Function, list[Any]]:
    """The function and what it is called with. Raises RaceError."""
    if "loops" in spec:
        return crunch, [spec["loops"] + step for step in range(spec["n"])]
    if "seconds" in spec:
        return pause, [spec["seconds"] + step / 1e6 for step in range(spec["n"])]
    module = import_target(spec)
    function = find_function(module, spec)
    items = load_items(spec, module)
    if not items:
        raise RaceError("there are no items: nothing to run")
    if len(items) > MOST_ITEMS:
        raise RaceError("more than ten million items: take fewer")
    return function, items


def load_items(spec: dict[str, Any], module: Any) -> list[Any]:
    """range(n), an expression's values, or lines."""
    if "lines_fd" in spec:
        with open(spec["lines_fd"], encoding="utf-8", errors="surrogateescape", closefd=False) as lines:
            lines.seek(0)
            return [line.rstrip("\n") for line in lines]
    if "items" not in spec:
        return list(range(spec["n"]))
    from itertools import islice

    try:
        return list(islice(eval(spec["items"], dict(vars(module))), MOST_ITEMS + 1))
    except SyntaxError as error:
        raise RaceError(f"--items {spec['items']}: {error.msg}") from None
    except BaseException as error:
        raise RaceError(f"--items {spec['items']}: {type(error).__name__}: {error}") from None


# --- do the results agree?


def digest(value: Any) -> bytes:
    """The same for equal results, whichever process they come from."""
    import hashlib

    hashed = hashlib.blake2b(digest_size=8)
    try:
        _feed(hashed.update, value, 0)
    except Exception:
        hashed.update(type(value).__name__.encode())
    return hashed.digest()


def _feed(update: Callable[[bytes], object], value: Any, depth: int) -> None:
    kind = type(value)
    update(kind.__name__.encode() + b"\0")
    if kind is int:
        update(hex(value).encode())
    elif value is None or kind in (bool, float, complex, str):
        update(repr(value).encode("utf-8", "surrogatepass"))
    elif depth > 50:
        update(b"...")
    elif kind in (list, tuple, dict):
        update(b"%d\0" % len(value))
        for one in value.items() if kind is dict else value:
            _feed(update, one, depth + 1)
    elif kind in (set, frozenset):
        for one in sorted(map(digest, value)):
            update(one)
    else:
        update(_bytes_of(value))


def _bytes_of(value: Any) -> bytes:
    import pickle
    import re

    try:
        view = memoryview(value)
        if "O" not in view.format and "&" not in view.format:
            return f"{view.format}{view.shape}".encode() + view.tobytes()
    except (TypeError, ValueError, BufferError, NotImplementedError):
        pass
    try:  # once there and back: which parts are the same object no longer matters
        return pickle.dumps(pickle.loads(pickle.dumps(value)))
    except Exception:
        return re.sub(r"0x[0-9a-f]+", "", repr(value)).encode("utf-8", "surrogatepass")


def digests(results: list[Any]) -> list[str]:
    """One for each result; where these are many, one for each so many in a row."""
    import hashlib

    step = -(-len(results) // MOST_DIGESTS) or 1
    joined = []
    for start in range(0, len(results), step):
        parts = b"".join(map(digest, results[start : start + step]))
        joined.append(hashlib.blake2b(parts, digest_size=8).hexdigest())
    return joined


# --- the contenders: each runs function over items, appends to results, and tells when the last one came


def run_sequential(function: Function, items: list[Any], workers: int, results: list[Any]) -> int:
    for item in items:
        results.append(function(item))
    return now()


def run_executor(make: Callable[..., Any]) -> Callable[[Function, list[Any], int, list[Any]], int]:
    """As its users write it: with Executor() as executor: executor.map(function, items)."""

    def run(function: Function, items: list[Any], workers: int, results: list[Any]) -> int:
        with make(max_workers=workers) as executor:
            results.extend(_each(executor.map(function, items)))
            return now()

    return run


def _each(found: Iterable[Any]) -> Iterable[Any]:
    yield from found


def run_allcores_map(function: Function, items: list[Any], workers: int, results: list[Any]) -> int:
    import allcores

    results.extend(allcores.map(function, items))  # type: ignore[attr-defined,unused-ignore]
    return now()


def picked() -> dict[str, Any]:
    """What allcores.map chose in the run that has just ended."""
    import allcores

    facts = allcores.explain()  # type: ignore[attr-defined,unused-ignore]
    return {name: facts[name] for name in ("backend", "workers", "chunksize", "reason")}


def run_joblib(function: Function, items: list[Any], workers: int, results: list[Any]) -> int:
    from joblib import Parallel, delayed

    results.extend(Parallel(n_jobs=workers)(delayed(function)(item) for item in items))
    return now()


def find_runner(contender: str) -> Callable[[Function, list[Any], int, list[Any]], int]:
    """Imports what it needs: that is a program's own start, not the work. Raises ImportError."""
    import concurrent.futures

    if contender == "sequential":
        return run_sequential
    if contender == "threads":
        return run_executor(concurrent.futures.ThreadPoolExecutor)
    if contender == "processes":
        return run_executor(concurrent.futures.ProcessPoolExecutor)
    if contender == "interpreters":
        if sys.version_info < (3, 14):
            raise ImportError("new in Python 3.14")
        return run_executor(concurrent.futures.InterpreterPoolExecutor)
    if contender.startswith("allcores"):
        return find_allcores(contender)
    if contender == "loky":
        from loky import ProcessPoolExecutor

        return run_executor(ProcessPoolExecutor)
    import joblib  # noqa: F401

    return run_joblib


def find_allcores(contender: str) -> Callable[[Function, list[Any], int, list[Any]], int]:
    """Ours. Raises ImportError."""
    if sys.version_info < (3, 11):  # noqa: UP036  any interpreter may be asked for
        raise ImportError("needs Python 3.11")
    import allcores

    if contender == "allcores-map":
        if "map" not in allcores.__all__:
            raise ImportError("not in this version of allcores")
        return run_allcores_map
    return run_executor(allcores.ProcessPoolExecutor)


CONTENDERS = (
    "sequential",
    "threads",
    "processes",
    "interpreters",
    "allcores-pool",
    "allcores-map",
    "joblib",
    "loky",
)


def why_not(contender: str) -> str | None:
    """Why it cannot run here, in a few words; None if it can."""
    try:
        find_runner(contender)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name in ("allcores", "joblib", "loky"):
            return f"{error.name} is not installed for this Python"
        return str(error)
    return None


# --- the command's two questions


def prepare(spec: dict[str, Any]) -> dict[str, Any]:
    """What shall run, and what can: asked once, before the race. Raises RaceError."""
    quick = spec.get("quick", False)
    answer: dict[str, Any] = {
        "python": "{} {}.{}.{}".format(sys.implementation.name, *sys.version_info[:3]),
        "executable": sys.executable,
        "gil": bool(getattr(sys, "_is_gil_enabled", lambda: True)()),
        "left_out": {name: reason for name in CONTENDERS if (reason := why_not(name))},
    }
    if spec.get("io"):
        answer["seconds"] = spec["seconds"] = 0.1 if quick else 1.0
    elif not spec.get("module"):
        answer["loops"] = spec["loops"] = calibrate(0.1 if quick else 1.0)
    function, items = load(spec)
    check_function(function, spec.get("function") or "", items[0])
    answer["items"] = len(items)
    answer["import_s"] = spec.get("import_s", 0.0)
    answer.update(place_in_source(function))
    return answer


def kind_of(error: BaseException, contender: str, file: str) -> str:
    """Whose failure it is: of pickling, of a worker that died, or the function's own, whose code is in `file`."""
    import re

    name = type(error).__name__
    own = contender in ("sequential", "threads") or any(place[0] == file for place in places_of(error))
    if not own and (name in ("PicklingError", "NotShareableError") or re.match(NOT_PICKLED, str(error))):
        return "pickle"
    return "died" if name in ("BrokenProcessPool", "TerminatedWorkerError", "WorkerDied") else "raised"


def run(spec: dict[str, Any], report: Callable[..., None]) -> None:
    """One contender, once."""
    runner = find_runner(spec["contender"])
    function, items = load(spec)
    results: list[Any] = []
    file = place_in_source(function).get("file", "")
    begin = now()
    report(begin=begin)
    try:
        end = runner(function, items, spec["workers"], results)
    except BaseException as error:
        kind = kind_of(error, spec["contender"], file)
        known = {} if spec["contender"] == "joblib" else {"item": len(results)}  # it gives all or nothing
        report(failed=kind, text=said(error, file), end=now(), **known)
        return
    report(end=end)
    if spec["contender"] == "allcores-map":
        report(picked=picked())
    report(digests=digests(results), results=len(results))


def main() -> NoReturn:
    """Runs and leaves at once, whatever threads the function has left behind."""
    import json

    if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        del sys.path[0]  # this package's own modules are not to be found by their bare names
    spec = json.loads(sys.argv[1])
    sys.argv = [spec.get("file", "")]  # what a module that reads its arguments finds
    os.set_inheritable(spec["fd"], False)

    def report(**facts: Any) -> None:
        os.write(spec["fd"], json.dumps(facts).encode() + b"\n")

    try:
        if "contender" in spec:
            run(spec, report)
        else:
            report(**prepare(spec))
    except RaceError as error:
        report(error=str(error))
    except BaseException as error:
        report(error=said(error))
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass
    os._exit(0)


if __name__ == "__main__":
    main()
