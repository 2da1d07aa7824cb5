"""Resampling by a ratio of whole numbers whose state is a value: as much out as the ratio says, at any time.

`corpusdiff.dsp.resample` (soxr) is faster, but holds its state in a native object that can be neither copied nor
pickled; a stage needs both. Here output m is sum_k h[m M mod L + k L] x[floor(m M / L) - k] (R. Crochiere and L.
Rabiner, Interpolation and decimation of digital signals, 1981, eq. 2.52), with h a Kaiser-windowed sinc at L times the
rate.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Zero crossings of the sinc on either side of its centre.
_CROSSINGS = 24

#: Of the Kaiser window: side lobes under -90 dB (J. Kaiser, 1974).
_BETA = 9.0

#: Where the pass band ends, as a part of the lower of the two Nyquist frequencies.
_CUTOFF = 0.92


class Ratio(NamedTuple):
    """A change of rate.

    Parameters
    ----------
    up, down : L and M, without common divisor
    phases : (up, n_taps) float64, row p holds h[p + k up]
    delay : of the filter, in samples at `up` times the input's rate
    """

    up: int
    down: int
    phases: NDArray[np.float64]
    delay: int


class RatioState(NamedTuple):
    """What is carried between blocks.

    Parameters
    ----------
    history : (n_channels, n_taps) last inputs
    n_in, n_out : inputs and outputs so far
    """

    history: NDArray[np.float32]
    n_in: int
    n_out: int


def n_due(n_in: int, up: int, down: int) -> int:
    """Outputs that `n_in` inputs suffice for, ceil(n_in up / down)."""
    return -(-n_in * up // down)


def half_length(up: int, down: int) -> int:
    """Half the length of a good filter, in samples at `up` times the input's rate; none where there is no change."""
    return 0 if up == down else math.ceil(_CROSSINGS * max(up, down) / _CUTOFF)


@lru_cache(maxsize=16)
def design(up: int, down: int, extra: int = 0) -> Ratio:
    """A ratio whose filter has `half_length` plus `extra` samples of delay, which makes whole what comes together."""
    half = half_length(up, down)
    n = np.arange(-half, half + 1)
    cutoff = _CUTOFF / max(up, down) if half else 1.0
    kernel = up * cutoff * np.sinc(cutoff * n) * np.kaiser(2 * half + 1, _BETA)
    n_taps = -(-(2 * half + 1 + extra) // up)
    padded = np.zeros(n_taps * up)
    padded[extra : extra + 2 * half + 1] = kernel
    return Ratio(up, down, np.ascontiguousarray(padded.reshape(n_taps, up).T), half + extra)


def initial(ratio: Ratio, n_channels: int) -> RatioState:
    """The state before the first sample."""
    return RatioState(np.zeros((n_channels, ratio.phases.shape[1]), np.float32), 0, 0)


def resample(
    x: NDArray[np.float32], ratio: Ratio, state: RatioState, most: int | None = None
) -> tuple[NDArray[np.float32], RatioState]:
    """The outputs that became due, bitwise the same for any blocks, and the next state.

    Parameters
    ----------
    x : (n_channels, n) float32
    ratio : from `design`
    state : from `initial` or the block before
    most : outputs so far, these included, are at most so many; the rest stays due. At least (n_in - 1) up / down
    """
    line = np.concatenate([state.history, x], axis=1)
    n_in = state.n_in + x.shape[1]
    due = n_due(n_in, ratio.up, ratio.down)
    n_out = due if most is None else min(due, most)
    y = np.empty((len(x), n_out - state.n_out), np.float32)
    _resample(line, ratio.phases, ratio.up, ratio.down, state.n_out, state.n_in, y)
    return y, RatioState(line[:, x.shape[1] :].copy(), n_in, n_out)


@njit(cache=True, nogil=True)
def _resample(
    line: NDArray[np.float32],
    phases: NDArray[np.float64],
    up: int,
    down: int,
    first: int,
    n_in: int,
    y: NDArray[np.float32],
) -> None:
    """Outputs from the number `first` on; input number n_in lies at n_taps in `line`."""
    n_taps = phases.shape[1]
    for c in range(y.shape[0]):
        for i in range(y.shape[1]):
            at = (first + i) * down
            taps = phases[at % up]
            newest = at // up - n_in + n_taps
            total = 0.0
            for k in range(n_taps):
                total += taps[k] * line[c, newest - k]
            y[c, i] = total
