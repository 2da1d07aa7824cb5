"""Several stems into one track."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from corpusdiff.dsp.resample import Resampler, downmix
from corpusdiff.encode.audiofile import write_audio
from corpusdiff.errors import TrackError, UsageError
from corpusdiff.finish import loudness_gain
from corpusdiff.manifests.base import Track
from corpusdiff.metrics import VolumeMeter
from corpusdiff.source import open_source
from corpusdiff.specs import LoudnessSpec
from corpusdiff.spool import AudioSpool
from corpusdiff.stages.base import Audio, Signal, run_blocks
from corpusdiff.stages.checks import at_least, finite
from corpusdiff.stages.limiter import Limiter
from corpusdiff.units import db_to_amplitude

#: Samples of a block of the mix.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Stem:
    """One part of a mix.

    Parameters
    ----------
    path : the file
    gain_db : its gain
    offset_s : when it begins
    """

    path: str
    gain_db: float = 0.0
    offset_s: float = 0.0

    def __post_init__(self) -> None:
        finite("gain_db", self.gain_db)
        at_least("offset_s", self.offset_s, 0)


def mix_files(
    stems: Sequence[Stem],
    output: str,
    *,
    sr: int | None = None,
    target_lufs: float | None = None,
    bits: int | None = None,
) -> int:
    """Add stems up into a file; the number of its samples per channel.

    The result is as long as the stem that ends last, has the highest rate of the stems unless told otherwise, and two
    channels where any stem has more than one. Peaks are limited to -1 dBTP.

    Parameters
    ----------
    stems : at least one
    output : its extension says the format
    sr : rate of the result in Hz
    target_lufs : integrated loudness of the result, None for the plain sum
    bits : of a lossless file

    Raises
    ------
    UsageError : for a stem that cannot be read, by its name, and as `write_audio`
    """
    headers = [_header(stem.path) for stem in stems]
    rate = sr or max(stem_sr for stem_sr, _ in headers)
    n_channels = min(2, max(n for _, n in headers))
    if os.path.realpath(output) in {os.path.realpath(stem.path) for stem in stems}:
        raise UsageError(f"{output}: is a stem too; give another name")
    with AudioSpool(n_channels) as mixed:
        meter = VolumeMeter(rate, n_channels)
        for x in _sum([_stem_blocks(stem, rate, n_channels) for stem in stems]):
            meter.update(x)
            mixed.write(x)
        gain_db = 0.0
        if target_lufs is not None:
            found = meter.finish()
            gain_db = loudness_gain(found.loudness_lufs, found.true_peak_dbtp, LoudnessSpec(target_lufs)).db
        louder = (np.float32(db_to_amplitude(gain_db)) * x for x in mixed.blocks())
        limited = run_blocks(Limiter(ceiling_dbtp=-1.0), louder, Signal(rate, n_channels))
        return write_audio(output, limited, rate, n_channels, bits)


def read_at(path: str, sr: int) -> Iterator[Audio]:
    """Blocks of a file at a rate, with its own channels. Raises UsageError, naming it."""
    name = os.path.abspath(path)  # noqa: PTH100  # a path that is no UTF-8 has no other spelling
    try:
        with open_source(Track(name, name)) as reader:
            resampler = Resampler(reader.sr, sr, reader.n_channels)
            for x in reader.blocks():
                yield resampler.process(x)
            yield resampler.flush()
    except TrackError as error:
        raise UsageError(f"{path}: {error}") from error


def _header(path: str) -> tuple[int, int]:
    name = os.path.abspath(path)  # noqa: PTH100
    try:
        with open_source(Track(name, name)) as reader:
            return reader.sr, reader.n_channels
    except TrackError as error:
        raise UsageError(f"{path}: {error}") from error


def _stem_blocks(stem: Stem, sr: int, n_channels: int) -> Iterator[Audio]:
    silent = round(stem.offset_s * sr)
    for start in range(0, silent, _BLOCK):
        yield np.zeros((n_channels, min(_BLOCK, silent - start)), np.float32)
    factor = np.float32(db_to_amplitude(stem.gain_db))
    for x in read_at(stem.path, sr):
        yield factor * downmix(x, n_channels)


def _sum(stems: list[Iterator[Audio]]) -> Iterator[Audio]:
    """Blocks of the sum, until the last stem has ended; stems are added in their order."""
    waiting: list[Audio | None] = [next(stem, None) for stem in stems]
    while any(x is not None for x in waiting):
        lengths = [x.shape[1] for x in waiting if x is not None]
        n = min(lengths)
        parts = [x[:, :n] for x in waiting if x is not None]
        if n:
            total = parts[0].copy()
            for part in parts[1:]:
                total += part
            yield total
        for i, x in enumerate(waiting):
            if x is not None:
                waiting[i] = x[:, n:] if x.shape[1] > n else next(stems[i], None)
