"""An export from its request to its end: parts on a cluster, then an index of them all.

How far it has come is noted in ``DEST.export`` beside DEST, which goes when all is done: the same command goes on.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace

import numpy as np

from corpusdiff.cluster import check_spec, connect
from corpusdiff.cluster.options import NO_OPTIONS, ClusterOptions
from corpusdiff.display import Monitor, open_display
from corpusdiff.encode.tags import has_tags
from corpusdiff.errors import UsageError
from corpusdiff.export.kinds import KINDS, Row
from corpusdiff.export.part import ExportTask, chosen_rows, export_part, part_key
from corpusdiff.export.sample import NO_TAGS, stem
from corpusdiff.export.sources import Sources
from corpusdiff.export.videos import check_job
from corpusdiff.progress import Tally, Totals
from corpusdiff.runner import StopFlag
from corpusdiff.shards import ShardReport
from corpusdiff.store.generations import plan_key
from corpusdiff.store.objects import Objects, open_objects
from corpusdiff.store.read import Corpus

_REQUEST = "request.json"

#: Parts of an export whose files do not depend on them, so that all workers have something to do.
_LEAST_PARTS = 64


@dataclass(frozen=True)
class ExportRequest:
    """What the user asked for; the command line's options under their own names.

    Parameters
    ----------
    out : the corpus
    dest : folder or URL to write to; it must be empty, or hold this very export unfinished
    to : name of one of `corpusdiff.export.kinds.KINDS`
    where : only rows for which this holds
    output : which of the job's outputs; None for the first
    per_part : tracks of one tar or one Parquet file, and at most so many of one task
    cluster, cluster_options : where to run, and on what workers
    as_json : events as JSON lines on standard output
    quiet : say nothing but errors

    Raises UsageError for another kind.
    """

    out: str
    dest: str
    to: str
    where: str | None = None
    output: str | None = None
    per_part: int = 1000
    cluster: str = "local"
    cluster_options: ClusterOptions = NO_OPTIONS
    as_json: bool = False
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.to not in KINDS:
            raise UsageError(f"--to {self.to}: expected one of {', '.join(KINDS)}")
        check_spec(self.cluster, self.cluster_options)


def export(request: ExportRequest) -> dict[str, object]:
    """Carry out an export, or go on with it; what came of it, for people and programs. Raises CorpusdiffError."""
    corpus = Corpus(request.out)
    if request.output is not None and request.output not in corpus.outputs:
        raise UsageError(f"--output {request.output}: this corpus has {', '.join(corpus.outputs)}")
    found = chosen_rows(corpus, request.where)
    if not len(found):
        raise UsageError(f"{request.out}: no row is ok" + (f" and fulfils {request.where}" if request.where else ""))
    dest, state = open_objects(request.dest), open_objects(f"{request.dest.rstrip('/')}.export")
    kind = KINDS[request.to]
    if kind.of_source:
        for plan in Sources(request.out).plans:
            check_job(plan)
    tags = kind.tags and has_tags()
    _begin(request, corpus, dest, state, tags=tags)
    step = request.per_part if kind.packed else min(request.per_part, -(-len(found) // _LEAST_PARTS))
    edges = [*(int(found[i]) for i in range(0, len(found), step)), len(corpus)]
    task = ExportTask(
        out=open_objects(request.out, write=False).location, generation=0, plan_digest="", shard=0, dest=dest.location,
        state=state.location, kind=request.to, where=request.where, output=request.output,
        whole_id=_collide(corpus, found), n_parts=len(edges) - 1,
        columns={column.source: column.type for column in corpus.columns if column.kind == "field"},
        tags=tags,
    )  # fmt: skip
    tasks = (replace(task, shard=i, rows=(edges[i], edges[i + 1])) for i in range(len(edges) - 1))
    tally = _run(request, tasks, task.out, len(found), len(edges) - 1)
    if kind.index is not None:
        for key, data in kind.index(lambda: _all_rows(state, len(edges) - 1), dest.location):
            dest.replace(key, data)
    told = _told_of_tags(_all_rows(state, len(edges) - 1), tags=tags) if kind.tags else {}
    for part in ("parts", "events"):
        state.delete_all(part)
    state.delete(_REQUEST)
    state.sweep()
    state.remove_empty()
    dest.delete_all(".tmp")
    return {
        "dest": dest.location, "to": request.to, "tracks": len(found), "left_out": len(corpus) - len(found),
        "parts": len(edges) - 1, "hours": round(tally.seconds / 3600, 3), **told,
    }  # fmt: skip


def _told_of_tags(rows: Iterator[Row], *, tags: bool) -> dict[str, object]:
    """What there is to say of the tags of files: nothing where all have theirs."""
    if not tags:
        return {"tags": "none: pip install 'corpusdiff[tags]' to keep those of the sources"}
    without = sum(NO_TAGS in row["corpusdiff"] for row in rows)
    return {"without_tags": without} if without else {}


def _begin(request: ExportRequest, corpus: Corpus, dest: Objects, state: Objects, *, tags: bool) -> None:
    """Take note of what is asked, or find that it is what was asked before. Raises UsageError."""
    asked = {name: value for name, value in asdict(request).items() if name in _ASKED}
    asked |= {"digest": corpus.digest, "tags": tags}
    text = json.dumps(asked, sort_keys=True).encode()
    if state.create(_REQUEST, text):
        there = next((key for key in dest.list("") if not key.startswith(".tmp")), None)
        if there is not None:
            state.delete(_REQUEST)
            state.remove_empty()
            raise UsageError(f"{request.dest} is not empty ({there}): give a DEST of its own to an export")
    elif state.read(_REQUEST) != text:
        before = json.loads(state.read(_REQUEST))
        differing = ", ".join(f"{name} {before.get(name)!r}" for name in asked if before.get(name) != asked[name])
        raise UsageError(
            f"{request.dest}: an unfinished export is there, made with {differing}: give the same command, another "
            f"DEST, or delete {request.dest} and {state.location}"
        )


_ASKED = ("to", "where", "output", "per_part")


def _run(request: ExportRequest, tasks: Iterator[ExportTask], source: str, n_tracks: int, n_parts: int) -> Tally:
    stop = StopFlag()
    with open_display(as_json=request.as_json, quiet=request.quiet) as display:
        tally = Tally(Totals(tracks=n_tracks, shards=n_parts), time.monotonic())
        monitor = Monitor(tally, [display])
        options = replace(
            request.cluster_options,
            must_reach=(f"{source}/{plan_key(0)}",),
        )
        where = connect(request.cluster, export_part, options, display.note)
        with stop.on_signals(), where as runner, closing(runner.run(tasks, monitor.on_progress, stop)) as reports:
            for report in reports:
                assert isinstance(report, ShardReport)
                monitor.on_report(report)
        monitor.finish()
    return tally


def _collide(corpus: Corpus, rows: np.ndarray) -> bool:
    """Whether two ids differ in their extension only: then file names keep it. Eight bytes an id."""
    ids = corpus.column("id")
    hashes = np.fromiter((_hash(stem(ids[i])) for i in rows), np.uint64, len(rows))
    return len(np.unique(hashes)) < len(hashes)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _all_rows(state: Objects, n_parts: int) -> Iterator[Row]:
    for number in range(n_parts):
        for line in state.read(part_key(number)).splitlines():
            yield json.loads(line)
