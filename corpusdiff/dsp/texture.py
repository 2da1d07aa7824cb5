"""Spectral envelopes in bands, and gains that move one toward another by the law.

A frame's envelope is its mean power in bands about a quarter of an octave wide, in dB; it holds timbre and level
both. Bands are sums over neighbouring bins, so that frames do not depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from corpusdiff.units import POWER_FLOOR, power_to_db

#: Bands in an octave.
_PER_OCTAVE = 4

#: The lowest band ends here.
_LOWEST_HZ = 60.0

#: Levels under this are silence, in dB of a frame's mean power per bin.
SILENCE_DB = -80.0


@dataclass(frozen=True)
class Bands:
    """Bands of a transform.

    Parameters
    ----------
    starts : (n_bands,) first bin of each; the last band ends with the last bin
    below, above : (n_bins,) the bands whose centres a bin lies between
    share : (n_bins,) float32, how much of the upper one
    """

    starts: NDArray[np.int64]
    below: NDArray[np.int64]
    above: NDArray[np.int64]
    share: NDArray[np.float32]

    def levels_db(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_frames, n_bands) mean power of (n_frames, n_bins) in dB, at least `SILENCE_DB`."""
        widths = np.diff(self.starts, append=power.shape[1])
        mean = np.add.reduceat(power, self.starts, axis=1) / widths
        return np.maximum(power_to_db(np.maximum(mean, POWER_FLOOR)), SILENCE_DB).astype(np.float32)

    def over_bins(self, levels_db: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_frames, n_bins): what (n_frames, n_bands) is in between the bands' centres, linear in dB."""
        low = levels_db[:, self.below]
        return low + self.share * (levels_db[:, self.above] - low)


@lru_cache
def bands(n_fft: int, sr: int) -> Bands:
    """The bands of a transform of length `n_fft` at rate `sr`."""
    n_bins = n_fft // 2 + 1
    n_octaves = max(0.0, np.log2(sr / 2 / _LOWEST_HZ))
    edges_hz = _LOWEST_HZ * 2.0 ** (np.arange(np.floor(n_octaves * _PER_OCTAVE) + 1) / _PER_OCTAVE)
    starts = np.unique(np.concatenate([[0], np.ceil(edges_hz * n_fft / sr).astype(np.int64)]))
    starts = starts[starts < n_bins]
    centres = (starts + np.append(starts[1:], n_bins) - 1) / 2
    place = np.interp(np.arange(n_bins), centres, np.arange(len(centres)))
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, len(starts) - 1)
    return Bands(starts, below, above, (place - below).astype(np.float32))


def there_and_back(first: int, count: int, n: int) -> NDArray[np.int64]:
    """(count,) places from `first` on in a row of `n` that is walked to its end, back, and so on.

    >>> there_and_back(0, 9, 4)
    array([0, 1, 2, 3, 2, 1, 0, 1, 2])
    """
    turn = max(1, 2 * (n - 1))
    place = np.arange(first, first + count) % turn
    return np.where(place < n, place, turn - place)


def distance_db(levels_db: NDArray[np.float32], target_db: NDArray[np.float32], depth_db: float = 60.0) -> float:
    """RMS difference of two envelopes (n_frames, n_bands), over what of the target is no more than `depth_db` down."""
    heard = target_db > max(float(target_db.max()) - depth_db, SILENCE_DB)
    return float(np.sqrt(np.mean(np.square((levels_db - target_db)[heard], dtype=np.float64)))) if heard.any() else 0.0
