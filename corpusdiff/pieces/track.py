"""One long track in pieces that may be processed at once: the row and the samples of the track processed whole.

The phases of `corpusdiff.track`, each over all pieces before the next: measure; shape under the guard; set the
loudness, limit, measure again and encode. Between phases stand small findings alone, merged in the order of the
pieces; audio is decoded anew in each. The pieces are planned, so that nothing depends on who processes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from corpusdiff.dsp.levels import usual_levels
from corpusdiff.finish import Gain, Sinks, TrackContext, loudness_gain
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track
from corpusdiff.metrics import Change, ChangeMeter, Measurement
from corpusdiff.pieces.decode import Cut
from corpusdiff.pieces.measure import PieceMeter, PieceVolume, merged, piece_change, piece_levels
from corpusdiff.pieces.shape import run_piece
from corpusdiff.pieces.share import Shared, Stretch, union
from corpusdiff.shape import MAX_HALVINGS, weakened
from corpusdiff.spool import AudioSpool
from corpusdiff.stages import gain as gains
from corpusdiff.stages.base import Audio, Signal, Stage, warm_up
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.limiter import Limiter

#: Applies a function to each of some arguments, here or elsewhere, and gives the results in their order.
Mapper: TypeAlias = Callable[[Callable[[Stretch], Any], Iterable[Stretch]], Iterable[Any]]


def why_whole(job: Job, decoder: str, n_claimed: int | None) -> str:
    """Why a track is not cut; "" where it can be, as far as can be said before it is measured."""
    source = job.source
    asked = {
        "source.segment_s": source.segment_s is not None,
        "vad": job.vad is not None,
        "source.speed": source.speed != 1.0,
        "source.tempo": source.tempo != 1.0,
        "an echo reference": source.reference_channel is not None or source.reference_field is not None,
        "source.max_duration_s": source.max_duration_s is not None,
        "guard.max_loudness_change_lu": job.guard is not None and job.guard.max_loudness_change_lu is not None,
        "a lossy output": any(output.encoding not in {"flac", "pcm"} for output in job.outputs),
    }
    for name, is_asked in asked.items():
        if is_asked:
            return f"the job has {name}"
    if not decoder.startswith("soundfile ") or not decoder.partition("/")[2].startswith(("PCM_", "FLOAT", "DOUBLE")):
        return f"seeking in {decoder} does not land on the sample asked for"
    return "" if n_claimed else "its header does not say how long it is"


def planned(track: Track, context: TrackContext) -> Cut | str:
    """How a track can be cut, or why it cannot. Raises TrackError."""
    with context.open(track) as reader:
        reason = why_whole(context.job, reader.decoder, reader.header_samples)
        if reason:
            return reason
        source = context.job.source
        sr, n_channels = source.sr or reader.sr, source.channels or reader.n_channels
        return Cut(track, context, reader.sr, reader.n_channels, sr, n_channels, reader.header_samples or 0)


def process_pieces(cut: Cut, length: int, sinks: Sinks, each: Mapper = map) -> dict[str, Any] | str:
    """The row of a track whose streams are in `sinks`, or why its chain cannot be run over pieces.

    Parameters
    ----------
    cut : from `planned`
    length : samples of a piece at the job's rate, whole chunks
    sinks : where the streams go
    each : runs a function over the pieces

    Raises TrackError.
    """
    job, pieces = cut.context.job, cut.pieces(length)
    found = merged([*each(partial(_measure, cut), pieces)])
    source: Measurement = found[0].finish()
    level_dbfs, peak_level_dbfs = usual_levels(found[1].meter.levels_dbfs())
    measured = replace(source.measured, level_dbfs=level_dbfs, peak_level_dbfs=peak_level_dbfs)
    rule = job.rule_for({**cut.track.fields, **source.metrics, **source.texts, "id": cut.track.id})
    signal = Signal(cut.sr, cut.n_channels, measured)
    stages = job.chains()[rule]
    if warm_up(Chain(stages), signal) is None:
        return f"nothing bounds what a stage of its chain {rule!r} remembers"
    shaping = _shaped(cut, pieces, stages, signal, each)
    spec = job.loudness
    volume = shaping.volume.finish()
    gain = Gain() if spec is None else loudness_gain(volume.loudness_lufs, volume.true_peak_dbtp, spec)
    written = [*each(partial(_write, cut, shaping.stages, gain, signal), pieces)]
    known = shaping.volume.finish(gain.db) if not gain.limiting_db else merged([one.volume for one in written]).finish()
    after = merged([one.meter for one in written]).finish(known, shaping.spectrum)
    outputs = _outputs(job, written, sinks)
    metrics = {**source.metrics, **{f"out_{name}": value for name, value in after.metrics.items()}}
    metrics |= {"lsd_db": shaping.change.lsd_db, "si_sdr_db": shaping.change.si_sdr_db, "gain_db": gain.db}
    metrics |= {"limiter_db": gain.limiting_db, "encoded_bytes": float(outputs[0]["bytes"])}
    decoded = round(source.metrics["duration_s"] * cut.sr_in)
    metrics["header_diff_s"] = (decoded - cut.n_claimed) / cut.sr_in
    texts = {**source.texts, **{f"out_{name}": value for name, value in after.texts.items()}}
    texts |= {"gain_bounded_by": gain.bounded_by, "guard": shaping.guard, "guard_by": shaping.guard_by}
    row: dict[str, Any] = {"id": cut.track.id, "parent": None, "status": "ok", "error": "", "reason": "", "rule": rule}
    row |= {"sr": cut.sr, "n_channels": cut.n_channels, "n_samples": written[-1].n_samples}
    return {**row, "start_s": cut.track.offset_s, "metrics": metrics, "texts": texts, "outputs": outputs}


class _Together:
    """Findings that are merged one by one."""

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def __getitem__(self, index: int) -> Any:
        return self._parts[index]

    def merge(self, later: _Together) -> None:
        for part, following in zip(self._parts, later._parts, strict=True):
            part.merge(following)


def _measure(cut: Cut, piece: Stretch) -> _Together:
    meter = PieceMeter(cut.sr_in, cut.n_heard, cut.at_source(piece))
    levels = piece_levels(cut.sr, cut.n_channels, piece)
    line = cut.line(levels.needs)
    for at, x in cut.decoded(union([meter.needs, line.needs])):
        meter.update(at, x)
        for place, y in line.push(at, x):
            levels.update(place, y)
    for place, y in line.flush():
        levels.update(place, y)
    return _Together(meter, levels)


@dataclass(frozen=True)
class _Shaping:
    """What the chain made of all pieces, and what the guard made of the chain."""

    stages: tuple[Stage, ...]
    volume: PieceVolume
    change: Change
    spectrum: Any
    guard: str = ""
    guard_by: str = ""


def _shaped(cut: Cut, pieces: list[Stretch], stages: tuple[Stage, ...], signal: Signal, each: Mapper) -> _Shaping:
    """As `corpusdiff.shape.shape`, over pieces."""
    first = ""
    for halvings in range(MAX_HALVINGS + 2):
        weaker = () if halvings > MAX_HALVINGS else weakened(stages, halvings) if halvings else stages
        volume, shared = _tried(cut, pieces, weaker, signal, each)
        change = shared.meter.finish()
        passed = _passed(change, cut.context.job)
        first = first or ",".join(passed)
        if not passed or not weaker:
            break
    guard = "" if not halvings else "source" if halvings > MAX_HALVINGS else f"halved-{halvings}"
    return _Shaping(weaker, volume, change, shared.meter.spectrum, guard, first)


def _tried(
    cut: Cut, pieces: list[Stretch], stages: tuple[Stage, ...], signal: Signal, each: Mapper
) -> tuple[PieceVolume, Shared[ChangeMeter]]:
    found = merged([*each(partial(_try, cut, stages, signal), pieces)])
    return found[0], found[1]


def _passed(change: Change, job: Job) -> list[str]:
    if job.guard is None:
        return []
    found = {"lsd_db": (change.lsd_db, job.guard.max_lsd_db), "clip_rate": (change.clip_rate, job.guard.max_clip_rate)}
    return [name for name, (value, most) in found.items() if most is not None and value > most]


def _try(cut: Cut, stages: tuple[Stage, ...], signal: Signal, piece: Stretch) -> _Together:
    """The chain over one piece, measured."""
    volume = PieceVolume(cut.sr, cut.n_channels, piece)
    change = piece_change(cut.sr, cut.n_channels, piece)
    wide = union([volume.needs, change.needs])
    chain = Chain(stages)
    with (
        AudioSpool(cut.n_channels, cut.context.spool) as before,
        AudioSpool(cut.n_channels, cut.context.spool) as after,
    ):

        def heard(stretch: Stretch) -> Iterator[Audio]:
            for at, x in cut.at_job(stretch):
                before.write(wide.of(x, at))
                yield x

        for y in run_piece(chain, heard, wide, signal):
            after.write(y)
        at = wide.start
        for x, y in zip(before.blocks(), after.blocks(), strict=True):
            volume.update(at, y)
            change.update(at, x, y)
            at += y.shape[1]
    return _Together(volume, change)


def _final(cut: Cut, stages: tuple[Stage, ...], gain: Gain, signal: Signal, stretch: Stretch) -> Iterator[Audio]:
    """A stretch of the final audio: the chain, its gain, and the limiter where it is needed.

    The limiter is no stage of the chain: it hears nothing of what the chain makes of the time before the track.
    """
    leveled = (gains.Gain(gain.db),) if gain.db else ()
    shaped = partial(run_piece, Chain((*stages, *leveled)), lambda heard: (x for _, x in cut.at_job(heard)), sig=signal)
    spec = cut.context.job.loudness
    if spec is None or not gain.limiting_db:
        return shaped(stretch)
    return run_piece(Limiter(ceiling_dbtp=spec.ceiling_dbtp), shaped, stretch, signal)


@dataclass(frozen=True)
class _Written:
    """One piece's final measurements and its chunks, per output."""

    meter: PieceMeter
    volume: PieceVolume
    chunks: list[list[tuple[int, bytes]]]
    n_samples: int


