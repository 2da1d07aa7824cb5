"""Findings and states as bytes, from one process that decodes to another; nobody in between looks inside.

Pickles, and read by processes alone that may do nothing else than decode. These take arrays, plain values and values
of classes of this package and of the stages' own: nothing that a pickle could call.
"""

from __future__ import annotations

import importlib
import io
import pickle
from typing import Any

#: What arrays and NumPy's numbers are made by.
_NUMPY = frozenset(
    {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    }
)


class _Unpickler(pickle.Unpickler):
    """Takes classes from some packages alone."""

    def __init__(self, data: bytes, packages: frozenset[str]) -> None:
        super().__init__(io.BytesIO(data))
        self._packages = packages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _NUMPY:
            return getattr(importlib.import_module(module), name)
        if module.partition(".")[0] in self._packages and "." not in name:
            found = getattr(importlib.import_module(module), name, None)
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not taken from elsewhere")


def packed(value: Any) -> bytes:
    """A value as bytes."""
    return pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)


def unpacked(data: bytes, stages: tuple[Any, ...] = ()) -> Any:
    """Inverse of `packed`. Raises pickle.UnpicklingError for what no value of ours and none of the stages' is made of.

    >>> unpacked(packed((1, "a", None)))
    (1, 'a', None)
    """
    packages = frozenset({"corpusdiff", *(type(stage).__module__.partition(".")[0] for stage in stages)})
    return _Unpickler(data, packages).load()
