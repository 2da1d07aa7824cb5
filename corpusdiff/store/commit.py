"""The commit of a shard: its objects, then its record, each create-only.

Any number of workers may commit the same shard at once, be killed at any moment and start again:

- an object that is there already is adopted only if its sha256 equals what this worker built;
  otherwise the whole shard goes to its next attempt row;
- the record comes last, and a record that is already there wins. What no record names is an orphan.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from corpusdiff.errors import StoreError
from corpusdiff.plan import Plan
from corpusdiff.store.arrange import Arranged, arrange
from corpusdiff.store.layout import ATTEMPTS, foretold_layouts
from corpusdiff.store.metadata import create_groups, create_metadata
from corpusdiff.store.objects import Objects, blocks, concurrently
from corpusdiff.store.record import (
    HEADER_BYTES,
    ObjectEntry,
    Record,
    RecordHeader,
    dump_record,
    parse_header,
    parse_record,
    record_key,
)

#: Requests for a header at once, in terms of those for whole objects: they are answered as soon as they are heard.
_HEADERS_TIMES = 4


@dataclass(frozen=True)
class CommitReport:
    """What became of a commit.

    Parameters
    ----------
    attempt : attempt row of the record that is there now, 0 to 3
    duplicate : another worker's equal record was there first
    differing : another worker's record of other rows or bytes was there first, and stays
    header : counts of the record that is there now
    """

    attempt: int
    duplicate: bool
    differing: bool
    header: RecordHeader


def commit_shard(
    objects: Objects,
    plan: Plan,
    shard: int,
    rows: Iterable[Mapping[str, Any]],
    spool: str,
    run: Mapping[str, Any],
) -> CommitReport:
    """Publish a shard, or find that it is published.

    Parameters
    ----------
    objects : the store
    plan : the plan
    shard : index of the shard
    rows : one per outcome, as ``arrange`` takes them
    spool : path of the file with the encoded chunks; may be read several times
    run : JSON-able notes on the run (host, CPU seconds); in no digest

    Raises StoreError when the store cannot be written, or when all attempt rows hold other audio.
    """
    arranged = arrange(plan, rows, spool)
    key = record_key(plan.digest, shard)
    if objects.size(key) is not None:
        return _settled(objects, plan, key, arranged)
    _make_arrays(objects, plan, arranged)
    for attempt in range(ATTEMPTS):
        row = attempt * plan.n_shards + shard
        if _write(objects, arranged, row):
            record = _record(plan.digest, shard, row, arranged, {**run, "attempt": attempt})
            if objects.create(key, dump_record(record)):
                return CommitReport(attempt, duplicate=False, differing=False, header=record.header())
            return _settled(objects, plan, key, arranged)
    raise StoreError(
        f"{objects.location}: shard {shard}: all {ATTEMPTS} rows kept for it hold other audio: processing is "
        "not deterministic here; run corpusdiff verify --gc, then use one kind of machine or --portable"
    )


def is_committed(objects: Objects, plan: Plan, shard: int) -> bool:
    """Whether the shard's record is there."""
    return objects.size(record_key(plan.digest, shard)) is not None


def committed(objects: Objects, plan: Plan) -> dict[int, RecordHeader]:
    """Counts of the committed shards, by shard. Raises StoreError for a damaged header."""
    names = (key.rpartition("/")[2] for key in objects.list(f"commits/{plan.digest}"))
    shards = sorted(int(name) for name in names if name.isdecimal() and int(name) < plan.n_shards)
    headers = concurrently(objects, lambda shard: _header(objects, plan, shard), shards, times=_HEADERS_TIMES)
    return dict(zip(shards, headers, strict=True))


def committed_now(objects: Objects, plan: Plan, shard: int) -> RecordHeader | None:
    """Counts of one shard, None where it is not committed: asks for the record itself, for a listing can be old."""
    try:
        return _header(objects, plan, shard)
    except FileNotFoundError:
        return None


def _header(objects: Objects, plan: Plan, shard: int) -> RecordHeader:
    key = record_key(plan.digest, shard)
    return parse_header(objects.read_range(key, 0, HEADER_BYTES), key)


def _make_arrays(objects: Objects, plan: Plan, arranged: Arranged) -> None:
    """Make the arrays that the plan foretold, and those that it did not.

    What this process has made it only looks for: a corpus may be deleted and made again under workers that live on.
    """
    for layout in {layout.metadata_key: layout for layout in (*foretold_layouts(plan), *arranged.layouts)}.values():
        made = (objects.location, layout.metadata_key, layout.metadata())
        if made not in _made or objects.size(layout.metadata_key) is None:
            create_groups(objects)
            create_metadata(objects, layout.metadata_key, layout.metadata())
            _made.add(made)


#: Arrays that this process has made or found, by place, key and metadata.
_made: set[tuple[str, str, bytes]] = set()


def _write(objects: Objects, arranged: Arranged, row: int) -> bool:
    """Write or adopt all objects at `row`; False as soon as one there is not ours."""
    wanted = arranged.objects_at(row)
    for key, packed in wanted.items():
        if not objects.create(key, packed.blocks()):
            built = packed.finished()
            if objects.size(key) != built.size or _sha256(objects, key) != built.sha256:
                return False
    # An object where ours has only silence would be heard: that row belongs to a writer that differs.
    there = (key for layout in arranged.layouts for key in objects.list(layout.row_folder(row)))
    return all(key in wanted for key in there)


def _record(plan: str, shard: int, row: int, arranged: Arranged, run: Mapping[str, Any]) -> Record:
    entries = [
        ObjectEntry(key, built.size, built.sha256, built.table)
        for key, packed in arranged.objects_at(row).items()
        if (built := packed.finished())
    ]
    return Record(plan, shard, row, arranged.rows_at(row), entries, run)


def _settled(objects: Objects, plan: Plan, key: str, arranged: Arranged) -> CommitReport:
    """The report where a record is there already."""
    theirs = parse_record(objects.read(key), key)
    ours = _record(plan.digest, theirs.shard, theirs.row, arranged, {})
    equal = ours.same_result(theirs)
    return CommitReport(theirs.row // plan.n_shards, equal, not equal, theirs.header())


def _sha256(objects: Objects, key: str) -> str:
    digest = hashlib.sha256()
    for block in blocks(objects, key):
        digest.update(block)
    return digest.hexdigest()
