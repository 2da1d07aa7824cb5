"""Sums of many samples, in loops that the compiler turns into vector instructions.

A sum of floats may not be reordered by a compiler, so a plain loop waits for every addition. Here the order is
written down, in folds: the same on every kind of processor, and as exact as sums in pairs are.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Parts that the samples are folded into first, then again and again.
_FOLDS, _AGAIN = 8, 4

#: Sums that are folded no further.
_FEW = 16


@njit(cache=True, nogil=True)
def scratch(n: int) -> NDArray[np.float64]:
    """What `sum_and_power` of up to `n` samples needs; what is in it does not matter."""
    return np.empty((2, n // _FOLDS))


@njit(cache=True, nogil=True)
def sum_and_power(x: NDArray[np.float32], folded: NDArray[np.float64]) -> tuple[float, float]:
    """Sum and sum of squares of (n,) samples; `folded` is of `scratch`."""
    sums, powers = folded[0], folded[1]
    n = x.size // _FOLDS
    x0, x1, x2, x3 = x[:n], x[n : 2 * n], x[2 * n : 3 * n], x[3 * n : 4 * n]
    x4, x5, x6, x7 = x[4 * n : 5 * n], x[5 * n : 6 * n], x[6 * n : 7 * n], x[7 * n : 8 * n]
    for i in range(n):
        a, b, c, d = float(x0[i]), float(x1[i]), float(x2[i]), float(x3[i])
        e, f, g, h = float(x4[i]), float(x5[i]), float(x6[i]), float(x7[i])
        sums[i] = ((a + b) + (c + d)) + ((e + f) + (g + h))
        powers[i] = ((a * a + b * b) + (c * c + d * d)) + ((e * e + f * f) + (g * g + h * h))
    total, power = 0.0, 0.0
    while n >= _FEW:
        quarter = n // _AGAIN
        for i in range(_AGAIN * quarter, n):
            total += sums[i]
            power += powers[i]
        n = quarter
        for i in range(n):
            sums[i] = (sums[i] + sums[i + n]) + (sums[i + 2 * n] + sums[i + 3 * n])
            powers[i] = (powers[i] + powers[i + n]) + (powers[i + 2 * n] + powers[i + 3 * n])
    for i in range(n):
        total += sums[i]
        power += powers[i]
    for i in range(x.size // _FOLDS * _FOLDS, x.size):
        total += float(x[i])
        power += float(x[i]) * float(x[i])
    return total, power
