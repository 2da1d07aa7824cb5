"""How far a signal stands out of its noise, estimated without a reference.

The noise is the sum of three parts, each of which the others cannot see:

- what is there in the pauses: a low quantile of the level over time, the simplest of the floors that R. Martin's
  minimum statistics (2001) began, or of the levels of narrow bands where that says far less. A band has pauses
  even while somebody talks on, and where a gate or an editor has taken the pauses away;
- what lies below all speech: the power under about 100 Hz (wind, handling, traffic, mains);
- what is too short for speech: the power over 1.5 kHz that a median over three frames takes away (clicks, keys,
  rain), as in percussive separation by median filtering (D. FitzGerald, 2010).

Of the second and the third, as much as clean speech itself has is left out. Hops of digital silence and hops on the
floor of a noise gate tell nothing of the noise under the speech, and are not asked.

The numbers below were picked on the ``dev`` split of the speech and the noises in tests/quality, and on some noises
besides; tests/dsp/test_noise.py states the accuracy on others.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.blocks import Blocks
from corpusdiff.dsp.fourier import good_length, rfft
from corpusdiff.dsp.level_counts import (
    LEVELS_DBFS,
    STEPS_PER_DB,
    band_powers,
    count,
    count_bands,
    place,
    places,
    quantile_dbfs,
)
from corpusdiff.dsp.levels import check_on_grid
from corpusdiff.units import power_to_db

#: Length of a hop and of a frame, in seconds, before rounding to a length that transforms fast.
HOP_S = 0.016

#: Estimates are kept within these, in dB: beyond, none of the parts says anything.
MIN_SNR_DB, MAX_SNR_DB = -10.0, 60.0

#: Hops that are taken together, and batches that are all transformed; then only every fourth is.
BATCH = 128
DENSE = 8
SPARSE = 4

#: Share of the hops that holds noise alone, at the least; the same of the frames in a band, and how much more than
#: the sum of the bands' quantiles the noise is at the most.
_NOISE_QUANTILE = 0.12
_BAND_QUANTILE, _BAND_RATIO = 0.1, 4.0

#: Where the level falls by no more than the first from the one quantile to the other, it has reached a floor, and the
#: bands are not asked; where it falls by the second, it has not.
_LOW_QUANTILE = 0.02
_FLOOR_DB, _NO_FLOOR_DB = 2.0, 5.0

#: Hops this far over the noise, and no further under the loudest, are speech.
_SPEECH_OVER_NOISE_DB = 6.0
_SPEECH_UNDER_LOUDEST_DB = 30.0

#: Fewer hops than this tell nothing.
_MIN_HOPS = 5

#: A gate leaves a hole in the levels: so wide, no more than that share of the hops in it, and so many below, at the
#: least and at the most.
_HOLE_DB = 10.0
_HOLE_SHARE = 0.02
_GATED_SHARE, _GATED_AT_MOST = 0.04, 0.9

#: No room is so quiet: what lies so far under the loudest is what some processing has left, in dB.
_DEEPEST_DB = 45.0

#: Bands, equally wide in mel; those in which short events are looked for, and how far such an event is over the
#: median of its frame and the two beside it.
_N_BANDS = 16
_LOW_HZ, _HIGH_HZ = 200.0, 8000.0
_SHORT_HZ = 1500.0
_SHORT_RATIO = 8.0

#: What counts of the second and the third part, and the share of the total power that clean speech has of them.
_DEEP_WEIGHT, _DEEP_OF_SPEECH = 2.14, 10**-3.35
_SHORT_WEIGHT, _SHORT_OF_SPEECH = 1.82, 10**-2.65

#: Levels under this are silence.
_SILENCE_DBFS = -100.0

_N_HEARD = int((LEVELS_DBFS > _SILENCE_DBFS).sum())
_HOLE = round(_HOLE_DB * STEPS_PER_DB)


class NoiseEstimate(NamedTuple):
    """What a `NoiseMeter` found.

    Parameters
    ----------
    snr_db : signal-to-noise ratio, -10 to 60; NaN for silence and for less than 80 ms
    speech_ratio : share of the time that stands out of the noise. Digital silence is neither noise nor speech, but
        counts as time. 0 for silence, NaN for less than 80 ms
    noise_dbfs : mean power of the noise while there is any sound; NaN as the ratio
    """

    snr_db: float
    speech_ratio: float
    noise_dbfs: float


class NoiseMeter:
    """Signal-to-noise ratio, share of speech and level of the noise of a signal in blocks.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    start : place in the track, a multiple of `grid` (samples of a batch), of the first sample that comes
    """

    def __init__(self, sr: int, n_channels: int, start: int = 0) -> None:
        self._transform = _transform(sr)
        self._hop = self._transform.hop
        self.grid = BATCH * self._hop
        self._blocks = Blocks(n_channels, self.grid)
        self._n_batches = start // self.grid
        self._counts = np.zeros(len(LEVELS_DBFS), np.int64)
        self._band_counts = np.zeros((max(len(self._transform.edges) - 1, 0), len(LEVELS_DBFS)), np.int64)
        self._sums = np.zeros((n_channels, 2))  # of hops: mean, power
        self._frames = np.zeros((n_channels, 4))  # of transformed hops: mean, power, lowest bin, its square
        self._short = 0.0
        self._n_hops = 0
        self._n_frames = 0

    def merge(self, later: NoiseMeter) -> None:
        """Go on with what another meter found of the samples that follow, if any; raises ValueError off the grid."""
        check_on_grid(self._blocks.rest().shape[1])
        self._blocks, self._n_batches = later._blocks, later._n_batches
        self._counts += later._counts
        self._band_counts += later._band_counts
        self._sums, self._frames = self._sums + later._sums, self._frames + later._frames
        self._short, self._n_hops = self._short + later._short, self._n_hops + later._n_hops
        self._n_frames += later._n_frames

    def update(self, x: NDArray[np.float32]) -> None:
        """(n_channels, n) float32."""
        for block in self._blocks.push(x):
            self._add(block)

    def finish(self) -> NoiseEstimate:
        """Of all that came. Nothing may come afterwards."""
        rest = self._blocks.rest()
        self._add(rest[:, : rest.shape[1] // self._hop * self._hop])
        heard = self._counts.copy()
        heard[: len(heard) - _N_HEARD] = 0
        passed = _passed(heard)
        n_passed = int(passed.sum())
        if n_passed < _MIN_HOPS:
            nan = float("nan")
            return NoiseEstimate(nan, 0.0 if self._n_hops >= _MIN_HOPS else nan, nan)
        total = float(_variance(self._sums, self._n_hops).sum()) / len(self._sums) / n_passed
        pause_dbfs = quantile_dbfs(passed, _NOISE_QUANTILE)
        depth_db = pause_dbfs - quantile_dbfs(passed, _LOW_QUANTILE)
        noise = self._noise_share(10 ** (pause_dbfs / 10) / total, depth_db, n_passed / self._n_hops)
        floor_dbfs, loudest_dbfs = quantile_dbfs(heard, _NOISE_QUANTILE), quantile_dbfs(heard, 0.95)
        speech_dbfs = max(floor_dbfs + _SPEECH_OVER_NOISE_DB, loudest_dbfs - _SPEECH_UNDER_LOUDEST_DB)
        return NoiseEstimate(
            float(power_to_db(1.0 / noise - 1.0)),
            int(heard[np.searchsorted(LEVELS_DBFS, speech_dbfs, "right") :].sum()) / self._n_hops,
            float(power_to_db(noise * total)),
        )

    def _noise_share(self, pause: float, depth_db: float, heard: float) -> float:
        """Noise in the total power.

        `pause` is its part in the pauses, under which the level falls `depth_db` further, and `heard` the share of the
        time that is neither silent nor gated.
        """
        total, deep = (float(_variance(self._frames[:, i : i + 2], self._n_frames).mean()) for i in (0, 2))
        n_heard = heard * self._n_frames
        share = pause
        if total > 0 and len(self._band_counts):
            rank = self._n_frames - (1.0 - _BAND_QUANTILE) * n_heard
            floors_dbfs = LEVELS_DBFS[places(self._band_counts, rank)]
            bands = max(_BAND_RATIO * float((10 ** (floors_dbfs / 10)).sum()) * n_heard / total, 1e-9)
            trust = np.interp(depth_db, [_FLOOR_DB, _NO_FLOOR_DB], [0.0, 1.0])
            share *= float(min(bands / share, 1.0) ** trust)
        if total > 0:
            share += _DEEP_WEIGHT * max(deep / total - _DEEP_OF_SPEECH, 0.0)
            share += _SHORT_WEIGHT * max(self._short / total - _SHORT_OF_SPEECH, 0.0)
        return min(max(share, 1.0 / (1.0 + 10 ** (MAX_SNR_DB / 10))), 1.0 / (1.0 + 10 ** (MIN_SNR_DB / 10)))

    def _add(self, block: NDArray[np.float32]) -> None:
        """Whole hops."""
        hops = block.reshape(len(block), -1, self._hop)
        before = self._sums.copy()
        count(hops, self._sums, self._counts)
        self._n_hops += hops.shape[1]
        if hops.shape[1] and (self._n_batches < DENSE or self._n_batches % SPARSE == 0):
            _, window, edges, first_short, scale = self._transform
            spectra = rfft(hops * window)
            power = band_powers(spectra, edges, 2.0 * scale / len(block))
            self._short += count_bands(power, first_short, _SHORT_RATIO, self._band_counts)
            lowest = spectra[:, :, 0].real.astype(np.float64)
            self._frames[:, :2] += self._sums - before
            self._frames[:, 2] += lowest.sum(axis=1) * np.sqrt(scale)
            self._frames[:, 3] += np.square(lowest).sum(axis=1) * scale
            self._n_frames += hops.shape[1]
        self._n_batches += 1


class _Transform(NamedTuple):
    """What is the same for all meters of a rate.

    Parameters
    ----------
    hop : samples of a hop and of a frame
    window : (hop,) float32, a periodic Hann window
    edges : first bins of the bands, and the bin after the last
    first_short : the first band in which short events are looked for
    scale : brings a frame's power to that of its samples
    """

    hop: int
    window: NDArray[np.float32]
    edges: NDArray[np.int64]
    first_short: int
    scale: float


@lru_cache(maxsize=64)
def _transform(sr: int) -> _Transform:
    hop = good_length(max(8, round(HOP_S * sr)))
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(hop) / hop)).astype(np.float32)
    edges = _band_edges(sr, hop)
    first_short = int(np.searchsorted(edges, _SHORT_HZ * hop / sr))
    return _Transform(hop, window, edges, first_short, 1.0 / (float(np.square(window).sum()) * hop))


def _band_edges(sr: int, n_fft: int) -> NDArray[np.int64]:
    """First bins of the bands that lie under half the rate, and the bin after the last; no bin is in two."""
    edges_hz = np.geomspace(_LOW_HZ + 700, _HIGH_HZ + 700, _N_BANDS + 1) - 700  # the mel scale is log(1 + f/700)
    edges = np.round(edges_hz * n_fft / sr).astype(np.int64)
    return np.unique(np.minimum(edges, n_fft // 2))


def _variance(sums: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """(n_channels,) sums of squares about the mean, from (n_channels, 2) sums and sums of squares of n values."""
    return np.maximum(sums[:, 1] - np.square(sums[:, 0]) / max(n, 1), 0.0)


@njit(cache=True, nogil=True)
def _passed(heard: NDArray[np.int64]) -> NDArray[np.int64]:
    """The counts of levels without what lies on the floor of a noise gate, or where only processing gets."""
    n = heard.sum()
    if n == 0:
        return heard
    above_hole = 0
    fewest, most = max(_GATED_SHARE * n, _MIN_HOPS), _GATED_AT_MOST * n
    low, high = 0, heard[:_HOLE].sum()
    for i in range(heard.size - _HOLE + 1):
        if high - low <= _HOLE_SHARE * n and low >= fewest and high <= most:
            above_hole = i + _HOLE
        low += heard[i]
        high += heard[i + _HOLE] if i + _HOLE < heard.size else 0
    deepest_dbfs = LEVELS_DBFS[place(heard, 0.95 * n)] - _DEEPEST_DB
    passed = heard.copy()
    for i in range(heard.size):
        if i < above_hole or deepest_dbfs > LEVELS_DBFS[i]:
            passed[i] = 0
    return passed if passed.sum() >= _MIN_HOPS else heard
