"""Why isn't my Python using all my cores?

Today the package carries the ``allcores`` command (a native program); ``python -m allcores`` is the
same command.
"""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__: str = version("allcores")
except PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0"
