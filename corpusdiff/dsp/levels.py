"""Peak, power, offset, clipping and the level over time of a signal in blocks."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.units import db_to_power, power_to_db

#: Distance of two levels, in seconds.
HOP_S = 0.01

#: Magnitude from which a sample counts as full scale: 32735 of 32768, just under what 16 bits can hold.
FULL_SCALE = 0.999

#: So many neighbouring samples at full scale, of one sign, are a clipped peak.
CLIP_RUN = 3

#: Hops are grouped by so many, from the start on, before their power is averaged for statistics.
_SMOOTH = 5

_GATE_DB = 30.0
_SILENCE_DBFS = -100.0


class LevelMeter:
    """Sums up samples one by one, so that no number depends on the blocks.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    """

    def __init__(self, sr: int, n_channels: int) -> None:
        self.n_samples = 0
        self._hop = max(1, round(HOP_S * sr))
        self._sums = np.zeros((n_channels, 6))
        self._filled = 0
        self._hops: list[NDArray[np.float64]] = []

    def update(self, x: NDArray[np.float32]) -> None:
        """(n_channels, n) float32."""
        hops = np.zeros((self._filled + x.shape[1]) // self._hop)
        self._filled = _accumulate(np.ascontiguousarray(x), self._sums, self._filled, self._hop, hops)
        self.n_samples += x.shape[1]
        if len(hops):
            self._hops.append(hops)

    @property
    def peak(self) -> float:
        """Highest magnitude."""
        return float(self._sums[:, _PEAK].max())

    @property
    def mean_square(self) -> float:
        """Mean over channels and samples."""
        return float(self._sums[:, _POWER].sum()) / max(1, self._sums.shape[0] * self.n_samples)

    @property
    def dc(self) -> float:
        """The channel's mean that is farthest from zero."""
        means = self._sums[:, _OFFSET] / max(1, self.n_samples)
        return float(means[np.abs(means).argmax()])

    @property
    def clip_rate(self) -> float:
        """Share of the samples that lie in runs of `CLIP_RUN` or more at full scale."""
        return float(self._sums[:, _CLIPPED].sum()) / max(1, self._sums.shape[0] * self.n_samples)

    def levels_dbfs(self) -> NDArray[np.float64]:
        """(n,) mean power of all channels over each 50 ms from the start, in dBFS; the rest counts as one more."""
        sums = np.concatenate([np.zeros(0), *self._hops, [float(self._sums[:, _FILLING].sum())]])
        counts = np.full(len(sums), float(self._hop))
        counts[-1] = self._filled
        starts = np.arange(0, len(sums), _SMOOTH)
        power = np.add.reduceat(sums, starts) / np.maximum(np.add.reduceat(counts, starts), 1.0)
        return power_to_db(power / self._sums.shape[0])


def usual_levels(levels_dbfs: NDArray[np.float64]) -> tuple[float, float]:
    """Median of the levels over the floor gate, and 95th percentile of all that are not silence; NaN for silence.

    The gate lies 30 dB under the 95th percentile.
    """
    heard = np.sort(levels_dbfs[levels_dbfs > _SILENCE_DBFS])
    if not len(heard):
        return float("nan"), float("nan")
    loudest = ranked(heard, 0.95)
    return ranked(heard[np.searchsorted(heard, loudest - _GATE_DB) :], 0.5), loudest


def snr_and_speech(levels_dbfs: NDArray[np.float64]) -> tuple[float, float]:
    """Signal-to-noise ratio in dB and share of the time that is signal, from the spread of the levels.

    The noise is the mean power of the quietest tenth of 50 ms levels, which for stationary noise lies about
    a decibel low; what exceeds it in the others is the signal, and levels 6 dB over it and within 30 dB of
    the loudest are speech. -10 to 60 dB; NaN for silence and for fewer than four levels.
    """
    heard = np.sort(levels_dbfs[levels_dbfs > _SILENCE_DBFS])
    if len(heard) < 4:
        return float("nan"), float("nan")
    power = db_to_power(heard)
    noise = float(power[: max(1, len(power) // 10)].mean()) * _QUIETEST_BIAS
    excess = max(float(power.mean()) - noise, 0.0)
    snr_db = float(power_to_db(excess / noise))
    threshold = max(float(power_to_db(noise)) + 6.0, ranked(heard, 0.95) - _GATE_DB)
    n_speech = len(heard) - int(np.searchsorted(heard, threshold, side="right"))
    return min(max(snr_db, -10.0), 60.0), n_speech / len(levels_dbfs)


def ranked(values: NDArray[np.float64], q: float) -> float:
    """The quantile of sorted values, linear in between, as `numpy.quantile` has it in a tenth of the time."""
    place = q * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return float(values[below] + (place - below) * (values[above] - values[below]))


_QUIETEST_BIAS = float(db_to_power(0.8))

# columns of the sums: highest magnitude, sum, sum of squares, clipped samples, power of the unfinished hop, and
# the full-scale samples in a row so far, negative for negative ones
_PEAK, _OFFSET, _POWER, _CLIPPED, _FILLING, _RUN = range(6)


@njit(cache=True, nogil=True)
def _accumulate(
    x: NDArray[np.float32], sums: NDArray[np.float64], filled: int, hop: int, hops: NDArray[np.float64]
) -> int:
    n_channels, n = x.shape
    left = filled
    for c in range(n_channels):
        left = filled
        number = 0
        peak, offset, power = sums[c, _PEAK], sums[c, _OFFSET], sums[c, _POWER]
        filling, run = sums[c, _FILLING], sums[c, _RUN]
        for i in range(n):
            value = float(x[c, i])
            square = value * value
            peak = max(peak, abs(value))
            offset += value
            if abs(value) >= FULL_SCALE:
                run = max(run, 0.0) + 1.0 if value > 0 else min(run, 0.0) - 1.0
                if abs(run) >= CLIP_RUN:
                    sums[c, _CLIPPED] += CLIP_RUN if abs(run) == CLIP_RUN else 1.0
            else:
                run = 0.0
            power += square
            filling += square
            left += 1
            if left == hop:
                hops[number] += filling
                number += 1
                filling = 0.0
                left = 0
        sums[c, _PEAK], sums[c, _OFFSET], sums[c, _POWER], sums[c, _FILLING] = peak, offset, power, filling
        sums[c, _RUN] = run
    return left
