"""The phases of a long track that run over its pieces, each a function of a piece and of small findings.

What they give and take travels between machines: arrays, numbers, and this package's own classes. Audio does not:
each phase decodes what it needs anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from corpusdiff.costs import ENCODE, MEASURE_AFTER, MEASURE_BEFORE, MEASURE_CHANGE, part
from corpusdiff.finish import Gain, Sinks
from corpusdiff.job import Job
from corpusdiff.pieces.decode import Cut, Lines
from corpusdiff.pieces.kept import Kept, Part
from corpusdiff.pieces.measure import PieceMeter, PieceVolume, piece_change, piece_levels
from corpusdiff.pieces.shape import JOIN_S, agree, planned_run, run_over
from corpusdiff.pieces.share import Stretch, union
from corpusdiff.shape import MAX_HALVINGS, weakened
from corpusdiff.spool import AudioQueue, AudioSpool
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.limiter import Limiter
from corpusdiff.units import db_to_amplitude


@dataclass(frozen=True)
class Means:
    """What a phase has to work with.

    Parameters
    ----------
    on_decoded : hears of seconds of audio that are decoded
    sinks : take what is encoded
    kept : audio of earlier phases over the track
    """

    on_decoded: Callable[[float], None]
    sinks: Sinks
    kept: Kept


class Together:
    """Findings of a piece that are merged with those of the next, one by one.

    Parameters
    ----------
    parts : meters
    """

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def merge(self, later: Together) -> None:
        """Go on with the findings of the piece that follows."""
        for each, following in zip(self.parts, later.parts, strict=True):
            each.merge(following)


@dataclass(frozen=True)
class Shaping:
    """Which chain a track gets, and what its stages may know.

    Parameters
    ----------
    rule : its name
    halvings : how often the guard has weakened it; more than `MAX_HALVINGS` for no chain at all
    signal : rate, channels and what the first pass found
    """

    rule: str
    halvings: int
    signal: Signal

    def chain(self, job: Job) -> Chain:
        """The chain itself."""
        if self.halvings > MAX_HALVINGS:
            return Chain(())
        stages = job.chains()[self.rule]
        return Chain(weakened(stages, self.halvings) if self.halvings else stages)


@dataclass(frozen=True)
class Shaped:
    """What a chain made of a piece.

    Parameters
    ----------
    found : volume and change
    begins, ends : states of the chain where this piece's run counts from, and where the next one's does
    """

    found: Together
    begins: State
    ends: State


@dataclass(frozen=True)
class Written:
    """The final audio of a piece.

    Parameters
    ----------
    found : its meter and its volume
    chunks : per output (index, offset, n_bytes) of the chunks in the stream that the phase was given
    n_bytes : of these, per output
    n_samples : of the track up to this piece's end
    """

    found: Together
    chunks: list[list[list[int]]]
    n_bytes: list[int]
    n_samples: int


def measure(cut: Cut, piece: Stretch, means: Means) -> Together:
    """The first pass: all of it at the source's rate, and the levels at the job's, which are kept."""
    meter = PieceMeter(cut.sr_in, cut.n_heard, cut.at_source(piece))
    levels = piece_levels(cut.sr, cut.n_channels, piece)
    lines = Lines(cut, union([piece, levels.needs]))
    heard = AudioSpool(cut.n_channels, cut.context.spool)

    def take(made: Iterator[tuple[int, Audio]]) -> None:
        for at, y in made:
            levels.update(at, y)
            heard.write(piece.of(y, at))

    try:
        for at, x in cut.decoded(union([meter.needs, lines.needs]), means.on_decoded):
            with part(MEASURE_BEFORE):
                meter.update(at, x)
            take(lines.push(at, x))
        take(lines.flush())
    except BaseException:
        heard.close()
        raise
    means.kept.put(("heard", piece.start), Part(piece.start, heard))
    return Together(meter, levels)


def shape(cut: Cut, piece: Stretch, means: Means, shaping: Shaping, begins: State | None = None) -> Shaped:
    """The chain over a piece, measured, and kept; from the state `begins` where it is known."""
    sig = shaping.signal
    chain = shaping.chain(cut.context.job)
    run = planned_run(chain, piece, sig)
    volume = PieceVolume(cut.sr, cut.n_channels, piece)
    change = piece_change(cut.sr, cut.n_channels, piece)
    wide = Stretch(run.begins, None if piece.stop is None else piece.stop + round(JOIN_S * cut.sr))
    first, state = (run.first, chain.initial_state(sig)) if begins is None else (run.begins, begins)
    marks: dict[int, State] = {run.begins: None} if run.ends is None else {run.begins: None, run.ends: None}
    before = AudioQueue(cut.n_channels)

    def heard() -> Iterator[Audio]:
        stop = None if wide.stop is None else wide.stop + chain.latency(sig)
        for at, x in _heard(cut, piece, Stretch(first, stop), means):
            before.push(wide.of(x, at))
            yield x

    after = AudioSpool(cut.n_channels, cut.context.spool)
    at = wide.start
    try:
        for y in run_over(chain, state, heard(), first, wide, sig, marks):
            after.write(y)
            with part(MEASURE_CHANGE):
                volume.update(at, y)
                change.update(at, before.take(y.shape[1]), y)
            at += y.shape[1]
    except BaseException:
        after.close()
        raise
    means.kept.drop(("heard", piece.start))  # seldom wanted again, and what is kept may not crowd out other files
    counted = marks[run.begins]
    means.kept.put(("shaped", piece.start), Part(wide.start, after, (shaping.rule, shaping.halvings, counted)))
    return Shaped(Together(volume, change), counted, None if run.ends is None else marks[run.ends])


def _heard(cut: Cut, piece: Stretch, stretch: Stretch, means: Means) -> Iterator[tuple[int, Audio]]:
    """Places and blocks of a stretch around a piece at the job's rate, of which that of the piece may be kept."""
    kept = means.kept.get(("heard", piece.start))
    if kept is None:
        yield from cut.at_job(stretch, means.on_decoded)
        return
    if stretch.start < kept.start:
        yield from cut.at_job(Stretch(stretch.start, kept.start), means.on_decoded)
    yield from kept.blocks(stretch)
    if piece.stop is not None and (stretch.stop is None or stretch.stop > kept.stop):
        yield from cut.at_job(Stretch(kept.stop, stretch.stop), means.on_decoded)


