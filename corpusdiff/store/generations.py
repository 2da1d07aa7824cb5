"""The generations of a corpus: their plans, their manifests' ids, and which rows a later one replaces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpusdiff.errors import StoreError
from corpusdiff.manifests.frozen import FrozenManifest
from corpusdiff.plan import Plan
from corpusdiff.planfile import load_plan
from corpusdiff.store.objects import Objects
from corpusdiff.store.record import Record, parse_record, record_key

_HASH_BYTES = 16
_HASH_DTYPE = f"S{_HASH_BYTES}"


def plan_key(generation: int) -> str:
    """Key of a generation's plan."""
    return f"plan/{generation:04d}/plan.json"


def manifest_key(generation: int) -> str:
    """Key of a generation's frozen manifest, in all but the rare case of `own_manifest_key`."""
    return f"plan/{generation:04d}/manifest.parquet"


def own_manifest_key(generation: int, digest: str) -> str:
    """Key of a manifest whose place was taken by another: by a driver's that was killed, or that races with this one.

    No manifest is ever replaced, so that a plan and its manifest agree whoever makes the plan.
    """
    return f"plan/{generation:04d}/manifest-{digest[:16]}.parquet"


def manifest_of(objects: Objects, plan: Plan) -> str:
    """Key of the manifest that a plan was made of."""
    own = own_manifest_key(plan.generation, plan.manifest_digest)
    return manifest_key(plan.generation) if objects.size(own) is None else own


def read_plans(objects: Objects) -> list[Plan]:
    """All plans of the corpus, by generation. Raises StoreError where one is damaged or there is none."""
    plans: list[Plan] = []
    while objects.size(plan_key(len(plans))) is not None:
        plans.append(read_plan(objects, len(plans)))
    if not plans:
        raise StoreError(f"{objects.location}: no corpus here: there is no {plan_key(0)}; `corpusdiff run` makes one")
    return plans


def read_plan(objects: Objects, generation: int) -> Plan:
    """A generation's plan. Raises StoreError where it is damaged."""
    key = plan_key(generation)
    try:
        plan, _ = load_plan(objects.read(key))
    except FileNotFoundError as error:
        raise StoreError(f"{key}: missing") from error
    except StoreError as error:
        raise StoreError(f"{key}: {error}") from error
    if plan.generation != generation:
        raise StoreError(f"{key}: damaged: it is the plan of generation {plan.generation}")
    return plan


def read_record(objects: Objects, plan: Plan, shard: int) -> Record:
    """A shard's record. Raises StoreError where it is missing or damaged."""
    key = record_key(plan.digest, shard)
    try:
        return parse_record(objects.read(key), key)
    except FileNotFoundError as error:
        raise StoreError(f"{key}: missing: run the same command again") from error


def open_frozen(objects: Objects, plan: Plan) -> FrozenManifest:
    """A plan's frozen manifest, read by ranges. Raises StoreError."""
    key = manifest_of(objects, plan)
    try:
        return FrozenManifest(objects.open(key), f"{objects.location}/{key}")
    except FileNotFoundError as error:
        raise StoreError(f"{objects.location}/{key}: missing") from error


def manifest_ids(objects: Objects, plan: Plan) -> Iterator[str]:
    """Ids of a plan's manifest in order, a row group at a time. Raises StoreError."""
    key = manifest_of(objects, plan)
    try:
        with objects.open(key) as file:
            parquet = pq.ParquetFile(file)
            for group in range(parquet.num_row_groups):
                yield from parquet.read_row_group(group, columns=["id"])["id"].to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise StoreError(f"{key}: missing or damaged: {error}") from error


class Superseded:
    """The ids of later generations, 16 bytes each.

    Parameters
    ----------
    ids : of all tracks of all later generations
    """

    def __init__(self, ids: Iterable[str]) -> None:
        hashes = b"".join(_hash(track_id) for track_id in ids)
        self._sorted = np.unique(np.frombuffer(hashes, _HASH_DTYPE))

    def __contains__(self, row: Mapping[str, Any]) -> bool:
        """Whether a later generation has the row's track: its id, or the one it was cut from."""
        return any(self._has(track_id) for track_id in (row["id"], row["parent"]) if track_id)

    def _has(self, track_id: str) -> bool:
        wanted = np.frombuffer(_hash(track_id), _HASH_DTYPE)
        place = int(np.searchsorted(self._sorted, wanted)[0])
        return place < len(self._sorted) and bool(self._sorted[place] == wanted[0])


def superseded_in(objects: Objects, plans: Sequence[Plan], generation: int) -> Superseded | None:
    """What later generations replace of this one; None where it is the last."""
    later = plans[generation + 1 :]
    if not later:
        return None
    return Superseded(track_id for plan in later for track_id in manifest_ids(objects, plan))


def surviving_rows(record: Record, superseded: Superseded | None) -> list[Mapping[str, Any]]:
    """The record's rows that no later generation replaces."""
    if superseded is None:
        return list(record.rows)
    return [row for row in record.rows if row not in superseded]


def _hash(track_id: str) -> bytes:
    return hashlib.blake2b(track_id.encode(), digest_size=_HASH_BYTES).digest()
