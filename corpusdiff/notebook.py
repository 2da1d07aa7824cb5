"""A line that changes in its place, in the cell of a notebook that runs."""

from __future__ import annotations

import sys
from collections.abc import Callable


def cell_line() -> Callable[[str], Callable[[str], None]] | None:
    """What puts a text into the cell and returns what changes it; None where this is no kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # the notebook's own: it is there

    def show(text: str) -> Callable[[str], None]:
        handle = display({"text/plain": text}, raw=True, display_id=True)
        return lambda changed: handle.update({"text/plain": changed}, raw=True)

    return show
