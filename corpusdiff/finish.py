"""The passes after the first: run the chain, set the loudness, measure again, encode."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from corpusdiff.encode import Encoder, open_encoder
from corpusdiff.errors import ParameterError, TrackError
from corpusdiff.job import Job
from corpusdiff.metrics import ChangeMeter, VolumeMeter
from corpusdiff.specs import LoudnessSpec
from corpusdiff.spool import AudioSpool
from corpusdiff.stages.base import Audio, Signal, run_blocks
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.limiter import Limiter
from corpusdiff.units import db_to_amplitude

#: Samples per channel of a block between the passes: fits the cache, amortises Python.
BLOCK = 1 << 17


@dataclass(frozen=True)
class TrackContext:
    """What is the same for all tracks of a shard.

    Parameters
    ----------
    job : what to do
    root : folder that relative paths of tracks are relative to
    chunk : samples per encoded chunk
    spool : folder for audio between passes, None for the system's own
    """

    job: Job
    root: str
    chunk: int
    spool: str | None = None


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
    row_id: str, audio: AudioSpool, signal: Signal, context: TrackContext, sinks: Sinks
) -> tuple[dict[str, float], dict[str, str], list[dict[str, Any]]]:
    """Metrics, texts and outputs of a track whose audio at the job's rate is `audio`. Raises TrackError."""
    spec = context.job.loudness
    try:
        shaped_blocks = run_blocks(Chain(context.job.chain), audio.blocks(BLOCK), signal)
        with AudioSpool(signal.n_channels, context.spool) as shaped:
            measured = _shape(shaped_blocks, shaped, signal)
            volume = measured.finish()
            gain = Gain() if spec is None else loudness_gain(volume.loudness_lufs, volume.true_peak_dbtp, spec)
            final = _leveled(shaped, gain, signal, spec)
            known = None if gain.limiting_db else measured.finish(gain.db)
            meter = ChangeMeter(signal.sr, signal.n_channels, known)
            outputs = _encode(row_id, audio, final, meter, signal, context, sinks)
    except ParameterError as error:
        raise TrackError("unsupported", f"the job does not fit a track of {signal.sr} Hz: {error}") from error
    found, change = meter.finish()
    metrics = {f"out_{name}": value for name, value in found.metrics.items()} | change
    metrics |= {"gain_db": gain.db, "limiter_db": gain.limiting_db, "encoded_bytes": float(outputs[0]["bytes"])}
    texts = {f"out_{name}": value for name, value in found.texts.items()}
    return metrics, texts | {"gain_bounded_by": gain.bounded_by}, outputs


def _shape(blocks: Iterable[Audio], shaped: AudioSpool, signal: Signal) -> VolumeMeter:
    """Run the chain into `shaped` and measure how loud it is."""
    meter = VolumeMeter(signal.sr, signal.n_channels)
    for y in blocks:
        meter.update(y)
        shaped.write(y)
    return meter


def _leveled(shaped: AudioSpool, gain: Gain, signal: Signal, spec: LoudnessSpec | None) -> Iterator[Audio]:
    factor = np.float32(db_to_amplitude(gain.db))
    blocks = (factor * y for y in shaped.blocks(BLOCK)) if gain.db else shaped.blocks(BLOCK)
    if spec is None or gain.limiting_db == 0.0:
        return blocks
    return rechunked(run_blocks(Limiter(ceiling_dbtp=spec.ceiling_dbtp), blocks, signal), BLOCK)


def _encode(
    row_id: str,
    audio: AudioSpool,
    final: Iterator[Audio],
    meter: ChangeMeter,
    signal: Signal,
    context: TrackContext,
    sinks: Sinks,
) -> list[dict[str, Any]]:
    """Measure and encode the final audio, block by block; what `tracks` says of each output."""
    streams: list[list[list[int]]] = [[] for _ in context.job.outputs]
    encoders: list[Encoder] = [
        open_encoder(output, signal.sr, signal.n_channels, context.chunk, row_id, sinks.sink(chunks))
        for output, chunks in zip(context.job.outputs, streams, strict=True)
    ]
    for before, after in zip(audio.blocks(BLOCK), final, strict=True):
        meter.update(before, after)
        for encoder in encoders:
            encoder.write(after)
    outputs: list[dict[str, Any]] = []
    for output, encoder, chunks in zip(context.job.outputs, encoders, streams, strict=True):
        encoded = encoder.close()
        place = {"name": output.name, "size": encoded.size, "delay": encoded.delay, "bytes": encoded.n_bytes}
        outputs.append({**place, "chunks": chunks})
    return outputs


def rechunked(blocks: Iterable[Audio], size: int) -> Iterator[Audio]:
    """The same samples in blocks of `size`, the last one shorter."""
    waiting: list[Audio] = []
    n_waiting = 0
    for x in blocks:
        waiting.append(x)
        n_waiting += x.shape[1]
        if n_waiting >= size:
            joined = np.concatenate(waiting, axis=1)
            whole = n_waiting - n_waiting % size
            yield from (np.ascontiguousarray(joined[:, i : i + size]) for i in range(0, whole, size))
            waiting = [joined[:, whole:]]
            n_waiting -= whole
    if n_waiting:
        yield np.ascontiguousarray(np.concatenate(waiting, axis=1))
