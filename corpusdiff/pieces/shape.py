"""A stage over one piece of a track, with the samples that it would have over the whole, within 1e-6."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from corpusdiff.errors import ParameterError
from corpusdiff.pieces.share import Stretch
from corpusdiff.stages.base import Audio, Signal, Stage, warm_up


def needed(stage: Stage, piece: Stretch, sig: Signal) -> Stretch:
    """What of the track the stage has to hear for a piece: its warm-up before it, and its latency after it.

    Parameters
    ----------
    stage : one whose past is bounded, a chain for instance
    piece : what is wanted of its output, latency taken out
    sig : rate, channels and what the first pass found

    Raises
    ------
    ParameterError : nothing bounds what the stage remembers
    """
    bound = warm_up(stage, sig)
    if bound is None:
        raise ParameterError("stage", f"{stage.name} remembers all that it has heard: it cannot be run over pieces")
    latency = stage.latency(sig)
    start = max(0, piece.start + latency - bound.memory) // bound.grid * bound.grid
    return Stretch(min(start, piece.start // bound.grid * bound.grid), piece.stop and piece.stop + latency)


def run_piece(
    stage: Stage, blocks: Callable[[Stretch], Iterable[Audio]], piece: Stretch, sig: Signal
) -> Iterator[Audio]:
    """The samples of a piece of what a stage makes of a track; any blocks give the same.

    Parameters
    ----------
    stage, piece, sig : as for `needed`
    blocks : consecutive blocks (n_channels, n) float32 of a stretch of the track; fewer where the track ends in it

    Raises
    ------
    ParameterError : nothing bounds what the stage remembers
    """
    heard = needed(stage, piece, sig)
    # the stage's output runs late: what is wanted of it, counted as its input is
    late = stage.latency(sig)
    wanted = Stretch(piece.start + late, piece.stop and piece.stop + late)
    state = stage.initial_state(sig)
    at = heard.start
    for x in blocks(heard):
        y, state = stage.step(x, state, sig)
        kept = wanted.of(y, at)
        at += x.shape[1]
        if kept.shape[1]:
            yield kept
    if wanted.stop is None or at < wanted.stop:  # the track has ended
        kept = wanted.of(stage.flush(state, sig), at)
        if kept.shape[1]:
            yield kept
