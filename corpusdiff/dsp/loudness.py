"""Loudness and loudness range (ITU-R BS.1770-5, EBU Tech 3341 and 3342) at any rate from 8 kHz.

The standard gives K-weighting as two second-order filters for 48 kHz. At other rates its high shelf cannot
be had by the bilinear transform, which squeezes the response toward half the rate and is 0.2 LU off at
8 kHz. Instead the analogue poles are mapped exactly and the zeros chosen so that the magnitude equals that
of the 48 kHz filter at 0 Hz, at half the rate and at half of that (M. Vicanek, Matched Second Order Digital
Filters, 2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.filters import power_response
from corpusdiff.dsp.levels import ranked
from corpusdiff.units import POWER_FLOOR, db_to_power, power_to_db

#: Of the mean square of K-weighted channels, in LUFS.
OFFSET_LUFS = -0.691

#: Distance of two gating blocks, in seconds; a block is four of them, a short-term window thirty.
HOP_S = 0.1
_BLOCK, _SHORT_TERM = 4, 30

_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_RANGE_GATE_LU = -20.0

_AT_48K = np.array(
    [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
)

# analogue prototypes of the two filters, by the inverse bilinear transform of the above
_SHELF_HZ, _SHELF_Q = 1681.974450955533, 0.7071752369554196
_HIGHPASS_HZ, _HIGHPASS_Q = 38.13547087602444, 0.5003270373238773

# the standard's zeros are 1, -2, 1: over half the rate it amplifies by this
_HIGHPASS_GAIN = 4.0 / (1.0 + 1.99004745483398 + 0.99007225036621)

#: Weights of channels in the order of WAVE files (L R C LFE, then back and side pairs).
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
        self._weights = np.array(_WEIGHTS.get(n_channels, (1.0,) * n_channels))
        self._hop = round(HOP_S * sr)
        self._filter = np.zeros((n_channels, 2, 2))
        self._sums = np.zeros(n_channels)
        self._filled = 0
        self._hops: list[NDArray[np.float64]] = []

    def update(self, x: NDArray[np.float32]) -> None:
        """(n_channels, n) float32."""
        hops = np.empty(((self._filled + x.shape[1]) // self._hop, x.shape[0]))
        self._filled = _accumulate(
            np.ascontiguousarray(x), self._sections, self._filter, self._sums, self._filled, self._hop, hops
        )
        if len(hops):
            self._hops.append(hops @ self._weights if len(self._weights) > 1 else hops[:, 0] * self._weights[0])

    def finish(self) -> Loudness:
        """Loudness of what came so far."""
        sums = np.concatenate([np.zeros(0), *self._hops])
        rest = float(self._sums @ self._weights)
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


@lru_cache
def k_weighting(sr: int) -> NDArray[np.float64]:
    """(2, 6) second-order sections of K-weighting at `sr` Hz."""
    if sr == 48000:
        return _AT_48K
    return np.stack([_matched_shelf(sr), _highpass(sr)])


def _matched_shelf(sr: int) -> NDArray[np.float64]:
    """The high shelf with exact poles, its magnitude matched at three frequencies."""
    w0 = 2 * np.pi * _SHELF_HZ / sr
    pole = np.exp(w0 * complex(-0.5 / _SHELF_Q, np.sqrt(1 - 0.25 / _SHELF_Q**2)))
    a1, a2 = -2 * pole.real, abs(pole) ** 2
    power = power_response(_AT_48K[:1], np.minimum(np.array([0.0, sr / 4, sr / 2]), 23999.0), 48000)
    phi1 = np.array([0.0, 0.5, 1.0])
    phi = np.stack([1 - phi1, phi1, 4 * phi1 * (1 - phi1)], axis=1)
    poles = phi @ np.array([(1 + a1 + a2) ** 2, (1 - a1 + a2) ** 2, -4 * a2])
    at_dc, at_nyquist, between = np.linalg.solve(phi, power * poles)
    mean = 0.5 * (np.sqrt(at_dc) + np.sqrt(at_nyquist))
    b0 = 0.5 * (mean + np.sqrt(mean**2 + between))
    return np.array([b0, 0.5 * (np.sqrt(at_dc) - np.sqrt(at_nyquist)), -between / (4 * b0), 1.0, a1, a2])


def _highpass(sr: int) -> NDArray[np.float64]:
    """The low-frequency weighting by the bilinear transform: exact, so far under half the rate."""
    k = np.tan(np.pi * _HIGHPASS_HZ / sr)
    norm = 1 + k / _HIGHPASS_Q + k * k
    gain = _HIGHPASS_GAIN / norm
    a1, a2 = 2 * (k * k - 1) / norm, (1 - k / _HIGHPASS_Q + k * k) / norm
    return np.array([gain, -2 * gain, gain, 1.0, a1, a2])


@njit(cache=True, nogil=True)
def _accumulate(
    x: NDArray[np.float32],
    sections: NDArray[np.float64],
    state: NDArray[np.float64],
    sums: NDArray[np.float64],
    filled: int,
    hop: int,
    hops: NDArray[np.float64],
) -> int:
    """Filter and sum squares, sample by sample; full hops go to `hops`. The samples in the unfinished hop."""
    n_channels, n = x.shape
    b0, b1, b2, a1, a2 = sections[0, 0], sections[0, 1], sections[0, 2], sections[0, 4], sections[0, 5]
    c0, c1, c2, d1, d2 = sections[1, 0], sections[1, 1], sections[1, 2], sections[1, 4], sections[1, 5]
    left = filled
    for c in range(n_channels):
        left = filled
        number = 0
        total = sums[c]
        s1, s2, t1, t2 = state[c, 0, 0], state[c, 0, 1], state[c, 1, 0], state[c, 1, 1]
        for i in range(n):
            u = float(x[c, i])
            v = b0 * u + s1
            s1 = b1 * u - a1 * v + s2
            s2 = b2 * u - a2 * v
            w = c0 * v + t1
            t1 = c1 * v - d1 * w + t2
            t2 = c2 * v - d2 * w
            total += w * w
            left += 1
            if left == hop:
                hops[number, c] = total
                number += 1
                total = 0.0
                left = 0
        sums[c] = total
        state[c, 0, 0], state[c, 0, 1], state[c, 1, 0], state[c, 1, 1] = s1, s2, t1, t2
    return left
