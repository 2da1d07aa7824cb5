"""A streaming short-time Fourier transform and its inverse, exact for any cut into blocks.

Frames of n_fft samples end at every multiple of the hop, counted from the track's start; before the start
there is silence. Analysis and synthesis use the root of a periodic Hann window, whose squares add up to a
constant at hops of n_fft/2, n_fft/3 and so on. An output sample is complete once the last frame that
covers it is, n_fft - 1 samples later at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.fourier import irfft, rfft

#: Frames transformed at once: what fits the cache.
BATCH = 128

Frames: TypeAlias = NDArray[np.complex64]


class StftState(NamedTuple):
    """What is carried between blocks.

    Parameters
    ----------
    history : (n_channels, n_fft - 1) last input samples
    partial : samples since the last frame ended, less than a hop
    wet : (n_channels, n_fft - 1 - partial) float32, sums of synthesised frames so far, from the next
        sample to leave on
    """

    history: NDArray[np.float32]
    partial: int
    wet: NDArray[np.float32]


def initial(n_channels: int, n_fft: int) -> StftState:
    """The state before the first sample."""
    silence = np.zeros((n_channels, n_fft - 1), np.float32)
    return StftState(silence, 0, silence)


@lru_cache
def root_hann(n_fft: int, hop_length: int) -> NDArray[np.float32]:
    """(n_fft,) float32 root of a periodic Hann window; its squares at all hops add up to one."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    return np.sqrt(hann * (2 * hop_length / n_fft)).astype(np.float32)


def process(
    x: NDArray[np.float32],
    state: StftState,
    n_fft: int,
    hop_length: int,
    change: Callable[[Frames], Frames | None],
) -> tuple[NDArray[np.float32], StftState]:
    """Delay by n_fft - 1 samples and add what `change` makes of the frames.

    Parameters
    ----------
    x : (n_channels, n) float32
    state : from `initial` or the block before
    n_fft, hop_length : the second divides the first at least twice
    change : called in order with (n_channels, n_frames, n_bins) complex64 frames; gives the spectra to add,
        None for nothing

    Returns
    -------
    (n_channels, n) float32, and the next state
    """
    n = x.shape[1]
    line = np.concatenate([state.history, x], axis=1)
    n_frames = (state.partial + n) // hop_length
    wet = np.zeros((x.shape[0], state.wet.shape[1] + n_frames * hop_length), np.float32)
    wet[:, : state.wet.shape[1]] = state.wet
    first = hop_length - state.partial - 1
    window = root_hann(n_fft, hop_length)
    for start, count in _batches(n_frames):
        at = first + start * hop_length
        changed = change(rfft(_frames(line, at, count, hop_length, window)))
        if changed is not None:
            _overlap_add(irfft(changed, n_fft), at, hop_length, window, wet)
    partial = (state.partial + n) % hop_length
    return line[:, :n] + wet[:, :n], StftState(line[:, n:].copy(), partial, wet[:, n:].copy())


def flush(
    state: StftState, n_fft: int, hop_length: int, change: Callable[[Frames], Frames | None]
) -> NDArray[np.float32]:
    """The last n_fft - 1 samples: what silence after the end pushes out."""
    silence = np.zeros((state.history.shape[0], n_fft - 1), np.float32)
    return process(silence, state, n_fft, hop_length, change)[0]


def _batches(n_frames: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n_frames, BATCH):
        yield start, min(BATCH, n_frames - start)


@njit(cache=True, nogil=True, error_model="numpy")
def _frames(
    line: NDArray[np.float32], at: int, count: int, hop_length: int, window: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(n_channels, count, n_fft): `count` frames from sample `at` on, weighted."""
    frames = np.empty((len(line), count, window.size), np.float32)
    for c in range(len(line)):
        for f in range(count):
            frame, x = frames[c, f], line[c, at + f * hop_length :]
            for i in range(window.size):
                frame[i] = x[i] * window[i]
    return frames


@njit(cache=True, nogil=True, error_model="numpy")
def _overlap_add(
    frames: NDArray[np.float32], at: int, hop_length: int, window: NDArray[np.float32], wet: NDArray[np.float32]
) -> None:
    """Add frames, weighted, in place from sample `at` on; every sample sums its frames in order."""
    for c in range(len(frames)):
        for f in range(frames.shape[1]):
            frame, y = frames[c, f], wet[c, at + f * hop_length :]
            for i in range(window.size):
                y[i] += frame[i] * window[i]
