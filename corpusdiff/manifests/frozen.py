"""The manifest as it was when the run was planned: one Parquet file, never read whole."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from corpusdiff.errors import ManifestError, StoreError
from corpusdiff.manifests.base import Track

#: Tracks per row group: what is decoded to get one of them.
ROW_GROUP = 4096

_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("offset_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("channel", pa.int32()),
        ("fields", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("header_sr", pa.int64()),
        ("header_channels", pa.int64()),
        ("header_samples", pa.int64()),
    ]
)
_LENGTH_COLUMNS = ["offset_s", "duration_s", "header_sr", "header_samples", "fields"]
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


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
    tracks: Iterable[Track],
    path: Path,
    *,
    progress: Callable[[int], None] | None = None,
    place: Callable[[int], str] | None = None,
) -> FrozenInfo:
    """Write `tracks` in their order; equal tracks give equal bytes.

    Memory is one row group and 8 bytes per track. `progress` hears the number of tracks written;
    `place` tells where the track with an index stands in its source. Raises ManifestError for two
    tracks of one id, with both places.
    """
    hashes = array("Q")
    types: dict[str, str] = {}
    iterator = iter(tracks)
    with pq.ParquetWriter(path, _SCHEMA, compression="zstd", use_dictionary=["version"]) as writer:
        while batch := list(islice(iterator, ROW_GROUP)):
            for track in batch:
                hashes.append(_hash(track.id))
                _add_types(types, track)
            writer.write_table(_to_arrow(batch), row_group_size=ROW_GROUP)
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
            yield from _from_arrow(self._read(group))

    def rows(self, start: int, stop: int) -> list[Track]:
        """Tracks `start` up to `stop`, reading only the row groups that hold them."""
        start, stop = max(0, start), min(stop, len(self))
        if start >= stop:
            return []
        first = int(np.searchsorted(self._starts, start, "right")) - 1
        last = int(np.searchsorted(self._starts, stop, "left"))
        tables = [self._read(group) for group in range(first, last)]
        offset = int(self._starts[first])
        return _from_arrow(pa.concat_tables(tables).slice(start - offset, stop - start))

    def lengths_s(self) -> NDArray[np.float64]:
        """(n_tracks,) float64: seconds per track as claimed, NaN where nothing is.

        The segment's duration, else the header's length, else a field ``duration``, from the offset on.
        """
        groups = range(self._file.num_row_groups)
        return np.concatenate([np.zeros(0), *(_lengths(self._read(group, _LENGTH_COLUMNS)) for group in groups)])

    def _read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        try:
            return self._file.read_row_group(group, columns=columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise StoreError(f"{self._path}: row group {group} is damaged: {error}") from error


def _to_arrow(tracks: Sequence[Track]) -> pa.Table:
    columns = {item.name: [getattr(track, item.name) for track in tracks] for item in fields(Track)}
    columns["fields"] = [_JSON.encode(dict(track.fields)) for track in tracks]
    return pa.table(columns, schema=_SCHEMA)


def _from_arrow(table: pa.Table) -> list[Track]:
    columns = {name: table[name].to_pylist() for name in _SCHEMA.names}
    columns["fields"] = [json.loads(text) for text in columns["fields"]]
    return [Track(*values) for values in zip(*(columns[item.name] for item in fields(Track)), strict=True)]


def _lengths(table: pa.Table) -> NDArray[np.float64]:
    offset, duration, sr, samples = (
        table[name].to_numpy().astype(np.float64, copy=True) for name in _LENGTH_COLUMNS[:4]
    )
    claimed = samples / np.where(sr > 0, sr, np.nan)
    unknown = np.flatnonzero(np.isnan(claimed) & np.isnan(duration))
    texts = table["fields"]
    for row in unknown:
        claimed[row] = _claimed_duration(texts[int(row)].as_py())
    rest = np.maximum(claimed - offset, 0.0)
    lengths: NDArray[np.float64] = np.where(np.isnan(duration), rest, np.fmin(duration, rest))
    return lengths


def _claimed_duration(text: str) -> float:
    if '"duration"' not in text:
        return np.nan
    try:
        seconds = float(json.loads(text).get("duration"))
    except (TypeError, ValueError):
        return np.nan
    return seconds if 0 <= seconds < np.inf else np.nan


def _hash(track_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(track_id.encode(), digest_size=8).digest(), "little")


def _refuse_duplicates(hashes: array[int], path: Path, place: Callable[[int], str] | None) -> None:
    if not hashes:
        return
    values = np.frombuffer(hashes, np.uint64)
    values.sort()
    repeated = set(values[1:][values[1:] == values[:-1]].tolist())
    if not repeated:
        return
    seen: dict[str, int] = {}
    with FrozenManifest(path) as frozen:
        for index, track in enumerate(frozen):
            if _hash(track.id) not in repeated:
                continue
            if track.id in seen:
                name = place or (lambda i: f"track {i + 1}")
                raise ManifestError(
                    f'the id "{track.id}" is there twice: {name(seen[track.id])} and {name(index)}; '
                    "give each track an id of its own"
                )
            seen[track.id] = index


def _add_types(types: dict[str, str], track: Track) -> None:
    for name, value in track.fields.items():
        found = _type_name(value)
        known = types.get(name, found)
        if found in {known, ""}:
            types[name] = known
        elif known == "":
            types[name] = found
        else:
            types[name] = "float" if {known, found} == {"int", "float"} else "json"


def _type_name(value: object) -> str:
    if value is None:
        return ""
    name = type(value).__name__
    if name == "int" and not -(2**63) <= value < 2**63:  # type: ignore[operator]
        return "json"
    return name if name in {"str", "int", "float", "bool"} else "json"
