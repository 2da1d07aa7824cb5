"""The long-term power spectrum of a signal in blocks, and what is read off it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.blocks import Blocks
from corpusdiff.dsp.fourier import rfft
from corpusdiff.dsp.levels import check_on_grid
from corpusdiff.units import power_to_db

#: Length of a frame, in seconds, before rounding up to a power of two.
FRAME_S = 0.025

#: A band counts as used while the spectrum is less than this under its strongest part.
USED_DB = 60.0

#: Frames that are transformed, and summed, together.
BATCH = 64

#: After the first batch, which is about two seconds long, a mean needs no more than every fourth frame.
SPARSE = 4


class Frames:
    """Frames of a signal in blocks, side by side, in batches that do not depend on the blocks.

    All frames of the first batch, then every fourth.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    is_start : whether the first batch is that of a track, and not of a part behind it
    """

    def __init__(self, sr: int, n_channels: int, is_start: bool = True) -> None:
        self.n_fft = 1 << math.ceil(math.log2(FRAME_S * sr))
        self._window = _hann(self.n_fft)
        self._blocks = Blocks(n_channels, BATCH * self.n_fft)
        self._every = 1 if is_start else SPARSE

    def push(self, x: NDArray[np.float32]) -> Iterator[NDArray[np.complex64]]:
        """(n_channels, n) float32 in; (n_channels, n_frames, n_fft / 2 + 1) spectra out, as batches get full."""
        for block in self._blocks.push(x):
            yield self._spectra(block)

    @property
    def n_waiting(self) -> int:
        """Samples that no batch has had."""
        return self._blocks.rest().shape[1]

    def rest(self) -> NDArray[np.complex64]:
        """The spectra of what no batch has had; the last frame is filled up with zeros, and is there if all is."""
        rest = self._blocks.rest()
        filled = np.zeros((len(rest), max(1, -(-rest.shape[1] // self.n_fft)) * self.n_fft), np.float32)
        filled[:, : rest.shape[1]] = rest
        return self._spectra(filled)

    def _spectra(self, x: NDArray[np.float32]) -> NDArray[np.complex64]:
        frames = x.reshape(len(x), -1, self.n_fft)[:, :: self._every]
        self._every = SPARSE
        return rfft(frames * self._window)


@lru_cache(maxsize=64)
def _hann(n_fft: int) -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


@lru_cache(maxsize=64)
def _freqs_hz(n_fft: int, sr: int) -> NDArray[np.float64]:
    return np.arange(n_fft // 2 + 1) * np.float64(sr / n_fft)


def mean_power(spectra: NDArray[np.complex64]) -> NDArray[np.float32]:
    """(n_frames, n_bins): power of (n_channels, n_frames, n_bins) spectra, mean over the channels."""
    n_channels, n_frames, n_bins = spectra.shape
    power = np.empty((n_frames, n_bins), np.float32)
    _mean_power(spectra.view(np.float32).reshape(n_channels, -1), np.float32(n_channels), power.reshape(-1))
    return power


@njit(cache=True, nogil=True, error_model="numpy")
def _mean_power(parts: NDArray[np.float32], n_channels: np.float32, power: NDArray[np.float32]) -> None:
    """`parts` holds real and imaginary parts in turn."""
    for i in range(power.size):
        re, im = parts[0, 2 * i], parts[0, 2 * i + 1]
        power[i] = re * re + im * im
    for c in range(1, len(parts)):
        for i in range(power.size):
            re, im = parts[c, 2 * i], parts[c, 2 * i + 1]
            power[i] += re * re + im * im
    if len(parts) > 1:
        for i in range(power.size):
            power[i] /= n_channels


class SpectrumMeter:
    """Mean power per bin over all frames.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    is_start : whether it hears a track from its start, and not a part behind it
    """

    def __init__(self, sr: int, n_channels: int, is_start: bool = True) -> None:
        self._frames = Frames(sr, n_channels, is_start)
        self.freqs_hz: NDArray[np.float64] = _freqs_hz(self._frames.n_fft, sr)
        self._total = np.zeros(len(self.freqs_hz))
        self._n_frames = 0

    @property
    def grid(self) -> int:
        """Samples that the part of a track that may be merged is a multiple of."""
        return BATCH * self._frames.n_fft

    def merge(self, later: SpectrumMeter) -> None:
        """Go on with what another meter found of the samples that follow, equal but for rounding.

        What came here is a multiple of `grid`, and something came there. Raises ValueError where it is not.
        """
        check_on_grid(self._frames.n_waiting)
        self._frames = later._frames
        self._total += later._total
        self._n_frames += later._n_frames

    def update(self, x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """(n_channels, n) float32 in; the (n_frames, n_bins) powers of the batches that it completed."""
        return [self._add(spectra) for spectra in self._frames.push(x)]

    def finish(self) -> NDArray[np.float32]:
        """The powers of what no batch has had. Nothing may come afterwards."""
        return self._add(self._frames.rest())

    def mean(self) -> NDArray[np.float64]:
        """(n_bins,) mean power, once finished."""
        return self._total / self._n_frames

    def _add(self, spectra: NDArray[np.complex64]) -> NDArray[np.float32]:
        power = mean_power(spectra)
        self._total += power.sum(axis=0, dtype=np.float64)
        self._n_frames += len(power)
        return power


def bandwidth_hz(freqs_hz: NDArray[np.float64], power: NDArray[np.float64]) -> float:
    """Highest frequency at which the spectrum, over three bins, is within `USED_DB` of its strongest part.

    NaN for silence.
    """
    if not power.any():
        return float("nan")
    smooth = power_to_db(np.convolve(power, np.ones(3) / 3, mode="same"))
    return float(freqs_hz[np.flatnonzero(smooth >= smooth.max() - USED_DB)[-1]])


def centroid_hz(freqs_hz: NDArray[np.float64], power: NDArray[np.float64]) -> float:
    """Mean frequency, weighted by magnitude as in librosa's spectral centroid; NaN for silence."""
    magnitude = np.sqrt(power)
    total = float(magnitude.sum())
    return float((freqs_hz * magnitude).sum()) / total if total > 0 else float("nan")
