"""The long-term power spectrum of a signal in blocks, and what is read off it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from corpusdiff.units import power_to_db

#: Length of a frame, in seconds, before rounding up to a power of two.
FRAME_S = 0.025

#: A band counts as used while the spectrum is less than this under its strongest part.
USED_DB = 60.0

#: Frames that are transformed, and summed, together.
BATCH = 64


class Frames:
    """Half-overlapping frames of a signal in blocks, in batches that do not depend on the blocks.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    """

    def __init__(self, sr: int, n_channels: int) -> None:
        self.n_fft = 1 << int(np.ceil(np.log2(FRAME_S * sr)))
        self.hop_length = self.n_fft // 2
        self._window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)).astype(np.float32)
        self._waiting: list[NDArray[np.float32]] = [np.zeros((n_channels, 0), np.float32)]
        self._n_waiting = 0

    def push(self, x: NDArray[np.float32]) -> Iterator[NDArray[np.complex64]]:
        """(n_channels, n) float32 in; (n_channels, BATCH, n_fft / 2 + 1) spectra out, as batches get full."""
        needed = (BATCH - 1) * self.hop_length + self.n_fft
        self._waiting.append(x)
        self._n_waiting += x.shape[1]
        if self._n_waiting < needed:
            return
        line = np.concatenate(self._waiting, axis=1)
        step = BATCH * self.hop_length
        start = 0
        while line.shape[1] - start >= needed:
            yield self._spectra(line[:, start : start + needed])
            start += step
        self._waiting = [line[:, start:]]
        self._n_waiting = line.shape[1] - start

    def rest(self) -> NDArray[np.complex64]:
        """The spectra of what no batch has had; a signal shorter than a frame is filled with zeros."""
        line = np.concatenate(self._waiting, axis=1)
        short = self.n_fft - line.shape[1]
        return self._spectra(np.pad(line, ((0, 0), (0, short))) if short > 0 else line)

    def _spectra(self, line: NDArray[np.float32]) -> NDArray[np.complex64]:
        frames = np.lib.stride_tricks.sliding_window_view(line, self.n_fft, axis=1)[:, :: self.hop_length]
        spectra: NDArray[np.complex64] = scipy.fft.rfft(frames * self._window, axis=-1)
        return spectra


def mean_power(spectra: NDArray[np.complex64]) -> NDArray[np.float32]:
    """(n_frames, n_bins): power of (n_channels, n_frames, n_bins) spectra, mean over the channels."""
    power = np.square(spectra.real) + np.square(spectra.imag)
    total = power[0]
    for channel in power[1:]:
        total = total + channel
    return total / np.float32(len(power))


class SpectrumMeter:
    """Mean power per bin over all frames.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    """

    def __init__(self, sr: int, n_channels: int) -> None:
        self._frames = Frames(sr, n_channels)
        self.freqs_hz = np.arange(self._frames.n_fft // 2 + 1) * (sr / self._frames.n_fft)
        self._total = np.zeros(len(self.freqs_hz))
        self._n_frames = 0

    def update(self, x: NDArray[np.float32]) -> None:
        """(n_channels, n) float32."""
        for spectra in self._frames.push(x):
            self._add(spectra)

    def finish(self) -> NDArray[np.float64]:
        """(n_bins,) mean power."""
        self._add(self._frames.rest())
        return self._total / self._n_frames

    def _add(self, spectra: NDArray[np.complex64]) -> None:
        self._total += mean_power(spectra).sum(axis=0, dtype=np.float64)
        self._n_frames += spectra.shape[1]


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
