"""The ``tracks`` tables, derived from the records: prefix sums, then one task per 65 536 rows.

The group's ``zarr.json`` goes first and comes back last, so tables that can be opened are whole. Rows
stand in the order of generation, shard and record, less those that a later generation replaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from corpusdiff.errors import StoreError
from corpusdiff.plan import Plan
from corpusdiff.store.columns import CHUNK_ROWS, Column, encode_column
from corpusdiff.store.commit import committed, committed_now
from corpusdiff.store.generations import Superseded, read_plan, read_record, superseded_in, surviving_rows
from corpusdiff.store.metadata import TRACKS
from corpusdiff.store.objects import Objects, open_objects
from corpusdiff.store.pack import without_crc
from corpusdiff.store.record import RecordHeader, count_rows
from corpusdiff.store.schema import TABLES_KEY, Schema, corpus_columns, parse_schema


@dataclass(frozen=True)
class ShardCount:
    """Rows of a shard that no later generation replaces, by outcome."""

    generation: int
    shard: int
    header: RecordHeader


@dataclass(frozen=True)
class Stretch:
    """Surviving rows ``first`` up to ``stop`` of one shard."""

    generation: int
    shard: int
    first: int
    stop: int


@dataclass(frozen=True)
class TableTask:
    """One chunk of every column.

    Parameters
    ----------
    out : the corpus
    plans : digests of the plans of all generations
    index : of the chunk
    columns : to write
    stretches : where its rows come from, in order
    """

    out: str
    plans: tuple[str, ...]
    index: int
    columns: tuple[Column, ...]
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class FinaliseReport:
    """Rows of the tables by outcome, and whether the tables had to be written."""

    n_ok: int
    n_failed: int
    n_filtered: int
    written: bool

    @property
    def n_rows(self) -> int:
        """Rows of all outcomes."""
        return self.n_ok + self.n_failed + self.n_filtered


#: Runs the tasks and yields their results in any order; ``map`` is the reference.
Apply: TypeAlias = Callable[[Callable[[TableTask], int], Sequence[TableTask]], Iterable[int]]


def finalise(objects: Objects, plans: Sequence[Plan], apply: Apply = map) -> FinaliseReport:
    """Write the tables of all generations, unless they are there.

    Raises StoreError where a shard of a plan is not committed.
    """
    counts = count_shards(objects, plans)
    schema, tasks = plan_tables(objects.location, plans, counts)
    stale = objects.size(TABLES_KEY) is not None  # looked at first: what another driver finishes later is right
    report = FinaliseReport(
        n_ok=sum(shard.header.n_ok for shard in counts),
        n_failed=sum(shard.header.n_failed for shard in counts),
        n_filtered=sum(shard.header.n_filtered for shard in counts),
        written=not _up_to_date(objects, schema),
    )
    if not report.written:
        return report
    if stale:
        objects.delete(TABLES_KEY)
    for _ in apply(write_table_chunk, tasks):
        pass
    files = schema.files()
    for key, data in files.items():
        objects.replace(key, data)
    wanted = files.keys() | chunk_keys(schema)
    for key in list(objects.list(TRACKS)):
        if key not in wanted:
            objects.delete(key)
    objects.replace(TABLES_KEY, schema.metadata())
    return report


def count_shards(objects: Objects, plans: Sequence[Plan]) -> list[ShardCount]:
    """Surviving rows of every shard, in the tables' order. Raises StoreError for a missing record."""
    counts = []
    for plan in plans:
        headers = committed(objects, plan)
        missing = [shard for shard in range(plan.n_shards) if shard not in headers]
        for shard in missing:
            header = committed_now(objects, plan, shard)
            if header is None:
                raise StoreError(
                    f"{objects.location}: {len(missing)} of {plan.n_shards} shards are not committed (first: "
                    f"{shard}): run the same command again to finish them"
                )
            headers[shard] = header
        superseded = superseded_in(objects, plans, plan.generation)
        for shard in range(plan.n_shards):
            if superseded is not None:
                headers[shard] = count_rows(surviving_rows(read_record(objects, plan, shard), superseded))
            counts.append(ShardCount(plan.generation, shard, headers[shard]))
    return counts


