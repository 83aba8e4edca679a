"""A worker's life around the C loop: take over the parent's surroundings, run the initializer, serve, leave."""

from __future__ import annotations

import _signal
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from allcores._ext import Engine, Worker

EXIT_INITIALIZER = 121
_main_source: tuple[str, str] | None = None  # how the parent's __main__ is found: ("module" or "path", which)
_passed: tuple[int, ...] = ()
loading_main = False  # no pool may be made meanwhile


def main(worker: Worker) -> int:
    """The body of a worker that a zygote forked; returns the exit code."""
    global _passed
    try:
        _passed = worker.fds
        config: dict[str, Any] = marshal.loads(worker.config())
        _take_over(config)
        initializer, initargs = None, ()
        if config["initializer"] is not None:
            import pickle

            initializer, initargs = pickle.loads(config["initializer"])
        return serve(worker, initializer, initargs, config["max_tasks"])
    except KeyboardInterrupt:
        return 130


def forked(
    engine: Engine, initializer: Callable[..., object] | None, initargs: tuple[Any, ...], cap: int
) -> None:
    """The body of a worker of the fork context: multiprocessing has made the process."""
    from allcores import _ext

    worker = _ext.attach_forked(engine)
    line_buffered()
    _cap_threads(cap)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    sys.exit(serve(worker, initializer, initargs, 0))


def serve(
    worker: Worker, initializer: Callable[..., object] | None, initargs: tuple[Any, ...], most: int
) -> int:
    """Initializer, then tasks until the pool ends or `most` are done; returns the exit code."""
    from allcores import _state

    _state.in_worker = True
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException:
            import logging

            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            return EXIT_INITIALIZER
    del initializer, initargs
    worker.run(sys.modules[__name__], most)
    worker.leave()
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    return 0


# --- surroundings


def _take_over(config: dict[str, Any]) -> None:
    """Make this interpreter look like the parent's as of the pool's start."""
    global _main_source
    sys.path[:] = config["path"]
    sys.argv[:] = config["argv"]
    sys.prefix, sys.exec_prefix = config["prefix"]
    _main_source = config["main"]
    _environment(config["environ"])
    try:
        os.chdir(config["cwd"])
    except OSError:  # gone meanwhile: stay where the zygote was started
        pass
    sys.modules["__main__"] = type(sys)("__main__")
    if config["site"] and sys.flags.no_site:
        import site

        path = sys.path[:]
        site.main()
        sys.path[:] = path
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(config["int_digits"])
    if config["warnings"] is not None:
        _warning_filters(config["warnings"])
    if (authkey := config["authkey"]) is not None:
        from allcores._late import after_import

        after_import(
            "multiprocessing.process", lambda process: setattr(process.current_process(), "authkey", authkey)
        )
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def _environment(changes: dict[bytes, bytes | None]) -> None:
    for name, value in changes.items():
        if value is not None:
            os.environb[name] = value
        else:
            os.environb.pop(name, None)


def line_buffered() -> None:
    """Make stdout and stderr come out line by line."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True, write_through=False)  # so with -u too


def _warning_filters(filters: list[tuple[str, str | None, int, str, str, str | None, int, int]]) -> None:
    import re
    import warnings

    warnings.resetwarnings()
    for action, message, message_flags, module, name, where, where_flags, line in reversed(filters):
        try:
            category = resolve(f"{module}:{name}")
        except (ImportError, AttributeError):  # a category that only the parent has
            continue
        entry = (
            action,
            None if message is None else re.compile(message, message_flags),
            category,
            None if where is None else re.compile(where, where_flags),
            line,
        )
        warnings.filters.insert(0, entry)  # type: ignore[attr-defined]
    warnings.simplefilter(
        "default", _NoSuchWarning, append=True
    )  # tells the C side that the list has changed


class _NoSuchWarning(Warning):
    pass


def _cap_threads(most: int) -> None:
    """BLAS and OpenMP that are loaded already keep to `most` threads (0: as they are)."""
    if not most or "numpy" not in sys.modules:
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(most)


# --- what the C loop calls


def resolve(name: str) -> Any:
    """The object of "module:qualified.name"; behind a NUL stands why it did not come by value."""
    name, _, reason = name.partition("\0")
    try:
        return _resolved(name)
    except Exception as error:
        if reason:
            error.add_note(
                f"allcores: {name} was looked for by name, since it cannot be sent by value: {reason}"
            )
        raise


def _resolved(name: str) -> Any:
    module, _, path = name.partition(":")
    if module == "__main__":
        _load_main(path)
    __import__(module)
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part)
    return found


def rebuild(stream: bytes) -> Any:
    """A function that came by value."""
    from _pickle import loads

    return loads(stream)


def describe(exception: BaseException) -> bytes:
    """An exception as bytes: pickled if that works, else what can be said of it; with its traceback."""
    name = type(exception).__qualname__
    try:
        pickled = b"cbuiltins\nMemoryError\n)R." if type(exception) is MemoryError else _pickled(exception)
    except BaseException as reason:
        import pickle

        pickled = pickle.dumps(
            RuntimeError(
                f"the task raised {name}: {_text(exception)} (which cannot be pickled: {_text(reason)})"
            )
        )
    return marshal.dumps((pickled, name, _text(exception), _traceback(exception)))


def _traceback(exception: BaseException) -> str:
    try:
        import traceback

        return "".join(traceback.format_exception(exception))
    except MemoryError:
        return f"{type(exception).__qualname__}, and no memory for the traceback\n"


def _pickled(exception: BaseException) -> bytes:
    from allcores import _pickling

    return _pickling.in_band(exception)


def _text(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception:
        return f"<{type(exception).__name__} that cannot be printed>"


def _load_main(path: str) -> None:
    """Run the parent's main module as multiprocessing's children do, for a name that can be had no other way."""
    global loading_main
    main = sys.modules["__main__"]
    if hasattr(main, path.partition(".")[0]) or _main_source is None:
        return
    import runpy

    kind, where = _main_source
    run = runpy.run_module if kind == "module" else runpy.run_path
    loading_main = True
    try:
        main.__dict__.update(run(where, run_name="__mp_main__"))
    finally:
        loading_main = False
    sys.modules["__mp_main__"] = main


class PassedFd:
    """A descriptor in pickled initargs: its place among those that the pool hands to its workers."""

    def __init__(self, place: int) -> None:
        self._place = place

    def detach(self) -> int:
        """In the worker: the descriptor, which is the caller's to close."""
        return os.dup(_passed[self._place])
