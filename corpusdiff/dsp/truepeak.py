"""True peak: the highest value of the waveform between the samples (ITU-R BS.1770-5, annex 2).

The standard oversamples four times, which misses up to 0.17 dB of a tone at a quarter of the rate. Eight
times misses 0.04 dB there. Stretches that cannot hold the highest value, by the sum of the interpolator's
magnitudes, are not interpolated; the result is exactly that of interpolating them all.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.units import amplitude_to_db

#: Points per sample.
OVERSAMPLING = 8

#: Samples that the interpolator takes on each side.
HALF = 12

#: Samples that are looked at, or passed over, together.
_STRETCH = 16


def _interpolator() -> NDArray[np.float64]:
    """(2 * HALF, OVERSAMPLING): Kaiser-windowed sincs at 0/8 ... 7/8 between the two middle samples."""
    fractions = np.arange(OVERSAMPLING) / OVERSAMPLING
    distance = fractions[:, None] - (np.arange(2 * HALF) - (HALF - 1))
    window = np.i0(8.0 * np.sqrt(np.maximum(0.0, 1.0 - (distance / HALF) ** 2))) / np.i0(8.0)
    taps = np.sinc(distance) * window
    return np.ascontiguousarray((taps / taps.sum(axis=1, keepdims=True)).T)


TAPS = _interpolator()

#: No point between samples is higher than this times the highest sample around.
BOUND = float(np.abs(TAPS).sum(axis=0).max()) * (1 + 1e-9)


class TruePeakMeter:
    """The highest true peak of all channels.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    """

    def __init__(self, sr: int, n_channels: int) -> None:
        del sr
        self._history = np.zeros((n_channels, 2 * HALF - 1), np.float32)
        self._peak = 0.0

    def update(self, x: NDArray[np.float32]) -> None:
        """(n_channels, n) float32."""
        line = np.concatenate([self._history, x], axis=1)
        self._peak = max(self._peak, float(highest(line, self._peak)))
        self._history = line[:, line.shape[1] - (2 * HALF - 1) :]

    def finish(self) -> float:
        """True peak in dBTP, -200 for silence."""
        self.update(np.zeros((self._history.shape[0], 2 * HALF), np.float32))
        return float(amplitude_to_db(self._peak))


@njit(cache=True, nogil=True)
def between(line: NDArray[np.float32], c: int, i: int, points: NDArray[np.float64]) -> float:
    """Highest magnitude from sample i + HALF - 1 of channel c up to, not including, the next sample.

    `points` is (OVERSAMPLING,) float64 to work in.
    """
    points[:] = 0.0
    for j in range(2 * HALF):
        value = float(line[c, i + j])
        for phase in range(OVERSAMPLING):
            points[phase] += TAPS[j, phase] * value
    peak = 0.0
    for phase in range(OVERSAMPLING):
        peak = max(peak, abs(points[phase]))
    return peak


@njit(cache=True, nogil=True)
def highest(line: NDArray[np.float32], known: float) -> float:
    """Highest magnitude between the samples of `line` that have all their neighbours, if over `known`."""
    n_channels, n = line.shape
    points = np.empty(OVERSAMPLING)
    peak = known
    for c in range(n_channels):
        for start in range(0, n - 2 * HALF + 1, _STRETCH):
            stop = min(start + _STRETCH, n - 2 * HALF + 1)
            largest = 0.0
            for i in range(start, stop + 2 * HALF - 1):
                largest = max(largest, abs(float(line[c, i])))
            if largest * BOUND > peak:
                for i in range(start, stop):
                    peak = max(peak, between(line, c, i, points))
    return peak