def is_final(objects: Objects, plans: Sequence[Plan]) -> bool:
    """Whether the tables are there and cover all these generations."""
    try:
        schema = parse_schema(objects.read(TABLES_KEY))
    except (FileNotFoundError, StoreError):
        return False
    return schema.jobs == tuple(plan.job_digest for plan in plans)


def plan_tables(
    out: str, plans: Sequence[Plan], counts: Sequence[ShardCount], columns: tuple[Column, ...] | None = None
) -> tuple[Schema, list[TableTask]]:
    """The tables' schema and the tasks that write them.

    `columns` are those of tables that are there, this release's when None.
    """
    columns = corpus_columns(plans) if columns is None else columns
    n_rows = sum(shard.header.n_rows for shard in counts)
    schema = Schema(tuple(plan.job_digest for plan in plans), n_rows, columns)
    chunks = _stretches((shard.generation, shard.shard, shard.header.n_rows) for shard in counts)
    digests = tuple(plan.digest for plan in plans)
    tasks = [TableTask(out, digests, index, columns, chunk) for index, chunk in enumerate(chunks)]
    return schema, tasks


def write_table_chunk(task: TableTask) -> int:
    """Write one chunk of every column; the number of its rows."""
    objects = open_objects(task.out, write=False)
    encoded = table_chunk(objects, task)
    for key, data in encoded.items():
        objects.replace(key, data)
    return sum(stretch.stop - stretch.first for stretch in task.stretches)


def table_chunk(objects: Objects, task: TableTask) -> dict[str, bytes]:
    """The bytes of one chunk of every column, by key."""
    values: list[list[Any]] = [[] for _ in task.columns]
    for rows in _rows(objects, task):
        for column, into in zip(task.columns, values, strict=True):
            into.extend(column.values(rows))
    return {
        column.chunk_key(task.index): encode_column(into, column.dtype)
        for column, into in zip(task.columns, values, strict=True)
    }


def chunk_keys(schema: Schema) -> set[str]:
    """Keys of all chunks of all columns."""
    return {column.chunk_key(index) for column in schema.columns for index in range(schema.n_chunks)}


def _stretches(counts: Iterable[tuple[int, int, int]]) -> list[tuple[Stretch, ...]]:
    """Cut the rows of all shards into chunks.

    >>> [len(chunk) for chunk in _stretches([(0, 0, 65535), (0, 1, 0), (0, 2, 70000)])]
    [2, 1, 1]
    """
    chunks: list[list[Stretch]] = []
    room = 0
    for generation, shard, n_rows in counts:
        first = 0
        while first < n_rows:
            if room == 0:
                chunks.append([])
                room = CHUNK_ROWS
            stop = min(n_rows, first + room)
            chunks[-1].append(Stretch(generation, shard, first, stop))
            room -= stop - first
            first = stop
    return [tuple(chunk) for chunk in chunks]


def _rows(objects: Objects, task: TableTask) -> Iterator[list[Mapping[str, Any]]]:
    """The rows of each stretch."""
    for stretch in task.stretches:
        generation = stretch.generation
        plan, superseded = _known(task.out, task.plans, generation)
        record = read_record(objects, plan, stretch.shard)
        yield surviving_rows(record, superseded)[stretch.first : stretch.stop]


@lru_cache(maxsize=4)
def _known(out: str, digests: tuple[str, ...], generation: int) -> tuple[Plan, Superseded | None]:
    """The plan of a generation, and what later ones replace of it: read once for all chunks."""
    objects = open_objects(out, write=False)
    plans = [read_plan(objects, number) for number in range(len(digests))]
    if tuple(plan.digest for plan in plans) != digests:
        raise StoreError(f"{out}: it was planned again meanwhile: give the command again")
    return plans[generation], superseded_in(objects, plans, generation)


def _up_to_date(objects: Objects, schema: Schema) -> bool:
    """Whether the tables are there and undamaged; records never change, so then they are right."""
    files = {TABLES_KEY: schema.metadata(), **schema.files()}
    if any(objects.size(key) != len(data) or objects.read(key) != data for key, data in files.items()):
        return False
    return all(_intact(objects, key) for key in chunk_keys(schema))


def _intact(objects: Objects, key: str) -> bool:
    try:
        without_crc(objects.read(key))
    except (FileNotFoundError, ValueError):
        return False
    return True
