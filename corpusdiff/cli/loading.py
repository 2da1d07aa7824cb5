"""Loading what a command needs, and no more, in half a second."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder


class _NoPandas(MetaPathFinder):
    """Finds that there is none."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name=name)


@contextmanager
def loading() -> Iterator[None]:
    """Modules that are imported in the block stay: nobody looks for garbage among them, now or later."""
    gc.disable()
    try:
        _leave_pandas()
        yield
    finally:
        gc.freeze()
        gc.enable()


def _leave_pandas() -> None:
    """Let Arrow look for pandas now, while it is not to be found.

    It looks once, as soon as it is given Python's values, and asks pandas of each whether they are its own: where
    pandas is installed, a third of a second of every command. Whoever imports pandas afterwards has it.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    finder = _NoPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([])
    finally:
        sys.meta_path.remove(finder)