def _write(cut: Cut, stages: tuple[Stage, ...], gain: Gain, signal: Signal, piece: Stretch) -> _Written:
    meter = PieceMeter(cut.sr, cut.n_channels, piece, levels_only=True)
    volume = PieceVolume(cut.sr, cut.n_channels, piece)
    wide = union([meter.needs, volume.needs])
    context = cut.context
    chunks: list[list[tuple[int, bytes]]] = [[] for _ in context.job.outputs]
    encoders = [
        context.open_encoder(
            output, cut.sr, cut.n_channels, context.chunk, cut.track.id, _sink(into), piece.start // context.chunk
        )
        for output, into in zip(context.job.outputs, chunks, strict=True)
    ]
    at = wide.start
    for y in _final(cut, stages, gain, signal, wide):
        meter.update(at, y)
        volume.update(at, y)
        for encoder in encoders:
            encoder.write(piece.of(y, at))
        at += y.shape[1]
    n_samples = [encoder.close().n_samples for encoder in encoders]
    return _Written(meter, volume, chunks, n_samples[0])


def _sink(into: list[tuple[int, bytes]]) -> Callable[[int, bytes], None]:
    def write(index: int, payload: bytes) -> None:
        into.append((index, payload))

    return write


def _outputs(job: Job, written: list[_Written], sinks: Sinks) -> list[dict[str, Any]]:
    outputs = []
    for number, output in enumerate(job.outputs):
        places: list[list[int]] = []
        sink = sinks.sink(places)
        n_bytes = 0
        for index, payload in (chunk for one in written for chunk in one.chunks[number]):
            sink(index, payload)
            n_bytes += len(payload)
        place = {"name": output.name, "size": written[-1].n_samples, "delay": 0, "bytes": n_bytes}
        outputs.append({**place, "chunks": places})
    return outputs
