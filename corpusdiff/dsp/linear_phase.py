"""A Butterworth high-pass run forward and back, as a symmetric FIR filter that streams.

Forward and back, the zero-phase response is |H|^2. Of a filter with poles p_i it is, from n = -infinity on,
h[n] = d[n] - sum_i Re(c_i p_i^|n|), summed over one pole of each pair. Cut at n = +-L it is an FIR
filter of latency L, and every power of a pole runs as a recursion (A. Wang and J. O. Smith, On fast FIR filters
implemented as tail-canceling IIR filters, 1997): a few operations per sample whatever L. The side that looks ahead is
a recursion by 1/p, whose rounding errors grow; so it is summed afresh every L samples, counted from the track's start.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Half the length of the filter, in periods of the cut-off frequency: 30 ms at 80 Hz.
PERIODS = 2.4

#: Sums under this are silence, and become it before they reach numbers that processors are slow with.
_TINY = 1e-30


class LinearPhase(NamedTuple):
    """The filter.

    Parameters
    ----------
    latency : L, half its length
    poles : (n_poles,) complex128, one of each pair
    weights : (n_poles,) complex128, c_i, such that the gain at DC is 0
    """

    latency: int
    poles: NDArray[np.complex128]
    weights: NDArray[np.complex128]


class LinearPhaseState(NamedTuple):
    """What is carried between blocks.

    Parameters
    ----------
    history : (n_channels, 2 L + 1) last input samples
    sums : (n_channels, n_poles, 2) complex128: the sums behind and ahead of the last output sample
    n_since : output samples since the sums ahead were summed afresh
    """

    history: NDArray[np.float32]
    sums: NDArray[np.complex128]
    n_since: int


@lru_cache
def design_highpass(cutoff_hz: float, order: int, sr: int) -> LinearPhase:
    """The squared magnitude response of a Butterworth high-pass of an `order`, linear phase.

    Bilinear transform with the cut-off prewarped, as `butterworth_highpass`. The residue of 1 - H(z) H(1/z) at a pole
    p inside the unit circle is c p, since p^|n| has the transform 1/(1 - p/z) + p z/(1 - p z).
    """
    latency = round(PERIODS * sr / cutoff_hz)
    warped = np.tan(np.pi * cutoff_hz / sr)
    angles = np.pi * (2 * np.arange((order + 1) // 2) + order + 1) / (2 * order)
    analogue = warped * np.exp(
        1j * angles
    )  # the left half plane's upper quarter, the real pole last where there is one
    poles = (1 + analogue) / (1 - analogue)
    everything = np.concatenate([poles, np.conj(poles[: order // 2])])
    gain = np.prod((1 + everything) / 2)  # one at half the rate
    weights = np.empty(len(poles), np.complex128)
    for i, p in enumerate(poles):
        # H(z) = gain (z - 1)^N / prod(z - p), H(1/z) = gain (1 - z)^N / prod(1 - p z)
        numerator = gain**2 * (p - 1) ** order * (1 - p) ** order
        weights[i] = -numerator / (p * np.prod(p - np.delete(everything, i)) * np.prod(1 - everything * p))
    pairs = np.where(np.arange(len(poles)) < order // 2, 2.0, 1.0)
    weights = weights * pairs
    n = np.arange(-latency, latency + 1)
    total = np.sum((weights[:, None] * poles[:, None] ** np.abs(n)).real)
    return LinearPhase(latency, poles, weights / total)


def initial(design: LinearPhase, n_channels: int) -> LinearPhaseState:
    """The state before the first sample."""
    history = np.zeros((n_channels, 2 * design.latency + 1), np.float32)
    return LinearPhaseState(history, np.zeros((n_channels, len(design.poles), 2), np.complex128), 0)


def filter_linear_phase(
    x: NDArray[np.float32], design: LinearPhase, state: LinearPhaseState
) -> tuple[NDArray[np.float32], LinearPhaseState]:
    """Filter in float64, delayed by the filter's latency.

    Parameters
    ----------
    x : (n_channels, n) float32
    design : from `design_highpass`
    state : from `initial` or the block before

    Returns
    -------
    (n_channels, n) float32, and the next state
    """
    n = x.shape[1]
    line = np.concatenate([state.history, x], axis=1)
    sums = state.sums.copy()
    y = np.empty((x.shape[0], n), np.float32)
    _filter(line, design.poles, design.weights, design.latency, sums, state.n_since, y)
    return y, LinearPhaseState(line[:, n:].copy(), sums, (state.n_since + n) % design.latency)


@njit(cache=True, nogil=True)
def _filter(
    line: NDArray[np.float32],
    poles: NDArray[np.complex128],
    weights: NDArray[np.complex128],
    latency: int,
    sums: NDArray[np.complex128],
    n_since: int,
    y: NDArray[np.float32],
) -> None:
    """Sample i of `y` lies at i + latency + 1 in `line`. `sums` moves along."""
    n_channels, n = y.shape
    low = np.empty(n)
    for c in range(n_channels):
        x = line[c]
        low[:] = 0.0
        for k in range(len(poles)):
            p, weight = poles[k], weights[k]
            past_end, ahead_end, inverse = p ** (latency + 1), p**latency, 1.0 / p
            past, ahead = sums[c, k]
            phase = n_since
            for i in range(n):
                at = i + latency + 1
                past = past * p + x[at] - past_end * x[at - latency - 1]
                if phase == 0:
                    ahead = 0j
                    if abs(past) < _TINY:
                        past = 0j
                    for j in range(latency, 0, -1):
                        ahead = (ahead + x[at + j]) * p
                else:
                    ahead = ahead * inverse - x[at] + ahead_end * x[at + latency]
                low[i] += (weight * (past + ahead)).real
                phase = phase + 1 if phase + 1 < latency else 0
            sums[c, k, 0], sums[c, k, 1] = past, ahead
        for i in range(n):
            y[c, i] = x[i + latency + 1] - low[i]
