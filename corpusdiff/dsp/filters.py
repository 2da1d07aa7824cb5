"""Second-order sections with carried state, and the Butterworth high-pass in that form.

`scipy.signal` has both, but loading it takes as long as all the rest that a worker's child needs; the tests
hold these to it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def butterworth_highpass(cutoff_hz: float, order: int, sr: int) -> NDArray[np.float64]:
    """(ceil(order / 2), 6) sections b0, b1, b2, a0 = 1, a1, a2 of a Butterworth high-pass.

    The analogue poles lie evenly on a circle; the bilinear transform with the cut-off prewarped takes each
    pair to one section of unit gain at half the rate (Oppenheim and Schafer, section 7.2).
    """
    warped = np.tan(np.pi * cutoff_hz / sr)
    sections = []
    for i in range(order // 2):
        damping = 2 * np.sin(np.pi * (2 * i + 1) / (2 * order))
        norm = 1 + damping * warped + warped**2
        a1, a2 = 2 * (warped**2 - 1) / norm, (1 - damping * warped + warped**2) / norm
        sections.append([1 / norm, -2 / norm, 1 / norm, 1.0, a1, a2])
    if order % 2:
        norm = 1 + warped
        sections.append([1 / norm, -1 / norm, 0.0, 1.0, (warped - 1) / norm, 0.0])
    return np.array(sections)


def power_response(sections: NDArray[np.float64], freqs_hz: NDArray[np.float64], sr: int) -> NDArray[np.float64]:
    """Squared magnitude of sections at frequencies, of their shape."""
    z = np.exp(-2j * np.pi * freqs_hz / sr)
    response = np.ones_like(z)
    for b0, b1, b2, _, a1, a2 in sections:
        response *= (b0 + b1 * z + b2 * z * z) / (1 + a1 * z + a2 * z * z)
    return np.abs(response) ** 2


@njit(cache=True, nogil=True)
def filter_sections(
    x: NDArray[np.float32], sections: NDArray[np.float64], state: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Filter in float64, transposed direct form II; `state` moves along.

    Parameters
    ----------
    x : (n_channels, n) float32
    sections : (n_sections, 6)
    state : (n_channels, n_sections, 2) float64, changed in place

    Returns
    -------
    (n_channels, n) float32
    """
    n_channels, n = x.shape
    y = np.empty((n_channels, n), np.float32)
    line = np.empty(n)
    for c in range(n_channels):
        for i in range(n):
            line[i] = x[c, i]
        for s in range(len(sections)):
            b0, b1, b2 = sections[s, 0], sections[s, 1], sections[s, 2]
            a1, a2 = sections[s, 4], sections[s, 5]
            z1, z2 = state[c, s, 0], state[c, s, 1]
            for i in range(n):
                u = line[i]
                v = b0 * u + z1
                z1 = b1 * u - a1 * v + z2
                z2 = b2 * u - a2 * v
                line[i] = v
            state[c, s, 0], state[c, s, 1] = z1, z2
        for i in range(n):
            y[c, i] = line[i]
    return y
