"""What the workers of a run do: shards, and before there are any, the headers of batches of files.

A batch goes to a worker as compressed JSON of what its headers are found by, and comes back as three numbers for each:
few bytes, so that a scheduler holds batches for a thousand workers with ease.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice

from corpusdiff.manifests.base import Track
from corpusdiff.probing import probe_many
from corpusdiff.process import run_shard
from corpusdiff.runner import Runner, StopFlag
from corpusdiff.shards import Progress, RunOptions, ShardReport, ShardTask

#: Files whose headers one task reads.
BATCH = 1024

#: So many are read here before workers are asked for: most corpora are planned by then.
READ_HERE = 20_000

#: What a header is found by.
_SENT = ("id", "path", "size", "version", "inside")


@dataclass(frozen=True)
class ProbeTask(ShardTask):
    """Headers to read; `shard` is the number of the batch.

    Parameters
    ----------
    root : what the tracks' paths are relative to
    packed : the tracks
    """

    root: str = ""
    packed: bytes = b""


@dataclass(frozen=True)
class ProbeReport(ShardReport):
    """What they claim: rate, channels and samples of each track in their order, None for what is unknown."""

    claims: tuple[tuple[int | None, int | None, int | None], ...] = ()


def do_errand(task: ShardTask, on_progress: Callable[[Progress], None]) -> ShardReport:
    """Whatever a run asks of a worker. Raises as `run_shard`, CorpusdiffError where headers cannot be read."""
    return probe_batch(task, on_progress) if isinstance(task, ProbeTask) else run_shard(task, on_progress)


def probe_batch(task: ProbeTask, on_progress: Callable[[Progress], None]) -> ProbeReport:
    """Read the headers of one batch."""
    tracks = [Track(**dict(zip(_SENT, row, strict=True))) for row in json.loads(zlib.decompress(task.packed))]
    claims = []
    for track in probe_many(iter(tracks), task.root, 1, task.options):
        claims.append((track.header_sr, track.header_channels, track.header_samples))
        on_progress(Progress(task.shard, len(claims), 0, 0.0))
    return ProbeReport(
        shard=task.shard, n_ok=len(claims), n_failed=0, n_filtered=0, seconds=0.0, reasons={}, examples=(), cpu_s=0.0,
        wall_s=0.0, attempt=0, duplicate=False, differing=False, claims=tuple(claims),
    )  # fmt: skip


def probe_on_workers(
    tracks: Iterator[Track], root: str, options: RunOptions, runner: Callable[[], Runner], stop: StopFlag
) -> Iterator[Track]:
    """Tracks in their order with what their headers claim, as `probe_many` gives them.

    `runner` is called where there are more than `READ_HERE`. Batches that came back before their turn wait in memory:
    as many as are in flight.
    """
    first = list(islice(tracks, READ_HERE))
    yield from probe_many(iter(first), root, 1, options)
    following = next(tracks, None)
    if following is None:
        return
    sent: dict[int, Sequence[Track]] = {}
    back: dict[int, ProbeReport] = {}
    turn = 0
    tasks = _tasks(chain([following], tracks), root, options, sent)
    with closing(runner().run(tasks, lambda _: None, stop)) as reports:
        for report in reports:
            assert isinstance(report, ProbeReport)
            back[report.shard] = report
            while turn in back:
                claims = back.pop(turn).claims
                for track, claim in zip(sent.pop(turn), claims, strict=True):
                    yield replace(track, header_sr=claim[0], header_channels=claim[1], header_samples=claim[2])
                turn += 1


def _tasks(
    tracks: Iterator[Track], root: str, options: RunOptions, sent: dict[int, Sequence[Track]]
) -> Iterator[ProbeTask]:
    """Batches of tracks; each is kept in `sent` until it is back."""
    batches = iter(lambda: list(islice(tracks, BATCH)), [])
    for number, batch in enumerate(batches):
        sent[number] = batch
        rows = [[getattr(track, name) for name in _SENT] for track in batch]
        yield ProbeTask("", 0, "", number, options, root=root, packed=zlib.compress(json.dumps(rows).encode()))
