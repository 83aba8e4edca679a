"""Puts our pool in the place of the standard one. A .pth file of the suite's environment imports this in every
interpreter that starts there, before any test can."""

import concurrent.futures
import concurrent.futures.process
import sys
from pathlib import Path
from typing import Any

import allcores


class ProcessPoolExecutor(allcores.ProcessPoolExecutor):
    """Ours, breaking on a crash as the standard one does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, on_crash="break", **kwargs)


for module in (concurrent.futures, concurrent.futures.process):
    vars(module)["ProcessPoolExecutor"] = ProcessPoolExecutor
sys.path.insert(0, str(Path(__file__).parent))  # where 3.13's suite is, for 3.12
