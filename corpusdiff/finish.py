"""The passes after the first: the chain, the loudness, the limiter, what came of it, the encoders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import IO, Any

import numpy as np

from corpusdiff.costs import ENCODE, LOUDNESS, MEASURE_AFTER, MEASURE_CHANGE, made_in, part
from corpusdiff.encode import Encoder, open_encoder
from corpusdiff.errors import ParameterError, TrackError
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track
from corpusdiff.metrics import Meter
from corpusdiff.shape import shape
from corpusdiff.source import AudioReader, open_source
from corpusdiff.specs import LoudnessSpec
from corpusdiff.spool import AudioSpool
from corpusdiff.stages.base import Audio, Signal, Stage, run_blocks
from corpusdiff.stages.limiter import Limiter
from corpusdiff.units import db_to_amplitude


@dataclass(frozen=True)
class TrackContext:
    """What is the same for all tracks of a shard.

    Parameters
    ----------
    job : what to do
    root : folder that relative paths of tracks are relative to
    chunk : samples per encoded chunk
    spool : folder for audio between passes, None for the system's own
    files : copies of files behind URLs, by the name that the track has for them; None where there is no such file
    open_encoder : makes the encoder of each output, a corpus's own by default
    """

    job: Job
    root: str
    chunk: int
    spool: str | None = None
    files: Mapping[str, str | None] = field(default_factory=dict)
    open_encoder: Callable[..., Encoder] = open_encoder

    def open(self, track: Track) -> AudioReader:
        """The track's file, or the copy of it. Raises TrackError."""
        if track.path not in self.files:
            return open_source(track, self.root)
        copy = self.files[track.path]
        if copy is None:
            raise TrackError("missing", f"there is no file {track.path!r}")
        return open_source(replace(track, path=copy), self.root)


class Sinks:
    """Where encoded streams go: one file for all of them, with a note of what lies where.

    Parameters
    ----------
    file : open for writing at the place where this track's streams start
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def sink(self, chunks: list[list[int]]) -> Callable[[int, bytes], None]:
        """A sink that writes payloads and appends (index, offset, n_bytes) of each to `chunks`."""

        def write(index: int, payload: bytes) -> None:
            chunks.append([index, self._file.tell(), len(payload)])
            self._file.write(payload)

        return write


@dataclass(frozen=True)
class Gain:
    """The one gain that brings a track to its loudness.

    Parameters
    ----------
    db : gain in dB
    limiting_db : by how much the highest true peak will pass the ceiling, 0 when it does not
    bounded_by : what kept the gain from reaching the target: "", "silence", "max_gain_db", "max_limiting_db"
    """

    db: float = 0.0
    limiting_db: float = 0.0
    bounded_by: str = ""


def loudness_gain(loudness_lufs: float, true_peak_dbtp: float, spec: LoudnessSpec) -> Gain:
    """Gain toward the target within the bounds of `spec`; 0 dB for silence (loudness NaN)."""
    if np.isnan(loudness_lufs):
        return Gain(bounded_by="silence")
    wanted = spec.target_lufs - loudness_lufs
    bounded = min(wanted, spec.max_gain_db)
    headroom = spec.ceiling_dbtp - true_peak_dbtp
    db = min(bounded, headroom + spec.max_limiting_db)
    reason = "max_limiting_db" if db < bounded else "max_gain_db" if bounded < wanted else ""
    return Gain(db, max(0.0, db - headroom), reason)


def finish_track(
    row_id: str,
    audio: AudioSpool,
    references: AudioSpool | None,
    stages: tuple[Stage, ...],
    signal: Signal,
    context: TrackContext,
    sinks: Sinks,
) -> tuple[dict[str, float], dict[str, str], list[dict[str, Any]]]:
    """Metrics, texts and outputs of a track whose audio at the job's rate is `audio`. Raises TrackError."""
    job = context.job
    try:
        shaped = shape(audio, references, stages, job.guard, signal, context.spool)
        with shaped.audio:
            spec = job.loudness
            with part(MEASURE_CHANGE):
                volume = shaped.volume.finish()
                gain = Gain() if spec is None else loudness_gain(volume.loudness_lufs, volume.true_peak_dbtp, spec)
                known = None if gain.limiting_db else shaped.volume.finish(gain.db)
            meter = Meter(signal.sr, signal.n_channels, known, shaped.meter.spectrum)
            outputs = _encode(row_id, _leveled(shaped.audio, gain, signal, spec), meter, signal, context, sinks)
    except ParameterError as error:
        raise TrackError("unsupported", f"the job does not fit a track of {signal.sr} Hz: {error}") from error
    with part(MEASURE_AFTER):
        found = meter.finish()
    metrics = {f"out_{name}": value for name, value in found.metrics.items()}
    metrics |= {"lsd_db": shaped.change.lsd_db, "si_sdr_db": shaped.change.si_sdr_db}
    metrics |= {"gain_db": gain.db, "limiter_db": gain.limiting_db, "encoded_bytes": float(outputs[0]["bytes"])}
    texts = {f"out_{name}": value for name, value in found.texts.items()}
    texts |= {"gain_bounded_by": gain.bounded_by, "guard": shaped.guard, "guard_by": shaped.guard_by}
    return metrics, texts, outputs


def _leveled(shaped: AudioSpool, gain: Gain, signal: Signal, spec: LoudnessSpec | None) -> Iterator[Audio]:
    factor = np.float32(db_to_amplitude(gain.db))
    blocks = (factor * y for y in shaped.blocks()) if gain.db else shaped.blocks()
    if spec is None or gain.limiting_db == 0.0:
        return blocks
    return run_blocks(Limiter(ceiling_dbtp=spec.ceiling_dbtp), blocks, signal)


def _encode(
    row_id: str,
    final: Iterator[Audio],
    meter: Meter,
    signal: Signal,
    context: TrackContext,
    sinks: Sinks,
) -> list[dict[str, Any]]:
    """Measure and encode the final audio, block by block; what `tracks` says of each output."""
    streams: list[list[list[int]]] = [[] for _ in context.job.outputs]
    encoders: list[Encoder] = [
        context.open_encoder(output, signal.sr, signal.n_channels, context.chunk, row_id, sinks.sink(chunks))
        for output, chunks in zip(context.job.outputs, streams, strict=True)
    ]
    for after in made_in(LOUDNESS, final):
        with part(MEASURE_AFTER):
            meter.update(after)
        with part(ENCODE):
            for encoder in encoders:
                encoder.write(after)
    outputs: list[dict[str, Any]] = []
    for output, encoder, chunks in zip(context.job.outputs, encoders, streams, strict=True):
        with part(ENCODE):
            encoded = encoder.close()
        place = {"name": output.name, "size": encoded.size, "delay": encoded.delay, "bytes": encoded.n_bytes}
        outputs.append({**place, "chunks": chunks})
    return outputs
