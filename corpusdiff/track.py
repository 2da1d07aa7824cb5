"""One track: decode, measure, run the chain, set the loudness, measure again, encode.

Three passes over blocks. The first decodes and measures; the second runs the chain; the third sets
the gain, limits, measures and encodes. Between them the audio waits in a spool, so that a ten-hour
track takes no more memory than a short one. No number and no byte depends on the size of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from corpusdiff.dsp.levels import LevelMeter, usual_levels
from corpusdiff.dsp.resample import Resampler, downmix
from corpusdiff.errors import TrackError
from corpusdiff.finish import Sinks, TrackContext, finish_track
from corpusdiff.manifests.base import Track
from corpusdiff.metrics import Measurement, Meter
from corpusdiff.source import AudioReader, open_source
from corpusdiff.specs import SourceSpec
from corpusdiff.spool import AudioSpool
from corpusdiff.stages.base import Audio, Measured, Signal


def process_track(
    track: Track, context: TrackContext, sinks: Sinks, on_progress: Callable[[float], None]
) -> list[dict[str, Any]]:
    """Rows of one track, one for each of its segments; their streams are in `sinks`. Raises TrackError."""
    with open_source(track, context.root) as reader:
        segmented = context.job.source.segment_s is not None
        rows = []
        for number, take in enumerate(_first_pass(reader, context, on_progress)):
            with take:
                row_id = f"{track.id}#{number:05d}" if segmented else track.id
                row = _row(take, row_id, context, sinks)
                row["parent"] = track.id if segmented else None
                row["start_s"] = track.offset_s + take.start / reader.sr
                rows.append(row)
        difference = reader.header_diff
        for row in rows:
            row["metrics"]["header_diff_s"] = None if difference is None else difference / reader.sr
        return rows


class _Take:
    """One stretch of a track, measured at the source's rate and waiting at the job's."""

    def __init__(self, start: int, reader: AudioReader, context: TrackContext) -> None:
        source = context.job.source
        self.start = start
        self.sr = source.sr or reader.sr
        self.n_channels = source.channels or reader.n_channels
        if reader.n_channels not in {1, self.n_channels} and reader.n_channels < self.n_channels:
            raise TrackError("unsupported", f"{reader.n_channels} channels cannot become {self.n_channels}")
        self.audio = AudioSpool(self.n_channels, context.spool)
        self._source = Meter(reader.sr, reader.n_channels)
        self._resampler = Resampler(reader.sr, self.sr, self.n_channels)
        self._input = LevelMeter(self.sr, self.n_channels)

    def __enter__(self) -> _Take:
        return self

    def __exit__(self, *reason: object) -> None:
        self.audio.close()

    def write(self, x: Audio) -> None:
        """Samples at the source's rate."""
        self._source.update(x)
        self._keep(self._resampler.process(downmix(x, self.n_channels)))

    def finish(self) -> None:
        """No more samples come."""
        self._keep(self._resampler.flush())

    def measure(self) -> tuple[Measurement, Measured]:
        """What was found at the source's rate, and what stages may know: the level is that of their input."""
        self._source.flush()
        source = self._source.finish()
        level_dbfs, peak_level_dbfs = usual_levels(self._input.levels_dbfs())
        return source, replace(source.measured, level_dbfs=level_dbfs, peak_level_dbfs=peak_level_dbfs)

    def _keep(self, y: Audio) -> None:
        self._input.update(y)
        self.audio.write(y)


def _first_pass(reader: AudioReader, context: TrackContext, on_progress: Callable[[float], None]) -> Iterator[_Take]:
    """Cut what is decoded into takes: the whole track, or its segments as each becomes complete."""
    source = context.job.source
    length = None if source.segment_s is None else round(source.segment_s * reader.sr)
    overlap = round(source.overlap_s * reader.sr)
    takes: list[_Take] = []
    position = 0
    next_start = 0
    for x in reader.blocks():
        while next_start < position + x.shape[1] and (length is not None or next_start == 0):
            takes.append(_Take(next_start, reader, context))
            next_start += 1 if length is None else length - overlap
        for take in takes:
            stop = x.shape[1] if length is None else take.start + length - position
            take.write(x[:, max(0, take.start - position) : stop])
        position += x.shape[1]
        on_progress(position / reader.sr)
        _check_length(position / reader.sr, source.max_track_hours)
        while takes and length is not None and takes[0].start + length <= position:
            takes[0].finish()
            yield takes.pop(0)
    for take in takes:
        if take.start == 0 or position - take.start > overlap:  # else the one before has all of it
            take.finish()
            yield take


def _check_length(seconds: float, max_hours: float) -> None:
    if seconds > 3600 * max_hours:
        raise TrackError(
            "too-long", f"still going after {max_hours:g} hours: raise source.max_track_hours if it is real"
        )


def _row(take: _Take, row_id: str, context: TrackContext, sinks: Sinks) -> dict[str, Any]:
    source, measured = take.measure()
    row: dict[str, Any] = {
        "id": row_id,
        "status": "ok",
        "error": "",
        "reason": "",
        "rule": "default",
        "sr": take.sr,
        "n_channels": take.n_channels,
        "n_samples": take.audio.n_samples,
        "metrics": dict(source.metrics),
        "texts": dict(source.texts),
        "outputs": [],
    }
    unfit = _outside(source.metrics["duration_s"], context.job.source)
    if unfit:
        return {**row, "status": "filtered", "error": unfit, "reason": "duration"}
    signal = Signal(take.sr, take.n_channels, measured)
    metrics, texts, row["outputs"] = finish_track(row_id, take.audio, signal, context, sinks)
    row["metrics"] |= metrics
    row["texts"] |= texts
    return row


def _outside(duration_s: float, source: SourceSpec) -> str:
    if duration_s < source.min_duration_s:
        return f"{duration_s:.3f} s is shorter than source.min_duration_s = {source.min_duration_s:g}"
    if source.max_duration_s is not None and duration_s > source.max_duration_s:
        return f"{duration_s:.3f} s is longer than source.max_duration_s = {source.max_duration_s:g}"
    return ""
