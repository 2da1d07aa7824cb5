"""From a source and a job to a plan on disk: list, probe, freeze, cut into shards.

A corpus has one plan per generation. Whoever creates ``plan.json`` first has made the generation; a
second driver takes that plan.
"""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from corpusdiff.errors import JobError, ParameterError, UsageError
from corpusdiff.job import Job, diff_jobs
from corpusdiff.manifests.base import Manifest, Track, without_query
from corpusdiff.manifests.frozen import FrozenInfo, FrozenManifest, freeze
from corpusdiff.manifests.frozen_rows import Rows
from corpusdiff.manifests.remote import with_file_states
from corpusdiff.metrics import SOURCE_COLUMNS
from corpusdiff.plan import CUT_S, PIECE_S, SHARD_S, Plan, chunk_length, known_lengths, shard_bounds
from corpusdiff.planfile import dump_plan, made_here
from corpusdiff.store.generations import (
    manifest_key,
    open_frozen,
    own_manifest_key,
    plan_key,
    read_plan,
    read_record,
    superseded_in,
    surviving_rows,
)
from corpusdiff.store.metadata import create_groups
from corpusdiff.store.objects import Objects, blocks

#: What a corpus consists of; the rest of OUT is not ours to delete.
PARTS = ("plan", "commits", "pieces", "data.zarr", "events", ".tmp")


class NothingToDo(Exception):
    """The new generation would have no tracks."""


def add_generation(
    objects: Objects,
    earlier: list[Plan],
    manifest: Manifest,
    tracks: Iterable[Track | Rows],
    job: Job,
    *,
    portable: bool,
    spool: str | None,
    shard_s: float = SHARD_S,
    cut_s: float = CUT_S,
    may_overwrite: bool = False,
) -> Plan:
    """Freeze `tracks` and plan them as the next generation; the plan that is on disk in the end.

    `may_overwrite` is noted in the plan: nobody has made sure that the store creates only once. Raises NothingToDo
    when there are no tracks, ManifestError and StoreError.
    """
    generation = len(earlier)
    with tempfile.TemporaryDirectory(prefix="corpusdiff-", dir=spool) as folder:
        frozen = Path(folder) / "manifest.parquet"
        info = freeze(tracks, frozen, place=manifest.place)
        if info.n_tracks == 0:
            raise NothingToDo
        plan = plan_frozen(frozen, info, manifest, job, generation, portable, shard_s, cut_s)
        _publish_manifest(objects, plan, frozen)
    create_groups(objects)
    objects.create(plan_key(generation), dump_plan(plan, made_here() | {"store_overwrites": may_overwrite}))
    return read_plan(objects, generation)


def plan_frozen(
    frozen: Path,
    info: FrozenInfo,
    manifest: Manifest,
    job: Job,
    generation: int,
    portable: bool,
    shard_s: float = SHARD_S,
    cut_s: float = CUT_S,
) -> Plan:
    """The plan for a frozen manifest. Raises JobError for a rule that asks for what there is not."""
    check_rules(job, info.fields)
    with FrozenManifest(frozen) as rows:
        lengths_s = rows.lengths_s()
        formats = rows.formats()
    arrays = {(job.source.sr or sr, job.source.channels or n) for sr, n in formats if sr and n}
    longest_s = job.source.segment_s or np.inf
    return Plan(
        generation=generation,
        source=without_query(manifest.source),  # which may hold a signature
        kind=manifest.kind,
        root=manifest.root,
        manifest_digest=info.digest,
        n_tracks=info.n_tracks,
        fields=info.fields,
        job=job.to_dict(),
        job_digest=job.digest,
        bounds=shard_bounds(lengths_s, shard_s),
        chunk=chunk_length(np.minimum(known_lengths(lengths_s), longest_s), job.source.sr or 48000),
        arrays=tuple(sorted(arrays)),
        seconds=round(float(known_lengths(lengths_s).sum()), 3),
        portable=portable,
        cut_s=cut_s if 0 < cut_s < float(known_lengths(lengths_s).max()) else 0.0,
        piece_s=min(PIECE_S, cut_s) if cut_s else PIECE_S,
    )


