"""Levels by count, in steps of a tenth of a dB: statistics of a track of any length in the same memory."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.sums import scratch, sum_and_power

STEPS_PER_DB = 10.0
_LOWEST_DBFS = -150.0

#: The levels that are counted, in dBFS.
LEVELS_DBFS = _LOWEST_DBFS + (np.arange(1800) + 0.5) / STEPS_PER_DB


def quantile_dbfs(counts: NDArray[np.int64], q: float) -> float:
    """Level that a share `q` of the hops lies under."""
    return float(LEVELS_DBFS[place(counts, q * int(counts.sum()))])


@njit(cache=True, nogil=True)
def place(counts: NDArray[np.int64], rank: float) -> int:
    """The first place up to which there are `rank` or more."""
    total = 0
    for i in range(counts.size):
        total += counts[i]
        if total >= rank:
            return i
    return counts.size


@njit(cache=True, nogil=True)
def places(counts: NDArray[np.int64], rank: float) -> NDArray[np.int64]:
    """The same for each row of (n, n_levels) counts."""
    places = np.empty(len(counts), np.int64)
    for k in range(len(counts)):
        places[k] = place(counts[k], rank)
    return places


@njit(cache=True, nogil=True)
def _step(power: float) -> int:
    """Place of a power among the counts."""
    level = 10.0 * np.log10(max(power, 1e-20))
    return min(max(int((level - _LOWEST_DBFS) * STEPS_PER_DB), 0), 1799)


def count(hops: NDArray[np.float32], sums: NDArray[np.float64], counts: NDArray[np.int64]) -> None:
    """Count the levels of (n_channels, n_hops, hop) samples, each hop about its own mean, and add up the hops' sums."""
    varying = np.zeros(hops.shape[1])
    for channel, of_channel in zip(hops, sums, strict=True):  # each contiguous, of which vector instructions are made
        _add_powers(channel, of_channel, varying)
    _count(varying / len(hops), counts)


@njit(cache=True, nogil=True, error_model="numpy")
def _add_powers(hops: NDArray[np.float32], sums: NDArray[np.float64], varying: NDArray[np.float64]) -> None:
    """Add mean and power of (n_hops, hop) samples, and each hop's power about its mean."""
    n_hops, n = hops.shape
    folded = scratch(n)
    for h in range(n_hops):
        total, total_power = sum_and_power(hops[h], folded)
        mean, power = total / n, total_power / n
        sums[0] += mean
        sums[1] += power
        varying[h] += power - mean * mean


@njit(cache=True, nogil=True)
def _count(power: NDArray[np.float64], counts: NDArray[np.int64]) -> None:
    for i in range(power.size):
        counts[_step(power[i])] += 1


@njit(cache=True, nogil=True, error_model="numpy")
def band_powers(spectra: NDArray[np.complex64], edges: NDArray[np.int64], scale: float) -> NDArray[np.float64]:
    """(n_bands, n_frames): power in each band, all channels together, times `scale`."""
    n_channels, n_frames, _ = spectra.shape
    power = np.zeros((max(edges.size - 1, 0), n_frames))
    for c in range(n_channels):
        for i in range(n_frames):
            for k in range(edges.size - 1):
                total = np.float32(0.0)
                for j in range(edges[k], edges[k + 1]):
                    value = spectra[c, i, j]
                    total += value.real * value.real + value.imag * value.imag
                power[k, i] += total * scale
    return power


@njit(cache=True, nogil=True)
def count_bands(power: NDArray[np.float64], first_short: int, ratio: float, counts: NDArray[np.int64]) -> float:
    """Count the levels of each band; the power beyond `ratio` times the median of three frames, in the upper bands."""
    n_bands, n_frames = power.shape
    total = 0.0
    for k in range(n_bands):
        for i in range(n_frames):
            before, now, after = power[k, max(i - 1, 0)], power[k, i], power[k, min(i + 1, n_frames - 1)]
            counts[k, _step(now)] += 1
            if k >= first_short:
                median = max(min(before, now), min(max(before, now), after))
                total += max(now - ratio * median, 0.0)
    return total
