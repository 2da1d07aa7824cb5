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
from numpy.typing import NDArray

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
    import scipy.fft  # takes a fifth of a second, and whoever only plans has no need of it

    n = x.shape[1]
    line = np.concatenate([state.history, x], axis=1)
    n_frames = (state.partial + n) // hop_length
    wet = np.zeros((x.shape[0], state.wet.shape[1] + n_frames * hop_length), np.float32)
    wet[:, : state.wet.shape[1]] = state.wet
    first = hop_length - state.partial - 1
    window = root_hann(n_fft, hop_length)
    for start, count in _batches(n_frames):
        at = first + start * hop_length
        spectra = scipy.fft.rfft(_frames(line[:, at:], n_fft, hop_length, count) * window, axis=-1)
        changed = change(spectra)
        if changed is not None:
            _overlap_add(wet[:, at:], scipy.fft.irfft(changed, n_fft, axis=-1) * window, hop_length)
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


def _frames(line: NDArray[np.float32], n_fft: int, hop_length: int, count: int) -> NDArray[np.float32]:
    """A view, without the checks of `sliding_window_view`, which cost as much as the transform."""
    channel, sample = line.strides
    shape, strides = (len(line), count, n_fft), (channel, hop_length * sample, sample)
    return np.lib.stride_tricks.as_strided(line, shape, strides, writeable=False)


def _overlap_add(wet: NDArray[np.float32], frames: NDArray[np.float32], hop_length: int) -> None:
    """Add frames in place. Parts go from the last to the first, so that every sample sums its frames in order."""
    n_channels, count, n_fft = frames.shape
    for start in range(n_fft - hop_length, -1, -hop_length):
        part = frames[:, :, start : start + hop_length].reshape(n_channels, count * hop_length)
        wet[:, start : start + count * hop_length] += part
