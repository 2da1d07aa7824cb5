"""The first pass: cut what is decoded into takes, measured at the source's rate and waiting at the job's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from corpusdiff.costs import DECODE, MEASURE_BEFORE, RESAMPLE, made_in, part
from corpusdiff.dsp.levels import LevelMeter, usual_levels
from corpusdiff.dsp.resample import Resampler, downmix
from corpusdiff.errors import TrackError
from corpusdiff.manifests.base import Track, path_below
from corpusdiff.metrics import Measurement, Meter
from corpusdiff.source import AudioReader
from corpusdiff.specs import SourceSpec
from corpusdiff.spool import AudioSpool
from corpusdiff.stages.base import Audio, Measured

if TYPE_CHECKING:
    from corpusdiff.source.tempo import Tempo

#: First sample of a stretch and the one after its last, None for the track's end.
Span: TypeAlias = tuple[int, int | None]


class Take:
    """One stretch of a track; a context manager.

    Parameters
    ----------
    span : which
    reader : the track being decoded
    source : what is made of it
    spool : folder for audio that does not fit into memory

    Attributes
    ----------
    sr, n_channels : of the audio
    audio : (n_channels, n) at the job's rate
    references : the far-end signal beside it, None where the job has none
    """

    def __init__(self, span: Span, reader: AudioReader, source: SourceSpec, spool: str | None) -> None:
        self.start, self.stop = span
        self._reference_channel = source.reference_channel
        n_heard = _n_heard(reader, source)
        self.sr = source.sr or reader.sr
        self.n_channels = source.channels or n_heard
        if n_heard not in {1, self.n_channels} and n_heard < self.n_channels:
            raise TrackError("unsupported", f"{n_heard} channels cannot become {self.n_channels}")
        self._source_sr = reader.sr
        self._source = Meter(reader.sr, n_heard)
        self._line = _Line(reader.sr, self.sr, self.n_channels, source, spool)
        self._far = _Line(reader.sr, self.sr, 1, source, spool) if source.reference_channel is not None else None
        self._input = LevelMeter(self.sr, self.n_channels)
        self.audio = self._line.audio
        self.references = self._far.audio if self._far is not None else None
        self.n_samples = 0

    def __enter__(self) -> Take:
        return self

    def __exit__(self, *reason: object) -> None:
        self.audio.close()
        if self.references is not None:
            self.references.close()

    def write(self, x: Audio) -> None:
        """Samples at the source's rate, all channels of the file."""
        self.n_samples += x.shape[1]
        if self._far is not None:
            channel = self._reference_channel
            self._far.write(x[channel : channel + 1])  # type: ignore[operator]  # there is one
            x = x[[i for i in range(len(x)) if i != channel]]
        with part(MEASURE_BEFORE):
            self._source.update(x)
        with part(RESAMPLE):
            y = self._line.write(downmix(x, self.n_channels))
        with part(MEASURE_BEFORE):
            self._input.update(y)

    def finish(self) -> None:
        """No more samples come."""
        with part(RESAMPLE):
            y = self._line.finish()
        with part(MEASURE_BEFORE):
            self._input.update(y)
        if self._far is not None:
            self._far.finish()

    def measure(self) -> tuple[Measurement, Measured]:
        """What was found at the source's rate, and what stages may know: the level is that of their input."""
        source = self._source.finish()
        level_dbfs, peak_level_dbfs = usual_levels(self._input.levels_dbfs())
        return source, replace(source.measured, level_dbfs=level_dbfs, peak_level_dbfs=peak_level_dbfs)

    def take_references(
        self,
        track: Track,
        root: str,
        source: SourceSpec,
        spool: str | None,
        open_track: Callable[[Track], AudioReader],
    ) -> None:
        """Decode the far-end file that the manifest names for this stretch. Raises TrackError."""
        name = track.fields.get(source.reference_field or "")
        if not isinstance(name, str) or not name:
            raise TrackError("missing", f"the manifest has no {source.reference_field} for it: the far-end file")
        seconds = self.n_samples / self._source_sr
        far = Track(track.id, path_below(name, root), track.offset_s + self.start / self._source_sr, seconds)
        with open_track(far) as reader:
            line = _Line(reader.sr, self.sr, 1, source, spool)
            self.references = line.audio
            for x in reader.blocks():
                line.write(downmix(x, 1))
            line.finish()


class _Line:
    """From the source's rate and time to the job's, into a spool."""

    def __init__(self, sr_in: int, sr_out: int, n_channels: int, source: SourceSpec, spool: str | None) -> None:
        self.audio = AudioSpool(n_channels, spool)
        self._resampler = Resampler(sr_in * source.speed, sr_out, n_channels)
        self._tempo = _tempo(sr_out, n_channels, source.tempo)

    def write(self, x: Audio) -> Audio:
        y = self._resampler.process(x)
        return self._keep(y if self._tempo is None else self._tempo.process(y))

    def finish(self) -> Audio:
        y = self._resampler.flush()
        if self._tempo is not None:
            y = np.concatenate([self._tempo.process(y), self._tempo.flush()], axis=1)
        return self._keep(y)

    def _keep(self, y: Audio) -> Audio:
        self.audio.write(y)
        return y


def _tempo(sr: int, n_channels: int, tempo: float) -> Tempo | None:
    if tempo == 1.0:
        return None
    from corpusdiff.source.tempo import Tempo  # loads FFmpeg, which few jobs need

    return Tempo(sr, n_channels, tempo)


def _n_heard(reader: AudioReader, source: SourceSpec) -> int:
    """Channels without the one that is the reference. Raises TrackError."""
    if source.reference_channel is None:
        return reader.n_channels
    if source.reference_channel >= reader.n_channels or reader.n_channels < 2:
        raise TrackError(
            "unsupported",
            f"source.reference_channel is {source.reference_channel} (counted from 0), and the file has "
            f"{reader.n_channels} channels; one more must be left to process",
        )
    return reader.n_channels - 1


def takes(
    reader: AudioReader,
    spans: Iterable[Span],
    source: SourceSpec,
    spool: str | None,
    on_progress: Callable[[float], None],
) -> Iterator[Take]:
    """The takes of a track as each becomes complete.

    `spans` rise in start and in stop, may overlap and may be endless; those that begin behind the end are no takes.
    """
    coming = iter(spans)
    following = next(coming, None)
    waiting: list[Take] = []
    position = 0
    for x in made_in(DECODE, reader.blocks()):
        end = position + x.shape[1]
        while following is not None and following[0] < end:
            waiting.append(Take(following, reader, source, spool))
            following = next(coming, None)
        for take in waiting:
            stop = x.shape[1] if take.stop is None else min(take.stop - position, x.shape[1])
            take.write(x[:, max(0, take.start - position) : stop])
        position = end
        on_progress(position / reader.sr)
        _check_length(position / reader.sr, source.max_track_hours)
        while waiting and waiting[0].stop is not None and waiting[0].stop <= position:
            waiting[0].finish()
            yield waiting.pop(0)
    for take in waiting:
        take.finish()
        yield take


def segments(sr: int, source: SourceSpec) -> Iterator[Span]:
    """Stretches of `segment_s`, each `overlap_s` before the last one's end, without end; all of it without them."""
    if source.segment_s is None:
        yield 0, None
        return
    length, overlap = round(source.segment_s * sr), round(source.overlap_s * sr)
    for number in count():
        start = number * (length - overlap)
        yield start, start + length


def _check_length(seconds: float, max_hours: float) -> None:
    if seconds > 3600 * max_hours:
        raise TrackError(
            "too-long", f"still going after {max_hours:g} hours: raise source.max_track_hours if it is real"
        )
