"""Puts our pools in the place of the standard ones. A .pth file of the suite's environment imports this in every
interpreter that starts there, before any test can."""

import concurrent.futures
import concurrent.futures.process
import concurrent.futures.thread
import sys
from pathlib import Path
from typing import Any

import allcores


class ProcessPoolExecutor(allcores.ProcessPoolExecutor):
    """Ours, breaking on a crash as the standard one does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, on_crash="break", **kwargs)


vars(concurrent.futures)["ProcessPoolExecutor"] = ProcessPoolExecutor
vars(concurrent.futures.process)["ProcessPoolExecutor"] = ProcessPoolExecutor
vars(concurrent.futures)["ThreadPoolExecutor"] = allcores.ThreadPoolExecutor
vars(concurrent.futures.thread)["ThreadPoolExecutor"] = allcores.ThreadPoolExecutor
sys.path.insert(0, str(Path(__file__).parent))  # where 3.13's suite is, for 3.12