def check_rules(job: Job, manifest_fields: Iterable[str]) -> None:
    """Refuse rules that ask for what is neither measured nor a field of the manifest. Raises JobError."""
    known = {*SOURCE_COLUMNS, "id", "path", *manifest_fields}
    for rule in job.rules:
        try:
            rule.condition.check_names(known)
        except ParameterError as error:
            raise JobError(f"rule.{rule.name}.{error}") from error


def _publish_manifest(objects: Objects, plan: Plan, frozen: Path) -> None:
    """Put the manifest where readers of the plan look for it. What another driver left or makes there stays."""
    key = manifest_key(plan.generation)
    if objects.create(key, file_blocks(frozen)):
        return
    digest = hashlib.sha256()
    for block in blocks(objects, key):
        digest.update(block)
    if digest.hexdigest() != plan.manifest_digest:
        objects.create(own_manifest_key(plan.generation, plan.manifest_digest), file_blocks(frozen))


def file_blocks(path: Path) -> Iterator[bytes]:
    """A file in blocks of 1 MiB."""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def new_or_changed(objects: Objects, earlier: list[Plan], tracks: Iterable[Track]) -> Iterator[Track]:
    """Those tracks that no generation has, or has with another size or version. 16 bytes for each known one."""
    known = [_Known(objects, plan) for plan in reversed(earlier)]
    for track in tracks:
        latest = next((found for ids in known if (found := ids.content(track.id)) is not None), None)
        if latest != _content(track):
            yield track


class _Known:
    """What a frozen manifest holds, as sorted hashes."""

    def __init__(self, objects: Objects, plan: Plan) -> None:
        ids, contents = array("Q"), array("Q")
        with open_frozen(objects, plan) as manifest:
            for track in manifest:
                ids.append(_hash(track.id))
                contents.append(_content(track))
        order = np.argsort(np.frombuffer(ids, np.uint64))
        self._ids = np.frombuffer(ids, np.uint64)[order]
        self._contents = np.frombuffer(contents, np.uint64)[order]

    def content(self, track_id: str) -> int | None:
        wanted = np.uint64(_hash(track_id))
        place = int(np.searchsorted(self._ids, wanted))
        return int(self._contents[place]) if place < len(self._ids) and self._ids[place] == wanted else None


def _content(track: Track) -> int:
    return _hash(f"{track.size} {track.version} {track.offset_s!r} {track.duration_s!r} {track.channel}")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def failed_tracks(objects: Objects, plans: list[Plan], manifest: Manifest) -> Iterator[Track]:
    """The tracks whose latest outcome is a failure, in the order of their manifests."""
    for plan in plans:
        superseded = superseded_in(objects, plans, plan.generation)
        with open_frozen(objects, plan) as frozen:
            for shard in range(plan.n_shards):
                rows = surviving_rows(read_record(objects, plan, shard), superseded)
                failed = {row["parent"] or row["id"] for row in rows if row["status"] == "failed"}
                if failed:
                    pieces = plan.shard(shard).pieces
                    tracks = frozen.rows(pieces[0].track, pieces[-1].track + 1)
                    chosen = (track for track in tracks if track.id in failed)
                    yield from with_file_states(chosen, manifest.root, again=True)


def check_same(plan: Plan, manifest: Manifest, job: Job, out: str) -> None:
    """Refuse to resume with another source or job. Raises UsageError that says what differs."""
    differences = diff_jobs(job.to_dict(), plan.job)
    source = without_query(manifest.source)
    if source != plan.source:
        differences.insert(0, f"source: {source} here, {plan.source} in OUT")
    if differences:
        raise UsageError(
            f"{out} was made by another command: {'; '.join(differences)}. Give the same source and job, "
            "another OUT, or --fresh to delete what is there"
        )


def erase(objects: Objects) -> None:
    """Delete the corpus, and nothing else that may lie in OUT."""
    for part in PARTS:
        objects.delete_all(part)
    objects.delete("report.html")
