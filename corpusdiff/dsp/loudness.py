"""Loudness and loudness range (ITU-R BS.1770-5, EBU Tech 3341 and 3342) at any rate from 8 kHz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.k_weighting import k_weighting
from corpusdiff.dsp.levels import check_on_grid, ranked
from corpusdiff.units import POWER_FLOOR, db_to_power, power_to_db

#: Of the mean square of K-weighted channels, in LUFS.
OFFSET_LUFS = -0.691

#: Distance of two gating blocks, in seconds; a block is four of them, a short-term window thirty.
HOP_S = 0.1
_BLOCK, _SHORT_TERM = 4, 30

#: Seconds after which the filters have forgotten what was before: exp(-239 t) for the slower one.
PRIME_S = 0.3

_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_RANGE_GATE_LU = -20.0

_INAUDIBLE = 1e-30

#: Weights of channels in the order of WAVE files (L R C LFE, then back and side pairs): 1.41 for surrounds that
#: stand at 60 to 120 degrees, 0 for the LFE (BS.1770-5, tables 3 and 4). Four channels may be anything: 1 each.
_WEIGHTS = {
    5: (1.0, 1.0, 1.0, 1.41, 1.41),
    6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41),
    8: (1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41),
}


@dataclass(frozen=True)
class Loudness:
    """What a `LoudnessMeter` found.

    Parameters
    ----------
    integrated_lufs : NaN for silence
    range_lu : loudness range, NaN for under 3 s and for silence
    method : ``gated`` (the standard), ``ungated`` (no block of 0.4 s, or all under -70 LUFS) or ``silent``
    """

    integrated_lufs: float
    range_lu: float
    method: str


class LoudnessMeter:
    """Integrated loudness and loudness range of a signal in blocks.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : weighted as 5.1 or 7.1 for 5, 6 and 8 channels, else equally
    """

    def __init__(self, sr: int, n_channels: int) -> None:
        self._sections = k_weighting(sr)
        self._weights = channel_weights(n_channels)
        self._hop = max(1, round(HOP_S * sr))
        self._filter = np.zeros((n_channels, 6))
        self._sums = np.zeros(n_channels)
        self._filled = 0
        self._hops: list[NDArray[np.float64]] = []

    @property
    def grid(self) -> int:
        """Samples that the part of a track that may be merged is a multiple of."""
        return self._hop

    def prime(self, x: NDArray[np.float32]) -> None:
        """Hear (n_channels, n) float32 without counting it: what comes before the part that this meter is for.

        The filters forget within `PRIME_S`: what they had is 1e-30 of what it was.
        """
        samples = np.ascontiguousarray(x)
        nowhere = np.zeros(len(x)), 0, self._hop, np.zeros(x.shape[1] // self._hop)
        _accumulate(samples, self._sections, self._weights, self._filter, *nowhere)

    def merge(self, later: LoudnessMeter) -> None:
        """Go on with what a primed meter found of the samples that follow, equal but for rounding.

        What came here is a multiple of `grid`, and something came there. Raises ValueError where it is not.
        """
        check_on_grid(self._filled)
        self._hops += later._hops
        self._sums, self._filled, self._filter = later._sums, later._filled, later._filter

    def update(self, x: NDArray[np.float32]) -> None:
        """(n_channels, n) float32."""
        hops = np.zeros((self._filled + x.shape[1]) // self._hop)
        samples = np.ascontiguousarray(x)
        self._filled = _accumulate(
            samples, self._sections, self._weights, self._filter, self._sums, self._filled, self._hop, hops
        )
        if len(hops):
            self._hops.append(hops)

    def finish(self, gain_db: float = 0.0) -> Loudness:
        """Loudness of what came so far, or of that after a gain: the gates are set anew, and stay where they are."""
        gain = float(db_to_power(gain_db)) if gain_db else 1.0
        sums = np.concatenate([np.zeros(0), *self._hops]) * gain
        rest = float((self._sums * self._weights).sum()) * gain
        n_samples = len(sums) * self._hop + self._filled
        mean_square = (float(sums.sum()) + rest) / max(n_samples, 1)
        range_lu = loudness_range(moving_sum(sums, _SHORT_TERM) / (_SHORT_TERM * self._hop))
        blocks = moving_sum(sums, _BLOCK) / (_BLOCK * self._hop)
        gated = gated_mean(blocks)
        if gated is not None:
            return Loudness(float(to_lufs(gated)), range_lu, "gated")
        if mean_square <= POWER_FLOOR:
            return Loudness(np.nan, np.nan, "silent")
        return Loudness(float(to_lufs(mean_square)), range_lu, "ungated")


def channel_weights(n_channels: int) -> NDArray[np.float64]:
    """(n_channels,) factors of the channels' mean squares: as 5.1 or 7.1 for 5, 6 and 8 channels, else 1 each."""
    return np.array(_WEIGHTS.get(n_channels, (1.0,) * n_channels))


