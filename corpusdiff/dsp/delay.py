"""The delay between a far end and a microphone, by a generalised cross-correlation with phase transform.

Spectra of overlapping segments are multiplied, averaged by the law over the segments in which the far end speaks,
whitened, and transformed back: a room's direct sound and early reflections stand out of the rest as peaks (C. Knapp
and G. Carter, The generalized correlation method for estimation of time delay, 1976, table I).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Time constant of the averaged spectrum, in seconds of far-end speech.
TAU_S = 3.0

#: A peak counts when it is so many times the correlation's root mean square.
PEAK = 10.0

#: The first peak of this share of the highest one is the delay.
FIRST = 0.6

#: Two segments agree when their delays are so near, in samples.
AGREE = 16

#: Mean power under which a segment of the far end is silent.
SILENCE = 1e-8


class DelayState(NamedTuple):
    """What is carried from segment to segment.

    Parameters
    ----------
    cross : (n_pairs, n_bins) complex64 averaged cross spectra of whitened frames
    candidate : the delay in samples that stood out last, None before the first
    found : the last delay that stood out twice in a row, None before the first
    """

    cross: NDArray[np.complex64]
    candidate: int | None
    found: int | None


def segment_length(max_delay: int, hop_length: int) -> int:
    """Samples of a segment: two of the longest delays and a hop at least, fast to transform."""
    import scipy.fft

    return int(scipy.fft.next_fast_len(2 * max_delay + hop_length, real=True))


def initial(n_pairs: int, n_fft: int) -> DelayState:
    """The state before the first segment."""
    return DelayState(np.zeros((n_pairs, n_fft // 2 + 1), np.complex64), None, None)


def track(
    mics: NDArray[np.float32],
    references: NDArray[np.float32],
    state: DelayState,
    lags: tuple[int, int],
    rho: float,
) -> DelayState:
    """Hear one more segment.

    Parameters
    ----------
    mics : (n_mics, n_fft) float32
    references : (n_references, n_fft) float32, of the same time
    state : of the segment before
    lags : least and largest delay of the microphones behind the references that is looked for, in samples
    rho : factor of the average per segment

    Returns
    -------
    The next state; unchanged where the far end is silent
    """
    import scipy.fft

    n_fft = mics.shape[1]
    if np.mean(np.square(references)) < SILENCE or not mics.any():
        return state
    window = _window(n_fft)
    heard = scipy.fft.rfft(mics * window, axis=-1)
    played = scipy.fft.rfft(references * window, axis=-1)
    cross = (heard[:, None] * np.conj(played)[None]).reshape(-1, heard.shape[1])
    cross = np.float32(rho) * state.cross + np.float32(1.0 - rho) * cross
    white = cross / (np.abs(cross) + np.float32(1e-20))
    correlation = np.abs(scipy.fft.irfft(white, n_fft, axis=-1)).sum(axis=0)
    peak = _first_peak(correlation, lags)
    agreed = peak is not None and state.candidate is not None and abs(peak - state.candidate) <= AGREE
    return DelayState(cross, peak, peak if agreed else state.found)


@lru_cache(maxsize=8)
def _window(n: int) -> NDArray[np.float32]:
    return np.hanning(n).astype(np.float32)


def _first_peak(correlation: NDArray[np.float32], lags: tuple[int, int]) -> int | None:
    """The first lag that stands out, None where none does."""
    searched = np.take(correlation, np.arange(lags[0], lags[1] + 1), mode="wrap")
    highest = float(searched.max())
    counts = PEAK * float(np.sqrt(np.mean(np.square(correlation))))
    return lags[0] + int(np.argmax(searched >= max(FIRST * highest, counts))) if highest >= counts else None
