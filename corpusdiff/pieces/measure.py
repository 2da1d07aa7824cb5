"""The first pass over one piece of a track, and the findings of all of its pieces made one.

Each meter counts the steps of its own grid that begin in the piece, so that each step is counted once and as a whole.
For that a piece is heard from `lead` samples before its start, where filters settle, to `tail` samples after its end.
"""

from __future__ import annotations

from functools import reduce
from typing import Protocol

from corpusdiff.dsp.levels import LevelMeter
from corpusdiff.dsp.loudness import PRIME_S, LoudnessMeter
from corpusdiff.dsp.noise import NoiseMeter
from corpusdiff.dsp.spectrum import SpectrumMeter
from corpusdiff.dsp.truepeak import HALF, TruePeakMeter
from corpusdiff.metrics import Measurement, measurement, volume
from corpusdiff.pieces.share import Stretch
from corpusdiff.stages.base import Audio


class _Meter(Protocol):
    def update(self, x: Audio) -> object: ...


class PieceMeter:
    """All that a `corpusdiff.metrics.Meter` measures, of one piece.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    piece : which samples of the track
    """

    def __init__(self, sr: int, n_channels: int, piece: Stretch) -> None:
        self._sr = sr
        self._piece = piece
        self._levels = LevelMeter(sr, n_channels)
        self._loudness = LoudnessMeter(sr, n_channels)
        self._peak = TruePeakMeter(n_channels)
        noise_start = piece.on_grid(NoiseMeter(sr, n_channels).grid).start
        self._noise = NoiseMeter(sr, n_channels, noise_start)
        self._spectrum = SpectrumMeter(sr, n_channels, is_start=piece.start == 0)
        grids = [self._levels.grid, self._loudness.grid, 1, self._noise.grid, self._spectrum.grid]
        self._shares = [piece.on_grid(grid) for grid in grids]
        self._heard = [0] * len(grids)
        self._primes: list[tuple[LoudnessMeter | TruePeakMeter, Stretch]] = [
            (self._loudness, _before(self._shares[1], round(PRIME_S * sr))),
            (self._peak, _before(piece, 2 * HALF)),
        ]
        self.lead = min(piece.start, max(round(PRIME_S * sr), 2 * HALF))
        self.tail = 0 if piece.stop is None else max(share.stop or 0 for share in self._shares) - piece.stop
        self._at = piece.start - self.lead

    def update(self, x: Audio) -> None:
        """(n_channels, n) float32: consecutive blocks, from `lead` samples before the piece to `tail` after it.

        Fewer come after the piece where the track has ended.
        """
        for primed, before in self._primes:
            heard = before.of(x, self._at)
            if heard.shape[1]:
                primed.prime(heard)
        for i, (meter, share) in enumerate(zip(self._meters(), self._shares, strict=True)):
            counted = share.of(x, self._at)
            if counted.shape[1]:
                meter.update(counted)
            self._heard[i] += counted.shape[1]
        self._at += x.shape[1]

    def merge(self, later: PieceMeter) -> None:
        """Go on with the findings of the piece that follows. Raises ValueError where another follows."""
        if later._piece.start != self._piece.stop:
            raise ValueError(f"a piece from {later._piece.start} on does not follow one up to {self._piece.stop}")
        for i, pair in enumerate(zip(self._meters(), later._meters(), strict=True)):
            if later._heard[i]:
                pair[0].merge(pair[1])  # type: ignore[attr-defined]  # each has its own kind's
                self._heard[i] += later._heard[i]
        self._piece = Stretch(self._piece.start, later._piece.stop)

    def finish(self) -> Measurement:
        """The metrics of all pieces, from the track's start to its end. Nothing may come afterwards."""
        if self._piece != Stretch(0):
            raise ValueError(f"only {self._piece} of the track was measured; merge the others first")
        self._spectrum.finish()
        found = volume(self._loudness, self._peak)
        return measurement(self._sr, self._levels, self._noise, self._spectrum, found)

    def _meters(self) -> tuple[_Meter, ...]:
        return self._levels, self._loudness, self._peak, self._noise, self._spectrum


def merged(meters: list[PieceMeter]) -> PieceMeter:
    """The first of the meters of consecutive pieces, with what all of them found."""

    def joined(all_before: PieceMeter, later: PieceMeter) -> PieceMeter:
        all_before.merge(later)
        return all_before

    return reduce(joined, meters)


def _before(stretch: Stretch, n: int) -> Stretch:
    return Stretch(max(0, stretch.start - n), stretch.start)