def to_lufs(mean_square: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Loudness of a K-weighted mean square."""
    return OFFSET_LUFS + power_to_db(mean_square)


def gated_mean(blocks: NDArray[np.float64]) -> float | None:
    """Mean of the blocks over both gates of BS.1770, None when there is none.

    Parameters
    ----------
    blocks : (n,) weighted mean squares of 400 ms blocks
    """
    gate = float(db_to_power(_ABSOLUTE_GATE_LUFS - OFFSET_LUFS))
    loud = blocks[blocks > gate]
    if not len(loud):
        return None
    gate = max(gate, float(loud.mean() * db_to_power(_RELATIVE_GATE_LU)))
    return float(loud[loud > gate].mean())


def loudness_range(windows: NDArray[np.float64]) -> float:
    """Loudness range of EBU Tech 3342 in LU; NaN when no window is over the gates.

    Parameters
    ----------
    windows : (n,) weighted mean squares of 3 s windows
    """
    gate = float(db_to_power(_ABSOLUTE_GATE_LUFS - OFFSET_LUFS))
    loud = windows[windows > gate]
    if not len(loud):
        return float("nan")
    loud = loud[loud > loud.mean() * db_to_power(_RANGE_GATE_LU)]
    levels = to_lufs(np.sort(loud))
    return ranked(levels, 0.95) - ranked(levels, 0.1)


def moving_sum(values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Sums over n neighbouring values; empty for fewer than n."""
    if len(values) < n:
        return np.zeros(0)
    total = values[: len(values) - n + 1].copy()
    for i in range(1, n):
        total += values[i : len(values) - n + 1 + i]
    return total


@njit(cache=True, nogil=True)
def _add_one(
    x: NDArray[np.float32], sections: NDArray[np.float64], state: NDArray[np.float64], sums: NDArray[np.float64]
) -> None:
    """Filter one channel and add its squares, in direct form I, whose loop over its own output is the shortest."""
    b0, b1, b2, a1, a2 = sections[0, 0], sections[0, 1], sections[0, 2], sections[0, 4], sections[0, 5]
    c0, c1, c2, d1, d2 = sections[1, 0], sections[1, 1], sections[1, 2], sections[1, 4], sections[1, 5]
    total = sums[0]
    u1, u2, v1, v2, w1, w2 = state
    for i in range(x.size):
        u = float(x[i])
        v = ((b0 * u + b1 * u1 + b2 * u2) - a2 * v2) - a1 * v1
        w = ((c0 * v + c1 * v1 + c2 * v2) - d2 * w2) - d1 * w1
        u1, u2, v1, v2, w1, w2 = u, u1, v, v1, w, w1
        total += w * w
    sums[0] = total
    state[0], state[1], state[2], state[3], state[4], state[5] = u1, u2, v1, v2, w1, w2


@njit(cache=True, nogil=True)
def _add_two(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    sections: NDArray[np.float64],
    state: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """The same for two channels, each computed while the other waits for its own last sample."""
    b0, b1, b2, a1, a2 = sections[0, 0], sections[0, 1], sections[0, 2], sections[0, 4], sections[0, 5]
    c0, c1, c2, d1, d2 = sections[1, 0], sections[1, 1], sections[1, 2], sections[1, 4], sections[1, 5]
    total_left, total_right = sums
    u1, u2, v1, v2, w1, w2 = state[0]
    p1, p2, q1, q2, r1, r2 = state[1]
    for i in range(left.size):
        u, p = float(left[i]), float(right[i])
        v = ((b0 * u + b1 * u1 + b2 * u2) - a2 * v2) - a1 * v1
        q = ((b0 * p + b1 * p1 + b2 * p2) - a2 * q2) - a1 * q1
        w = ((c0 * v + c1 * v1 + c2 * v2) - d2 * w2) - d1 * w1
        r = ((c0 * q + c1 * q1 + c2 * q2) - d2 * r2) - d1 * r1
        u1, u2, v1, v2, w1, w2 = u, u1, v, v1, w, w1
        p1, p2, q1, q2, r1, r2 = p, p1, q, q1, r, r1
        total_left += w * w
        total_right += r * r
    sums[0], sums[1] = total_left, total_right
    state[0, 0], state[0, 1], state[0, 2], state[0, 3], state[0, 4], state[0, 5] = u1, u2, v1, v2, w1, w2
    state[1, 0], state[1, 1], state[1, 2], state[1, 3], state[1, 4], state[1, 5] = p1, p2, q1, q2, r1, r2


@njit(cache=True, nogil=True)
def _accumulate(
    x: NDArray[np.float32],
    sections: NDArray[np.float64],
    weights: NDArray[np.float64],
    state: NDArray[np.float64],
    sums: NDArray[np.float64],
    filled: int,
    hop: int,
    hops: NDArray[np.float64],
) -> int:
    """Filter and sum squares; full hops are added to `hops`. The samples in the unfinished hop.

    `state` (n_channels, 6): the last two samples of the input, between the sections and of the output.
    """
    n_channels, n = x.shape
    left, number, start = filled, 0, 0
    while start < n:
        stop = min(n, start + hop - left)
        for c in range(0, n_channels - 1, 2):
            _add_two(x[c, start:stop], x[c + 1, start:stop], sections, state[c : c + 2], sums[c : c + 2])
        if n_channels % 2:
            _add_one(x[n_channels - 1, start:stop], sections, state[n_channels - 1], sums[n_channels - 1 :])
        left += stop - start
        start = stop
        if left == hop:
            for c in range(n_channels):
                hops[number] += weights[c] * sums[c]
                sums[c] = 0.0
                if np.abs(state[c, 2:]).sum() < _INAUDIBLE:  # before it gets too small for fast arithmetic
                    state[c, 2:] = 0.0
            number += 1
            left = 0
    return left
