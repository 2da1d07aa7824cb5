"""Real Fourier transforms of rows, by SciPy's pocketfft.

`import scipy.fft` takes a fifth of a second, most of it for what a transform has no need of, and every child process
of every worker would pay it. So the compiled module behind it is loaded by itself. Where that cannot be done, or has
come to answer otherwise, `scipy.fft` does the same work: the numbers are the same either way.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: pocketfft's ways to scale a result.
_AS_IT_IS, _BY_LENGTH = 0, 2

#: The compiled module's full name, and its file's place in the folder of SciPy.
_NAME, _PLACE = "scipy.fft._pocketfft.pypocketfft", "fft/_pocketfft"


def rfft(x: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Spectra (..., n / 2 + 1) of rows (..., n), along the last axis; as `scipy.fft.rfft`."""
    return _transforms()[0](x)


def irfft(spectra: NDArray[np.complex64], n: int) -> NDArray[np.float32]:
    """Rows (..., n) of spectra (..., n / 2 + 1), n even; as `scipy.fft.irfft`."""
    return _transforms()[1](spectra, n)


@lru_cache(maxsize=4096)
def good_length(n: int) -> int:
    """The least length of at least `n` that transforms fast; as `scipy.fft.next_fast_len` for real input.

    >>> good_length(706), good_length(1)
    (720, 1)
    """
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


_Transforms = tuple[Callable[[Any], Any], Callable[[Any, int], Any]]


@lru_cache(maxsize=1)
def _transforms() -> _Transforms:
    compiled = None if "scipy.fft" in sys.modules else _compiled()
    if compiled is not None:
        made = direct(compiled)
        try:
            spectrum = made[0](np.array([[4.0, 0.0, 0.0, 0.0]], np.float32))
            if spectrum.dtype == np.complex64 and (spectrum == 4).all() and made[1](spectrum, 4)[0, 0] == 4:
                return made
        except TypeError:  # called otherwise than here
            pass
    import scipy.fft

    return lambda x: scipy.fft.rfft(x, axis=-1), lambda spectra, n: scipy.fft.irfft(spectra, n, axis=-1)


def direct(compiled: ModuleType) -> _Transforms:
    """Both transforms by the compiled module itself."""
    r2c, c2r = compiled.r2c, compiled.c2r
    return (
        lambda x: r2c(x, (-1,), True, _AS_IT_IS, None, 1),
        lambda spectra, n: c2r(spectra, (-1,), n, False, _BY_LENGTH, None, 1),
    )


def _compiled() -> ModuleType | None:
    """The compiled module without the package around it; None where it is not where it was."""
    scipy = importlib.util.find_spec("scipy")
    for folder in (scipy and scipy.submodule_search_locations) or ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = Path(folder) / _PLACE / f"pypocketfft{suffix}"
            spec = importlib.util.spec_from_file_location(_NAME, path)
            if path.exists() and spec is not None and spec.loader is not None:
                try:
                    module = importlib.util.module_from_spec(spec)
                    spec.loader.exec_module(module)
                except ImportError:
                    return None
                if hasattr(module, "r2c") and hasattr(module, "c2r"):
                    return module
    return None
