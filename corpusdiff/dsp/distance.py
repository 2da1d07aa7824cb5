"""How far one signal is from another, sample by sample."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.units import power_to_db


def si_sdr_db(xx: float, yy: float, xy: float) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019) from the sums of x^2, y^2 and xy.

    At most 100 dB, where rounding takes over; NaN when either signal is silent.

    >>> round(si_sdr_db(1.0, 4.0, 1.0), 6)  # y is x and three parts of something else
    -4.771213
    """
    if xx <= 0 or yy <= 0:
        return float("nan")
    target = xy * xy / xx
    return float(power_to_db(target / max(yy - target, 1e-10 * yy)))


@njit(cache=True, nogil=True)
def add_products(x: NDArray[np.float32], y: NDArray[np.float32], sums: NDArray[np.float64]) -> None:
    """Add the sums of x^2, y^2 and xy over all channels, and the number of y beyond full scale, sample by sample."""
    n_channels, n = x.shape
    xx, yy, xy, over = sums[0], sums[1], sums[2], sums[3]
    for i in range(n):
        for c in range(n_channels):
            a, b = float(x[c, i]), float(y[c, i])
            xx += a * a
            yy += b * b
            xy += a * b
            over += abs(b) > 1.0
    sums[0], sums[1], sums[2], sums[3] = xx, yy, xy, over
