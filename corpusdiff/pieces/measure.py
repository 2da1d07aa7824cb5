"""The first pass over one piece of a track, and the findings of all of its pieces made one.

Each meter counts the steps of its own grid that begin in the piece, so that each step is counted once and as a whole.
For that a piece is heard from somewhat before its start, where filters settle, to somewhat after its end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from corpusdiff.dsp.levels import LevelMeter
from corpusdiff.dsp.loudness import PRIME_S, LoudnessMeter
from corpusdiff.dsp.noise import NoiseMeter
from corpusdiff.dsp.spectrum import SpectrumMeter
from corpusdiff.dsp.truepeak import HALF, TruePeakMeter
from corpusdiff.metrics import ChangeMeter, Measurement, Volume, measurement, volume
from corpusdiff.pieces.share import Shared, Stretch, union
from corpusdiff.stages.base import Audio


class PieceVolume:
    """What a `corpusdiff.metrics.VolumeMeter` measures, of one piece.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    piece : which samples of the track

    Attributes
    ----------
    needs : what of the track it has to hear
    """

    def __init__(self, sr: int, n_channels: int, piece: Stretch) -> None:
        loudness = LoudnessMeter(sr, n_channels)
        self._loudness = Shared(loudness, piece, loudness.grid, lead=round(PRIME_S * sr))
        self._peak = Shared(TruePeakMeter(n_channels), piece, 1, lead=2 * HALF)
        self.needs = union([self._loudness.needs, self._peak.needs])

    def update(self, at: int, x: Audio) -> None:
        """(n_channels, n) float32, and its place in the track."""
        self._loudness.update(at, x)
        self._peak.update(at, x)

    def merge(self, later: PieceVolume) -> None:
        """Go on with the findings of the piece that follows."""
        self._loudness.merge(later._loudness)
        self._peak.merge(later._peak)

    def finish(self, gain_db: float = 0.0) -> Volume:
        """Of all that came, or of that after a gain."""
        return volume(self._loudness.meter, self._peak.meter, gain_db)


class PieceMeter:
    """What a `corpusdiff.metrics.Meter` measures, of one piece.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    piece : which samples of the track
    levels_only : leave out volume and spectrum

    Attributes
    ----------
    needs : what of the track it has to hear
    """

    def __init__(self, sr: int, n_channels: int, piece: Stretch, *, levels_only: bool = False) -> None:
        self._sr = sr
        self._piece = piece
        levels = LevelMeter(sr, n_channels)
        grid = NoiseMeter(sr, n_channels).grid
        noise = NoiseMeter(sr, n_channels, piece.on_grid(grid).start)
        self._levels = Shared(levels, piece, levels.grid)
        self._noise = Shared(noise, piece, grid)
        self._volume = None if levels_only else PieceVolume(sr, n_channels, piece)
        self._spectrum = None
        if not levels_only:
            spectrum = SpectrumMeter(sr, n_channels, is_start=piece.start == 0)
            self._spectrum = Shared(spectrum, piece, spectrum.grid)
        self.needs = union([piece, *(part.needs for part in self._parts())])

    def update(self, at: int, x: Audio) -> None:
        """(n_channels, n) float32, and its place in the track: consecutive blocks of what it `needs`, or more.

        Fewer come after the piece where the track has ended.
        """
        for part in self._parts():
            part.update(at, x)

    def merge(self, later: PieceMeter) -> None:
        """Go on with the findings of the piece that follows. Raises ValueError where another follows."""
        if later._piece.start != self._piece.stop:
            raise ValueError(f"a piece from {later._piece.start} on does not follow one up to {self._piece.stop}")
        for part, following in zip(self._parts(), later._parts(), strict=True):
            part.merge(following)
        self._piece = Stretch(self._piece.start, later._piece.stop)

    def finish(self, known: Volume | None = None, spectrum: SpectrumMeter | None = None) -> Measurement:
        """The metrics of all pieces, from the track's start to its end. Nothing may come afterwards.

        `known` and `spectrum` (finished) are for what was left out.
        """
        if self._piece != Stretch(0):
            raise ValueError(f"only {self._piece} of the track was measured; merge the others first")
        if self._spectrum is not None:
            spectrum = self._spectrum.meter
            spectrum.finish()
        found = self._volume.finish() if self._volume is not None else known
        if found is None or spectrum is None:
            raise ValueError("volume and spectrum were left out: give them")
        return measurement(self._sr, self._levels.meter, self._noise.meter, spectrum, found)

    def _parts(self) -> list[Any]:
        return [part for part in (self._levels, self._noise, self._volume, self._spectrum) if part is not None]


def piece_levels(sr: int, n_channels: int, piece: Stretch) -> Shared[LevelMeter]:
    """Levels alone, of one piece."""
    meter = LevelMeter(sr, n_channels)
    return Shared(meter, piece, meter.grid)


def piece_change(sr: int, n_channels: int, piece: Stretch) -> Shared[ChangeMeter]:
    """The change, of one piece; blocks before and after come in pairs."""
    meter = ChangeMeter(sr, n_channels, is_start=piece.start == 0)
    return Shared(meter, piece, meter.grid)


def merged(meters: Sequence[Any]) -> Any:
    """The first of the meters of consecutive pieces, with what all of them found."""

    def joined(all_before: Any, later: Any) -> Any:
        all_before.merge(later)
        return all_before

    return reduce(joined, meters)
