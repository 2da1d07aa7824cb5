"""From float to integers, with triangular dither from a counter: any cut of a track gives the same samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


def quantize(
    x: NDArray[np.float32], bits: int, dither: bool, key: int, start: int
) -> NDArray[np.int16] | NDArray[np.int32]:
    """Round to integers of `bits` bits, saturating.

    Dither has a triangular density over +-1 step (Lipshitz, Wannamaker and Vanderkooy 1992), so that the
    error's mean and variance do not depend on the signal. Sample instants at which all channels are
    exactly 0 stay 0: digital silence stays silent.

    Parameters
    ----------
    x : (n_channels, n) float32, full scale 1.0
    bits : 16, or 24 (left-justified in 32, as soundfile has it)
    dither : whether to
    key : of the track, 64 bits
    start : index in the track of the first sample

    Returns
    -------
    (n_channels, n) int16 or int32
    """
    out: NDArray[Any] = np.empty(x.shape, np.int16 if bits == 16 else np.int32)
    shift = 0 if bits == 16 else 8
    _quantize(np.ascontiguousarray(x), float(2 ** (bits - 1)), shift, dither, np.uint64(key), start, out)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _quantize(
    x: NDArray[np.float32],
    scale: float,
    shift: int,
    dither: bool,
    key: np.uint64,
    start: int,
    out: NDArray[Any],
) -> None:
    """A channel at a time, without a branch in the loop, so that many samples are rounded at once."""
    n_channels, n = x.shape
    heard = np.zeros(n, np.bool_)
    for c in range(n_channels):
        for i in range(n):
            heard[i] |= x[c, i] != 0.0
    for c in range(n_channels):
        for i in range(n):
            value = float(x[c, i]) * scale
            if dither:
                bits = _hash(key, np.uint64((start + i) * n_channels + c))
                high = float(np.int64(bits >> np.uint64(32)))
                low = float(np.int64(bits & np.uint64(0xFFFFFFFF)))
                value += (high - low) / 4294967296.0 if heard[i] else 0.0
            value = min(max(np.rint(value), -scale), scale - 1.0)
            out[c, i] = np.int32(value) << shift


@njit(cache=True, nogil=True, inline="always")
def _hash(key: np.uint64, counter: np.uint64) -> np.uint64:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014) at a position of the sequence of `key`."""
    z = key + (counter + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
