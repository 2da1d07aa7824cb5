"""One long track in pieces that are processed at once: the row and the samples of the track processed whole.

The passes of `corpusdiff.track`, each over all pieces before the next: measure; shape under the guard; set the
loudness, limit, measure again and encode. Between them stand small findings alone, merged in the order of the
pieces. The pieces are planned, so that nothing depends on who processes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from corpusdiff.dsp.levels import usual_levels
from corpusdiff.errors import TrackError
from corpusdiff.finish import Gain, TrackContext, loudness_gain
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track
from corpusdiff.metrics import Change, Measurement
from corpusdiff.pieces.decode import Cut
from corpusdiff.pieces.measure import PieceVolume, merged
from corpusdiff.pieces.phases import Shaped, Shaping, Written
from corpusdiff.pieces.shape import JOIN_S, agree
from corpusdiff.pieces.share import Stretch
from corpusdiff.shape import MAX_HALVINGS
from corpusdiff.stages.base import Signal, State
from corpusdiff.track import rule_values

#: Seconds of a piece at the least.
LEAST_S = 3 * JOIN_S


class Each(Protocol):
    """Runs a phase over pieces, somewhere."""

    def __call__(self, phase: str, pieces: Sequence[tuple[Any, ...]]) -> list[tuple[Any, int]]:
        """Results in order, for the arguments of each piece, with where the stream that it wrote begins in the track's.

        Raises TrackError, OSError.
        """
        ...


def why_whole(job: Job, decoder: str, n_claimed: int | None, sr: int) -> str:
    """Why a track is not cut; "" where it can be."""
    source = job.source
    asked = {
        "source.segment_s": source.segment_s is not None,
        "vad": job.vad is not None,
        "source.speed": source.speed != 1.0,
        "source.tempo": source.tempo != 1.0,
        "an echo reference": source.reference_channel is not None or source.reference_field is not None,
        "source.max_duration_s": source.max_duration_s is not None,
        "source.min_duration_s": n_claimed is not None and source.min_duration_s * sr > n_claimed,
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
        reason = why_whole(context.job, reader.decoder, reader.header_samples, reader.sr)
        if reason:
            return reason
        source = context.job.source
        sr, n_channels = source.sr or reader.sr, source.channels or reader.n_channels
        return Cut(track, context, reader.sr, reader.n_channels, sr, n_channels, reader.header_samples or 0)


def piece_length(cut: Cut, piece_s: float) -> int:
    """Samples of a piece at the job's rate: whole chunks, and more than its run and the next one's share."""
    chunk = cut.context.chunk
    return -(-round(max(piece_s, LEAST_S) * cut.sr) // chunk) * chunk


def in_pieces(track: Track, context: TrackContext, piece_s: float, each: Each) -> dict[str, Any] | None:
    """The row of a track processed in pieces of about `piece_s`; None where it has to be processed whole.

    So is one over a piece of which it fails: then the row says of the whole what is wrong with it. Raises OSError.
    """
    cut = planned(track, context)
    if isinstance(cut, str) or len(cut.pieces(piece_length(cut, piece_s))) < 2:
        return None
    try:
        return process_pieces(cut, piece_length(cut, piece_s), each)
    except TrackError:
        return None


def process_pieces(cut: Cut, length: int, each: Each) -> dict[str, Any]:
    """The row of a track whose streams `each` has put in their place.

    Parameters
    ----------
    cut : from `planned`
    length : samples of a piece at the job's rate, whole chunks
    each : runs a phase over the pieces

    Raises TrackError, OSError.
    """
    job, pieces = cut.context.job, cut.pieces(length)
    meter, levels = merged([found for found, _ in each("measure", [(piece,) for piece in pieces])]).parts
    source: Measurement = meter.finish()
    level_dbfs, peak_level_dbfs = usual_levels(levels.meter.levels_dbfs())
    measured = replace(source.measured, level_dbfs=level_dbfs, peak_level_dbfs=peak_level_dbfs)
    rule = job.rule_for(rule_values(cut.track, {**source.metrics, **source.texts}))
    made = _shaped(job, pieces, Shaping(rule, 0, Signal(cut.sr, cut.n_channels, measured)), each)
    volume, spec = made.volume.finish(), job.loudness
    gain = Gain() if spec is None else loudness_gain(volume.loudness_lufs, volume.true_peak_dbtp, spec)
    starts = [(piece, made.shaping, gain, state) for piece, state in zip(pieces, made.begins, strict=True)]
    written: list[tuple[Written, int]] = each("write", starts)
    after, loud = merged([one.found for one, _ in written]).parts
    found = after.finish(loud.finish() if gain.limiting_db else made.volume.finish(gain.db), made.spectrum)
    outputs = _outputs(job, written)
    metrics = {**source.metrics, **{f"out_{name}": value for name, value in found.metrics.items()}}
    metrics |= {"lsd_db": made.change.lsd_db, "si_sdr_db": made.change.si_sdr_db, "gain_db": gain.db}
    metrics |= {"limiter_db": gain.limiting_db, "encoded_bytes": float(outputs[0]["bytes"])}
    decoded = round(source.metrics["duration_s"] * cut.sr_in)
    metrics["header_diff_s"] = (decoded - cut.n_claimed) / cut.sr_in
    texts = {**source.texts, **{f"out_{name}": value for name, value in found.texts.items()}}
    texts |= {"gain_bounded_by": gain.bounded_by, "guard": made.guard, "guard_by": made.guard_by}
    row: dict[str, Any] = {"id": cut.track.id, "parent": None, "status": "ok", "error": "", "reason": "", "rule": rule}
    row |= {"sr": cut.sr, "n_channels": cut.n_channels, "n_samples": written[-1][0].n_samples}
    return {**row, "start_s": cut.track.offset_s, "metrics": metrics, "texts": texts, "outputs": outputs}


@dataclass(frozen=True)
class _Made:
    """What the chain made of all pieces, and what the guard made of the chain."""

    shaping: Shaping
    begins: list[State]
    volume: PieceVolume
    change: Change
    spectrum: Any
    guard: str = ""
    guard_by: str = ""


def _shaped(job: Job, pieces: list[Stretch], shaping: Shaping, each: Each) -> _Made:
    """As `corpusdiff.shape.shape`, over pieces."""
    first = ""
    for halvings in range(MAX_HALVINGS + 2):
        weaker = replace(shaping, halvings=halvings)
        made = settled(pieces, weaker, each)
        volume, shared = merged([one.found for one in made]).parts
        change = shared.meter.finish()
        passed = _passed(change, job)
        first = first or ",".join(passed)
        if not passed:
            break
    guard = "" if not halvings else "source" if halvings > MAX_HALVINGS else f"halved-{halvings}"
    return _Made(weaker, [one.begins for one in made], volume, change, shared.meter.spectrum, guard, first)


def settled(pieces: list[Stretch], shaping: Shaping, each: Each) -> list[Shaped]:
    """The chain over all pieces, each of them in the state in which the piece before has left it."""
    made: list[Shaped] = [found for found, _ in each("shape", [(piece, shaping) for piece in pieces])]
    while True:
        wrong = [i for i in range(1, len(made)) if not agree(made[i - 1].ends, made[i].begins)]
        now = [i for i in wrong if i - 1 not in wrong]  # the others' beginnings may yet change
        if not now:
            return made
        again = each("shape", [(pieces[i], shaping, made[i - 1].ends) for i in now])
        for i, (found, _) in zip(now, again, strict=True):
            made[i] = found


def _passed(change: Change, job: Job) -> list[str]:
    if job.guard is None:
        return []
    found = {"lsd_db": (change.lsd_db, job.guard.max_lsd_db), "clip_rate": (change.clip_rate, job.guard.max_clip_rate)}
    return [name for name, (value, most) in found.items() if most is not None and value > most]


def _outputs(job: Job, written: list[tuple[Written, int]]) -> list[dict[str, Any]]:
    """What `tracks` says of each output."""
    outputs = []
    for number, output in enumerate(job.outputs):
        chunks = [[i, base + offset, n] for one, base in written for i, offset, n in one.chunks[number]]
        n_bytes = sum(one.n_bytes[number] for one, _ in written)
        place = {"name": output.name, "size": written[-1][0].n_samples, "delay": 0, "bytes": n_bytes}
        outputs.append({**place, "chunks": chunks})
    return outputs
