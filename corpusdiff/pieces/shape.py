"""A chain over one piece of a track, begun some time before it, and where that gives what the whole would have given.

Most stages forget: begun half a minute early, from nothing, they come to be in the state in which the run over the
whole track is, bit for bit. Which do, and where, is not assumed: the run over the piece before goes on into this one,
and if its state there is another than the one that this piece came to, the piece is run again from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from corpusdiff.pieces.share import Stretch
from corpusdiff.stages.base import Audio, Signal, Stage, State
from corpusdiff.stages.chain import Chain

#: For so long before it is compared with another a stage has heard the track, in seconds.
WARM_S = 90.0

#: So long before a piece its run is compared with that of the piece before, in seconds: what follows the chain, the
#: meters and the limiter, hears that much more of it than the piece.
JOIN_S = 4.0


@dataclass(frozen=True)
class Run:
    """What has to be run for a piece.

    Parameters
    ----------
    first : sample with which it begins, from nothing
    begins : sample from which on it counts
    ends : sample from which on the next piece's run counts; None for the last piece
    """

    first: int
    begins: int
    ends: int | None


def planned_run(chain: Chain, piece: Stretch, sig: Signal) -> Run:
    """Where the run over a piece begins, is compared, and is compared again."""
    join, warm = round(JOIN_S * sig.sr), round(WARM_S * sig.sr)
    begins = max(0, piece.start - join)
    grid = chain.period(sig)
    first = max(0, begins - warm) // grid * grid
    return Run(first, begins, None if piece.stop is None else max(0, piece.stop - join))


def run_over(
    stage: Stage,
    state: State,
    blocks: Iterable[Audio],
    first: int,
    wanted: Stretch,
    sig: Signal,
    marks: dict[int, State] | None = None,
) -> Iterator[Audio]:
    """The samples `wanted` of what a stage makes of a track; any blocks give the same.

    Parameters
    ----------
    stage, state : the state before sample `first`
    blocks : consecutive (n_channels, n) float32 from `first` on, to the stage's latency after what is wanted, or fewer
        where the track ends before
    wanted : of the output, latency taken out
    sig : rate, channels and what the first pass found
    marks : places, at each of which the state is put there
    """
    marks = {} if marks is None else marks
    late = stage.latency(sig)
    out = Stretch(wanted.start + late, None if wanted.stop is None else wanted.stop + late)
    at = first
    for block in blocks:
        for x in _parted(block, at, marks):
            if at in marks:
                marks[at] = state
            y, state = stage.step(x, state, sig)
            kept = out.of(y, at)
            at += x.shape[1]
            if kept.shape[1]:
                yield kept
    if at in marks:
        marks[at] = state
    if out.stop is None or at < out.stop:  # the track has ended
        kept = out.of(stage.flush(state, sig), at)
        if kept.shape[1]:
            yield kept


def _parted(block: Audio, at: int, places: Iterable[int]) -> Iterator[Audio]:
    """The block in parts that end where a place is."""
    cuts = sorted({place - at for place in places if at < place < at + block.shape[1]})
    for start, stop in zip([0, *cuts], [*cuts, block.shape[1]], strict=True):
        yield block[:, start:stop]


def agree(one: Any, other: Any) -> bool:
    """Whether two states are the same, to the last bit.

    >>> agree((1, np.zeros(2)), (1, np.zeros(2))), agree((1, np.zeros(2)), (1, np.ones(2)))
    (True, False)
    """
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(agree, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(agree(value, other[key]) for key, value in one.items())
    if is_dataclass(one):
        return all(agree(getattr(one, item.name), getattr(other, item.name)) for item in fields(one))
    return bool(one == other)
