"""The zygote's whole program: wait for the pool's word and fork. Imports next to nothing, so that it is up soon."""

import os
import sys

import _signal
from allcores import _ext


def main(fd: int, parent: int) -> None:
    """Serve on the socket until it closes. Returns in workers only, when they are done."""
    os.environ.pop("ALLCORES_ZYGOTE", None)
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)
    worker = _ext.serve(fd, parent)
    if worker is None:
        os._exit(0)
    from allcores import _worker

    sys.exit(_worker.main(worker))
