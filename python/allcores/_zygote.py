"""The zygote's whole program: wait for the pool's word and fork. Imports next to nothing, so that it is up soon; what
every worker needs it imports for all of them."""

import _signal
import gc
import os
import sys

from allcores import _ext, _worker


def main(fd: int, parent: int) -> None:
    """Serve on the socket until it closes. Does not return."""
    os.environ.pop("ALLCORES_ZYGOTE", None)
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    _worker.line_buffered()
    gc.freeze()  # a collection in a worker would copy every page of what is shared
    worker = _ext.serve(fd, parent)
    if worker is None:
        os._exit(0)
    _leave(_worker.main(worker))


def _leave(code: int) -> None:
    """What an interpreter does at its end, but for taking itself to pieces."""
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        if "atexit" in sys.modules:
            sys.modules["atexit"]._run_exitfuncs()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):  # closed, or replaced by the user's code
                pass
        os._exit(code)
