"""Distributed time and spectral diffusion of large audio corpora."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corpusdiff.driver import run
    from corpusdiff.onefile import apply
    from corpusdiff.store.read import open  # noqa: A004  # corpusdiff.open, as in zarr.open

__version__ = "0.1.0"

__all__ = ["apply", "open", "run"]


def __getattr__(name: str) -> Any:
    """Import on first use: the child process that decodes needs neither Dask nor Zarr."""
    if name == "open":
        from corpusdiff.store.read import open as open_corpus

        return open_corpus
    if name == "run":
        from corpusdiff.driver import run

        return run
    if name == "apply":
        from corpusdiff.onefile import apply

        return apply
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
