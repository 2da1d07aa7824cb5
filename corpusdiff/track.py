"""One track: decode, measure, choose the chain, run it, set the loudness, measure again, encode.

Three passes over blocks. The first decodes and measures (`take`); the second runs the chain under its guard
(`shape`); the third sets the gain, limits, measures and encodes (`finish`). Between them the audio waits in a spool,
so that a ten-hour track takes no more memory than a short one. No number and no byte depends on the size of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corpusdiff.costs import DECODE, MEASURE_BEFORE, SPEECH, made_in, part
from corpusdiff.finish import Sinks, TrackContext, finish_track
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track
from corpusdiff.metrics import Measurement
from corpusdiff.source import AudioReader
from corpusdiff.specs import SourceSpec
from corpusdiff.stages.base import Signal
from corpusdiff.take import Span, Take, segments, takes


def process_track(
    track: Track, context: TrackContext, sinks: Sinks, on_progress: Callable[[float], None]
) -> list[dict[str, Any]]:
    """Rows of one track, one for each of its segments; their streams are in `sinks`. Raises TrackError."""
    job = context.job
    spans = _speech(track, context, on_progress)
    silent = spans == []
    with opened(track, context) as reader:
        rows = []
        parts = is_cut(job) and not silent
        where = segments(reader.sr, job.source) if spans is None or silent else spans
        for number, take in enumerate(takes(reader, where, job.source, context.spool, on_progress)):
            with take:
                if _is_overlap(take, job.source, reader.sr):
                    continue
                row_id = f"{track.id}#{number:05d}" if parts else track.id
                row = _row(take, row_id, track, context, sinks, silent=silent)
                row["parent"] = track.id if parts else None
                row["start_s"] = track.offset_s + take.start / reader.sr
                rows.append(row)
        difference = reader.header_diff
        for row in rows:
            row["metrics"]["header_diff_s"] = None if difference is None else difference / reader.sr
        return rows


def measure_track(track: Track, context: TrackContext, on_progress: Callable[[float], None]) -> list[dict[str, Any]]:
    """The first pass alone: what was measured of each of a track's segments, and which rule would take it.

    Rows of ``id``, ``rule``, ``metrics``, ``texts`` and ``measured`` (level, loudness and spectrum, JSON-able).
    Raises TrackError.
    """
    job = context.job
    spans = _speech(track, context, on_progress)
    with opened(track, context) as reader:
        rows = []
        for take in takes(reader, spans or segments(reader.sr, job.source), job.source, context.spool, on_progress):
            with take:
                if not _is_overlap(take, job.source, reader.sr):
                    source, measured = take.measure()
                    rule = job.rule_for(rule_values(track, {**source.metrics, **source.texts}))
                    found = {"metrics": source.metrics, "texts": source.texts, "measured": measured.to_dict()}
                    rows.append({"id": track.id, "rule": rule, **found})
        return rows


def opened(track: Track, context: TrackContext) -> AudioReader:
    """The track with its first block decoded. Raises TrackError."""
    with part(DECODE):
        return context.open(track)


def is_cut(job: Job) -> bool:
    """Whether a track becomes several."""
    return job.source.segment_s is not None or (job.vad is not None and job.vad.mode == "segment")


def rule_values(track: Track, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule may ask for: what was measured, the track's own, and its fields of the manifest."""
    return {**track.fields, **metrics, "id": track.id, "path": track.path}


def _speech(track: Track, context: TrackContext, on_progress: Callable[[float], None]) -> list[Span] | None:
    """Where the speech is, None where the job does not ask."""
    vad = context.job.vad
    if vad is None:
        return None
    from corpusdiff.source.vad import speech_spans  # few jobs want it

    with opened(track, context) as reader:

        def blocks() -> Iterator[Any]:
            for x in made_in(DECODE, reader.blocks()):
                on_progress(0.0)  # alive, but nothing is done yet
                yield x

        return [*made_in(SPEECH, speech_spans(blocks(), reader.sr, vad))]


def _is_overlap(take: Take, source: SourceSpec, sr: int) -> bool:
    """Whether the take before has all of it."""
    return take.start > 0 and source.segment_s is not None and take.n_samples <= round(source.overlap_s * sr)


def _row(take: Take, row_id: str, track: Track, context: TrackContext, sinks: Sinks, *, silent: bool) -> dict[str, Any]:
    job = context.job
    with part(MEASURE_BEFORE):
        source, measured = take.measure()
    row: dict[str, Any] = {
        "id": row_id,
        "status": "ok",
        "error": "",
        "reason": "",
        "rule": "",
        "sr": take.sr,
        "n_channels": take.n_channels,
        "n_samples": take.audio.n_samples,
        "metrics": dict(source.metrics),
        "texts": dict(source.texts),
        "outputs": [],
    }
    unfit = ("no-speech", "no speech was found in it") if silent else _outside(source, job.source)
    if unfit:
        return {**row, "status": "filtered", "error": unfit[1], "reason": unfit[0]}
    if job.source.reference_field is not None:
        take.take_references(track, context.root, job.source, context.spool, context.open)
    row["rule"] = job.rule_for(rule_values(track, {**source.metrics, **source.texts}))
    stages = job.chains()[row["rule"]]
    signal = Signal(take.sr, take.n_channels, measured, n_references=int(take.references is not None))
    found = finish_track(row_id, take.audio, take.references, stages, signal, context, sinks)
    row["metrics"] |= found[0]
    row["texts"] |= found[1]
    row["outputs"] = found[2]
    return row


def _outside(found: Measurement, source: SourceSpec) -> tuple[str, str] | None:
    """Reason and words for a track that is too short or too long."""
    duration_s = found.metrics["duration_s"]
    if duration_s < source.min_duration_s:
        return "duration", f"{duration_s:.3f} s is shorter than source.min_duration_s = {source.min_duration_s:g}"
    if source.max_duration_s is not None and duration_s > source.max_duration_s:
        return "duration", f"{duration_s:.3f} s is longer than source.max_duration_s = {source.max_duration_s:g}"
    return None