def write(cut: Cut, piece: Stretch, means: Means, shaping: Shaping, gain: Gain, begins: State) -> Written:
    """The final audio of a piece, measured and encoded; `begins` is its `Shaped.begins`."""
    meter = PieceMeter(cut.sr, cut.n_channels, piece, levels_only=True)
    volume = PieceVolume(cut.sr, cut.n_channels, piece)
    wide = union([meter.needs, volume.needs])
    context = cut.context
    chunks: list[list[list[int]]] = [[] for _ in context.job.outputs]
    encoders = []
    for output, into in zip(context.job.outputs, chunks, strict=True):
        sink, chunk = means.sinks.sink(into), piece.start // context.chunk
        encoders.append(context.open_encoder(output, cut.sr, cut.n_channels, context.chunk, cut.track.id, sink, chunk))
    at = wide.start
    for y in _final(cut, shaping, gain, begins, piece, wide, means):
        with part(MEASURE_AFTER):
            meter.update(at, y)
            volume.update(at, y)
        with part(ENCODE):
            for encoder in encoders:
                encoder.write(piece.of(y, at))
        at += y.shape[1]
    with part(ENCODE):
        closed = [encoder.close() for encoder in encoders]
    means.kept.drop(("shaped", piece.start))
    return Written(Together(meter, volume), chunks, [each.n_bytes for each in closed], closed[0].n_samples)


def _final(
    cut: Cut, shaping: Shaping, gain: Gain, begins: State, piece: Stretch, wide: Stretch, means: Means
) -> Iterator[Audio]:
    """A stretch of the final audio: the chain, its gain, and the limiter where it is needed."""
    sig, spec = shaping.signal, cut.context.job.loudness
    limiter = Limiter(ceiling_dbtp=spec.ceiling_dbtp) if spec is not None and gain.limiting_db else None
    leveled = wide
    if limiter is not None:
        first = planned_run(shaping.chain(cut.context.job), piece, sig).begins
        leveled = Stretch(first, None if wide.stop is None else wide.stop + limiter.latency(sig))
    audio = _shaped(cut, shaping, begins, piece, leveled, means)
    if gain.db:
        factor = np.float32(db_to_amplitude(gain.db))
        audio = (factor * y for y in audio)
    if limiter is None:
        return audio
    return run_over(limiter, limiter.initial_state(sig), audio, leveled.start, wide, sig)


def _shaped(
    cut: Cut, shaping: Shaping, begins: State, piece: Stretch, stretch: Stretch, means: Means
) -> Iterator[Audio]:
    """What the chain makes of a stretch around a piece, which may be kept."""
    kept = means.kept.get(("shaped", piece.start))
    if kept is not None and agree(kept.made_from, (shaping.rule, shaping.halvings, begins)):
        return (y for _, y in kept.blocks(stretch))
    sig = shaping.signal
    chain = shaping.chain(cut.context.job)
    first = planned_run(chain, piece, sig).begins
    heard = Stretch(first, None if stretch.stop is None else stretch.stop + chain.latency(sig))
    audio = (x for _, x in _heard(cut, piece, heard, means))
    return run_over(chain, begins, audio, first, stretch, sig)


#: By name, as they are asked for.
PHASES: dict[str, Callable[..., Any]] = {"measure": measure, "shape": shape, "write": write}
