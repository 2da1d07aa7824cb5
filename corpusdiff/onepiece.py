"""One phase over one piece of a long track."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from corpusdiff.costs import STORE, part
from corpusdiff.errors import TrackError
from corpusdiff.isolate import own_child
from corpusdiff.shardwork import PORTABLE, StreamsFile, plan_of, tracks_of, tried
from corpusdiff.spread import PieceReport, PieceTask, failed_as, stage
from corpusdiff.store.objects import open_objects


def one_by_one(tasks: Sequence[PieceTask]) -> Generator[tuple[int, PieceReport], None, None]:
    """Pieces one after the other, here."""
    for number, task in enumerate(tasks):
        yield number, run_piece(task, "piece")


def run_piece(task: PieceTask, role: str = "") -> PieceReport:
    """One phase over one piece of a track, by this thread's child for a role.

    Raises StoreError or OSError for trouble that the track is not to blame for.
    """
    shard = task.shard
    plan = plan_of(shard)
    objects = open_objects(shard.out, write=False)
    track = tracks_of(shard, plan)[task.number]
    with StreamsFile(shard.options.spool) as streams:
        child = own_child(shard.options, PORTABLE if plan.portable else {}, role)
        child.configure(plan.job, plan.root, plan.chunk, streams.path)
        try:
            result, streams.end, cpu_s = tried(
                lambda: child.piece(track, task.phase, task.arguments, lambda _seconds: None), track, plan.root
            )
        except TrackError as error:
            return failed_as(error)
        with part(STORE):
            staged = stage(objects, shard, streams.read) if streams.end else ""
    return PieceReport(result, staged, cpu_s=cpu_s, costs=dict(child.taken_costs()))
