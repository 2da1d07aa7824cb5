"""The phases of a long track over its pieces, wherever there is room, and what they wrote in its place.

A piece's findings travel as bytes that only processes look into that decode. What it encodes is put into the corpus's
place under a name of its own, create-only, until the track is committed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from corpusdiff.errors import TrackError
from corpusdiff.shards import ShardTask
from corpusdiff.store.layout import STAGED
from corpusdiff.store.objects import Objects, blocks

#: Phases that a track has where nothing is done twice.
N_PHASES = 3.0


@dataclass(frozen=True)
class PieceTask:
    """One phase over one piece.

    Parameters
    ----------
    shard : of the track
    number : of the track in the shard
    phase : name of the phase
    arguments : packed
    where : worker that had the same piece in the phase before, and may have kept what it will want again; "" for none
    """

    shard: ShardTask
    number: int
    phase: str
    arguments: bytes
    where: str = ""


@dataclass(frozen=True)
class PieceReport:
    """What became of it.

    Parameters
    ----------
    result : packed; empty where it failed
    staged : key of what it encoded, "" for nothing
    failed : reason and words of a failure of the track
    cpu_s : CPU seconds that it took
    where : worker that had it; "" for this process
    costs : CPU seconds by part; empty where nobody asked
    """

    result: bytes
    staged: str = ""
    failed: tuple[str, str] | None = None
    cpu_s: float = 0.0
    where: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)


#: The number of each task and its report, in the order in which they end. Closed early, it drops the rest.
MapPieces: TypeAlias = Callable[[Sequence[PieceTask]], Generator[tuple[int, PieceReport], None, None]]

_map: ContextVar[MapPieces | None] = ContextVar("corpusdiff_map_pieces", default=None)


@contextmanager
def mapped_by(map_pieces: MapPieces) -> Iterator[None]:
    """Pieces of tracks that are processed in the block are run by `map_pieces`."""
    token = _map.set(map_pieces)
    try:
        yield
    finally:
        _map.reset(token)


class Streams(Protocol):
    """Where a shard's streams lie, one after the other."""

    def append(self, parts: Iterator[bytes]) -> int:
        """Add to them; where the addition begins."""
        ...


class Spread:
    """Runs phases over the pieces of one track.

    Parameters
    ----------
    task, number : the track's shard, and its number in it
    objects : the store
    streams : take what the pieces encode
    one_by_one : runs pieces where nobody else does
    on_done : hears which share of the work is done
    """

    def __init__(
        self,
        task: ShardTask,
        number: int,
        objects: Objects,
        streams: Streams,
        one_by_one: MapPieces,
        on_done: Callable[[float], None],
    ) -> None:
        self._task = task
        self._number = number
        self._objects = objects
        self._streams = streams
        self._map = _map.get() or one_by_one
        self._on_done = on_done
        self._n_phases = 0
        self._staged: list[str] = []
        self._where: dict[int, str] = {}
        self.cpu_s = 0.0
        self.costs: Counter[str] = Counter()

    def __call__(self, phase: str, pieces: Sequence[tuple[int, bytes]]) -> Iterator[Mapping[str, Any]]:
        """Answers for the process that asks: each piece's packed result and where what it wrote lies, as they end.

        The last one says why where the track has failed. Raises OSError and StoreError for trouble that it is not to
        blame for.
        """
        tasks = [
            PieceTask(self._task, self._number, phase, arguments, self._where.get(start, ""))
            for start, arguments in pieces
        ]
        n_done = 0
        with closing(self._map(tasks)) as ending:
            for place, report in ending:
                self.cpu_s += report.cpu_s
                self.costs.update(report.costs)
                if report.failed is not None:
                    reason, error = report.failed
                    yield {"failed": {"reason": reason, "error": error}}
                    return
                self._where[pieces[place][0]] = report.where
                yield {"place": place, "data": report.result, "base": self._placed(report.staged)}
                n_done += 1
                self._on_done(min(self._n_phases + n_done / len(pieces), N_PHASES) / N_PHASES)
        self._n_phases += 1

    def clear(self) -> None:
        """Delete what the pieces staged, once the track is committed."""
        for key in self._staged:
            self._objects.delete(key)

    def _placed(self, key: str) -> int:
        if not key:
            return 0
        self._staged.append(key)
        return self._streams.append(blocks(self._objects, key))


def stage(objects: Objects, task: ShardTask, parts: Callable[[], Iterator[bytes]]) -> str:
    """Put what a piece has encoded into the store, under its digest; its key. Nothing is changed that is there."""
    digest = hashlib.sha256()
    for block in parts():
        digest.update(block)
    key = f"{STAGED}/{task.plan_digest}/{task.shard}/{digest.hexdigest()}"
    objects.create(key, parts())
    return key


def failed_as(error: TrackError) -> PieceReport:
    """The report of a piece over which the track failed."""
    return PieceReport(b"", failed=(error.reason, str(error)))
