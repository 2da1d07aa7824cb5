"""A line that changes in its place, in the cell of a notebook that runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module


def cell_line() -> Callable[[str], Callable[[str], None]] | None:
    """What puts a text into the cell and returns what changes it; None where this is no kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if not hasattr(shell, "kernel"):
        return None
    display = import_module("IPython.display").display  # the notebook's own: it is there, and no dependency

    def show(text: str) -> Callable[[str], None]:
        handle = display({"text/plain": text}, raw=True, display_id=True)
        return lambda changed: handle.update({"text/plain": changed}, raw=True)

    return show
