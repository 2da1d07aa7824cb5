"""What a plan is made of: a source's tracks with their files' state, and how long each one claims to be.

A header is read where nothing else says how long a track is. A Parquet manifest with numbers in a column ``duration``
says so itself: its rows are taken as whole tables, and no file of a row with a duration is opened before the run. That
is for tracks by the million; arrays that no header foretold are made by the first worker that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Manifest, Track
from corpusdiff.manifests.bulk import with_states
from corpusdiff.manifests.frozen_rows import Rows
from corpusdiff.manifests.remote import ahead, with_file_states
from corpusdiff.manifests.table import ParquetManifest
from corpusdiff.probing import probe_many
from corpusdiff.shards import RunOptions

#: Tracks that are looked at together where they come one by one.
_BATCH = 8192

#: Rows whose durations are compared with their headers, and how many times too long is no mistake of a header.
_SAMPLE, _TOO_LONG = 8, 100.0


def listed(manifest: Manifest, limit: int | None = None) -> Iterator[Track]:
    """The manifest's tracks with their files' size and version."""
    return with_file_states(islice(manifest.tracks(), limit), manifest.root)


#: Adds what headers claim to tracks, in their order.
Probe: TypeAlias = Callable[[Iterator[Track]], Iterator[Track]]


def probe_here(manifest: Manifest, options: RunOptions, n_children: int) -> Probe:
    """Read headers in child processes of this machine."""
    return lambda tracks: probe_many(tracks, manifest.root, n_children, options)


def surveyed(manifest: Manifest, probe: Probe, limit: int | None = None) -> Iterator[Track | Rows]:
    """The manifest's tracks, at most the first `limit`, with their files' state and what headers claim.

    Raises ManifestError, and CorpusdiffError where a disk or a server fails.
    """
    if isinstance(manifest, ParquetManifest) and manifest.brings_durations():
        tables = ahead(lambda rows: with_states(rows, manifest.root), manifest.batches(limit), 1)
        return _completed(tables, manifest, probe)
    return probed(manifest, listed(manifest, limit), probe)


def probed(manifest: Manifest, tracks: Iterator[Track], probe: Probe) -> Iterator[Track | Rows]:
    """Some of a manifest's tracks with what headers claim, as `surveyed` has them."""
    if isinstance(manifest, ParquetManifest) and manifest.brings_durations():
        return _completed(map(Rows.of, _batches(tracks)), manifest, probe)
    return probe(tracks)


def _completed(tables: Iterable[Rows], manifest: Manifest, probe: Probe) -> Iterator[Track | Rows]:
    """Tables with what the headers claim of those tracks whose length nothing says."""
    for number, rows in enumerate(tables):
        lengths_s = rows.lengths_s()
        unknown = np.flatnonzero(np.isnan(lengths_s))
        if number == 0:
            _check_sample(rows, lengths_s, manifest, probe)
        if len(unknown) == 0:
            yield rows
            continue
        tracks = Rows(rows.table.take(pa.array(unknown)), {}).tracks()
        found = list(probe(iter(tracks)))
        columns = {}
        for name in ("header_sr", "header_channels", "header_samples"):
            values = rows.table[name].to_pylist()
            for row, track in zip(unknown, found, strict=True):
                values[row] = getattr(track, name)
            columns[name] = pa.array(values, pa.int64())
        yield rows.replaced(**columns)


def _check_sample(rows: Rows, lengths_s: np.ndarray, manifest: Manifest, probe: Probe) -> None:
    """Refuse durations that are no seconds. Raises ManifestError."""
    known = np.flatnonzero(np.isfinite(lengths_s))
    chosen = known[np.unique(np.linspace(0, len(known) - 1, _SAMPLE).astype(int))] if len(known) else known
    tracks = Rows(rows.table.take(pa.array(chosen)), {}).tracks()
    headers = [
        (track, claimed_s, track.header_samples / track.header_sr)
        for track, claimed_s in zip(probe(iter(tracks)), lengths_s[chosen], strict=True)
        if track.header_sr and track.header_samples
    ]
    wrong = [entry for entry in headers if entry[1] > _TOO_LONG * entry[2]]
    if 2 * len(wrong) > len(headers):
        track, claimed_s, header_s = wrong[0]
        raise ManifestError(
            f'{manifest.source}: the duration of "{track.id}" is {claimed_s:g}, and its file has {header_s:g} s; '
            "expected seconds: correct the column, or rename it, and the files' headers are read"
        )


def _batches(tracks: Iterable[Track]) -> Iterator[Sequence[Track]]:
    iterator = iter(tracks)
    while batch := list(islice(iterator, _BATCH)):
        yield batch
