"""The manifest as it was when the run was planned: one Parquet file, never read whole."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpusdiff.errors import ManifestError, StoreError
from corpusdiff.manifests.base import Track
from corpusdiff.manifests.frozen_rows import LENGTH_COLUMNS, SCHEMA, Rows, add_types, lengths_s

#: Tracks per row group: what is decoded to get one of them.
ROW_GROUP = 4096

_FORMAT_COLUMNS = ["header_sr", "header_channels"]

#: Row groups that are read or written at once where all are.
_GROUPS_AT_ONCE = 16


@dataclass(frozen=True)
class FrozenInfo:
    """What is known of a frozen manifest without reading it again.

    Parameters
    ----------
    digest : sha256 (hex) of the file's bytes
    n_tracks : number of rows
    fields : the manifest's own columns and their types: ``str``, ``int``, ``float``, ``bool`` or ``json``
    """

    digest: str
    n_tracks: int
    fields: dict[str, str]


def freeze(
    tracks: Iterable[Track | Rows],
    path: Path,
    *,
    progress: Callable[[int], None] | None = None,
    place: Callable[[int], str] | None = None,
) -> FrozenInfo:
    """Write `tracks`, one by one or as tables, in their order; equal tracks give equal bytes.

    Memory is a few row groups and 8 bytes per track. `progress` hears the number of tracks written;
    `place` tells where the track with an index stands in its source. Raises ManifestError for two
    tracks of one id, with both places.
    """
    hashes = array("q")
    types: dict[str, str] = {}
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=["version"]) as writer:
        for rows in _regrouped(_tables(tracks)):
            hashes.extend(map(hash, rows.table["id"].to_pylist()))
            add_types(types, rows.types)
            writer.write_table(rows.table, row_group_size=ROW_GROUP)
            if progress:
                progress(len(hashes))
    _refuse_duplicates(hashes, path, place)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FrozenInfo(digest, len(hashes), {name: types[name] or "str" for name in sorted(types)})


class FrozenManifest:
    """Random access to a frozen manifest; the file stays open until `close`.

    Parameters
    ----------
    source : path, or an open seekable file, which is closed with the manifest
    name : what to call it in a message; None for the path

    Raises StoreError where the file is missing or damaged.
    """

    def __init__(self, source: Path | BinaryIO, name: str | None = None) -> None:
        self._source = source
        self._path = name or source
        try:
            self._file = pq.ParquetFile(source)
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{self._path}: cannot be read as a frozen manifest: {error}") from error
        counts = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])

    def __enter__(self) -> FrozenManifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if not isinstance(self._source, Path):
            self._source.close()

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[Track]:
        for group in range(self._file.num_row_groups):
            yield from Rows(self._read(range(group, group + 1)), {}).tracks()

    def rows(self, start: int, stop: int) -> list[Track]:
        """Tracks `start` up to `stop`, reading only the row groups that hold them."""
        start, stop = max(0, start), min(stop, len(self))
        if start >= stop:
            return []
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        last = int(np.searchsorted(self._starts, stop, "left"))
        offset = int(self._starts[first])
        return Rows(self._read(range(first, last)), {}).slice(start - offset, stop - start).tracks()

    def lengths_s(self) -> NDArray[np.float64]:
        """(n_tracks,) float64: seconds per track as claimed, NaN where nothing is.

        The segment's duration, else the header's length, else a field ``duration``, from the offset on.
        """
        return np.concatenate([np.zeros(0), *map(lengths_s, self._stretches(LENGTH_COLUMNS))])

    def formats(self) -> set[tuple[int | None, int | None]]:
        """Rates in Hz and channel counts that the headers claim, in pairs."""
        pairs: set[tuple[int | None, int | None]] = set()
        for table in self._stretches(_FORMAT_COLUMNS):
            found = table.group_by(_FORMAT_COLUMNS).aggregate([])
            pairs.update(zip(*(found[name].to_pylist() for name in _FORMAT_COLUMNS), strict=True))
        return pairs

    def _stretches(self, columns: list[str]) -> Iterator[pa.Table]:
        """Some columns of all rows, several row groups at a time."""
        n_groups = self._file.num_row_groups
        for first in range(0, n_groups, _GROUPS_AT_ONCE):
            yield self._read(range(first, min(first + _GROUPS_AT_ONCE, n_groups)), columns)

    def _read(self, groups: range, columns: list[str] | None = None) -> pa.Table:
        try:
            return self._file.read_row_groups(list(groups), columns=columns, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{self._path}: a row group of {list(groups)} is damaged: {error}") from error


def _tables(tracks: Iterable[Track | Rows]) -> Iterator[Rows]:
    """Tables of whatever comes, tracks that come one by one a row group at a time."""
    batch: list[Track] = []
    for item in tracks:
        if isinstance(item, Track):
            batch.append(item)
        if batch and (len(batch) == ROW_GROUP or not isinstance(item, Track)):
            yield Rows.of(batch)
            batch = []
        if isinstance(item, Rows):
            yield item
    if batch:
        yield Rows.of(batch)


def _regrouped(tables: Iterable[Rows]) -> Iterator[Rows]:
    """The same rows in tables of whole row groups, but for the last."""
    left: list[Rows] = []
    n = 0
    for rows in tables:
        left.append(rows)
        n += len(rows)
        whole = n - n % ROW_GROUP
        if whole:
            joined = _joined(left)
            yield joined.slice(0, whole)
            left, n = [joined.slice(whole, n - whole)], n - whole
    if n:
        yield _joined(left)


def _joined(rows: Sequence[Rows]) -> Rows:
    types: dict[str, str] = {}
    for part in rows:
        add_types(types, part.types)
    return Rows(pa.concat_tables(part.table for part in rows), types)


def _refuse_duplicates(hashes: array[int], path: Path, place: Callable[[int], str] | None) -> None:
    if not hashes:
        return
    values = np.frombuffer(hashes, np.int64)
    values.sort()
    repeated = set(values[1:][values[1:] == values[:-1]].tolist())
    if not repeated:
        return
    seen: dict[str, int] = {}
    with FrozenManifest(path) as frozen:
        for index, track in enumerate(frozen):
            if hash(track.id) not in repeated:
                continue
            if track.id in seen:
                name = place or (lambda i: f"track {i + 1}")
                raise ManifestError(
                    f'the id "{track.id}" is there twice: {name(seen[track.id])} and {name(index)}; '
                    "give each track an id of its own"
                )
            seen[track.id] = index
