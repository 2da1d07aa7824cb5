"""What ``verify`` asks of each part of a corpus. Every check yields the problems it finds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np

from corpusdiff.errors import StoreError
from corpusdiff.plan import Plan
from corpusdiff.store.columns import decode_column
from corpusdiff.store.finalise import TableTask, table_chunk
from corpusdiff.store.generations import manifest_of, plan_key, read_plan
from corpusdiff.store.layout import ATTEMPTS
from corpusdiff.store.objects import Objects, blocks
from corpusdiff.store.pack import CRC_BYTES, without_crc
from corpusdiff.store.record import ObjectEntry, Record, record_key


@dataclass(frozen=True)
class Problem:
    """Something wrong with one object.

    Parameters
    ----------
    key : of the object, relative to OUT
    what : is wrong with it
    """

    key: str
    what: str


def check_plan(objects: Objects, generation: int) -> tuple[Plan | None, list[Problem]]:
    """A generation's plan where it can be trusted, and what is wrong with it and its manifest."""
    try:
        plan = read_plan(objects, generation)
    except StoreError as error:
        return None, [Problem(plan_key(generation), _less_key(error, plan_key(generation)))]
    key = manifest_of(objects, plan)
    found = object_digest(objects, key)
    if found == plan.manifest_digest:
        return plan, []
    return plan, [Problem(key, "missing" if found is None else "damaged: its sha256 is not the plan's")]


def check_record(record: Record, plan: Plan, ids: Sequence[str]) -> Iterator[Problem]:
    """Whether the record stands for its shard of the plan: each track has its outcome, in order."""
    key = record_key(plan.digest, record.shard)
    if record.row % plan.n_shards != record.shard or not 0 <= record.row < ATTEMPTS * plan.n_shards:
        yield Problem(key, f"damaged: its row {record.row} is not one of shard {record.shard}")
    outcomes = list(dict.fromkeys(row["parent"] or row["id"] for row in record.rows))
    if outcomes != list(ids):
        lost = len(set(ids) - set(outcomes))
        yield Problem(key, f"its rows are not the plan's tracks: {lost} of {len(ids)} have no outcome")


def check_object(objects: Objects, entry: ObjectEntry) -> Problem | None:
    """Whether an object is byte for byte what its record says."""
    size = objects.size(entry.key)
    if size is None:
        return Problem(entry.key, "missing")
    if size != entry.size:
        return Problem(entry.key, f"damaged: {size} bytes, expected {entry.size}")
    if object_digest(objects, entry.key) == entry.sha256:
        return None
    return Problem(entry.key, f"damaged in {_damaged_part(objects, entry)}: its sha256 does not fit")


def check_metadata(objects: Objects, key: str, expected: bytes) -> Problem | None:
    """Whether a ``zarr.json`` is what it must be."""
    try:
        found = objects.read(key)
    except FileNotFoundError:
        return Problem(key, "missing")
    return None if found == expected else Problem(key, "damaged: not what this object's metadata must be")


def check_table_chunk(objects: Objects, task: TableTask) -> Iterator[Problem]:
    """Whether one chunk of every column holds what the records say."""
    dtypes = {column.chunk_key(task.index): column.dtype for column in task.columns}
    for key, expected in table_chunk(objects, task).items():
        try:
            found = objects.read(key)
        except FileNotFoundError:
            yield Problem(key, "missing")
            continue
        if found != expected:
            problem = _table_problem(found, expected, dtypes[key])
            if problem:
                yield Problem(key, problem)


def check_table_checksum(objects: Objects, key: str) -> Iterator[Problem]:
    """Whether a chunk of a column is as it was written."""
    try:
        without_crc(objects.read(key))
    except FileNotFoundError:
        yield Problem(key, "missing")
    except ValueError as error:
        yield Problem(key, f"damaged: {error}")


def object_digest(objects: Objects, key: str) -> str | None:
    """sha256 of an object, None where there is none."""
    digest = hashlib.sha256()
    try:
        for block in blocks(objects, key):
            digest.update(block)
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def _table_problem(found: bytes, expected: bytes, dtype: str) -> str | None:
    """Other bytes may hold the same values, when another release of zstd wrote them."""
    try:
        values = decode_column(found, dtype)
    except ValueError as error:
        return f"damaged: {error}"
    wanted = decode_column(expected, dtype)
    same = np.array_equal(values, wanted, equal_nan=dtype.startswith("float"))
    return None if same else "not what the records say"


def _damaged_part(objects: Objects, entry: ObjectEntry) -> str:
    damaged = []
    with objects.open(entry.key) as file:
        for index, n_bytes, crc in entry.chunks:
            block = file.read(n_bytes)
            if google_crc32c.value(block[:-CRC_BYTES]) != crc or block[-CRC_BYTES:] != crc.to_bytes(4, "little"):
                damaged.append(index)
    if not damaged:
        return "its index"
    return f"inner chunk {damaged[0]}" if len(damaged) == 1 else f"{len(damaged)} inner chunks"


def _less_key(error: StoreError, key: str) -> str:
    return str(error).removeprefix(f"{key}: ")
