"""Recordings inside tables, as Hugging Face datasets keeps them: a column of structs of ``bytes`` and ``path``.

Saved datasets are Arrow files that are not compressed: a recording is a range of their bytes. In Parquet files it is a
row, which a worker decodes.
"""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import types

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Track, absolute_path, check_id, path_below
from corpusdiff.manifests.beside import is_file, names_in
from corpusdiff.manifests.members import container_state, member_path
from corpusdiff.manifests.rows import PATH_COLUMNS, RowManifest
from corpusdiff.manifests.table import json_row
from corpusdiff.manifests.transport import open_file, scheme_of

#: Rows of which everything but the audio is decoded at once.
_ROWS_AT_ONCE = 4096


class _TableManifest(RowManifest):
    """What saved datasets and Parquet share: tracks from rows."""

    def tracks(self) -> Iterator[Track]:
        """Tracks in the order of the rows. Raises ManifestError."""
        found = False
        for track, _ in self._placed():
            found = True
            yield track
        if not found:
            raise ManifestError(f"{self.source}: no rows; a manifest needs at least one track")

    def place(self, index: int) -> str:
        """File and row of a track."""
        return next(islice(self._placed(), index, None))[1]

    def _placed(self) -> Iterator[tuple[Track, str]]:
        raise NotImplementedError

    def _from_row(self, row: dict[str, Any], file: str, number: int, name: str | None) -> Track:
        """A row's track, as if the file itself were the recording."""
        track = self._track({**_plain(row), "audio_filepath": file, "channel": None}, number)
        given = row.get("id")
        usual = posixpath.basename(name) if name else f"{posixpath.splitext(file)[0]}/{number}"
        track_id = str(given) if given not in {None, ""} else usual
        fields = dict(track.fields) | {key: row[key] for key in _TIMES if key in row}
        return replace(track, id=check_id(track_id, f"{self.source}: row {number}"), fields=fields)


#: Columns that would cut a recording, which in these tables is whole.
_TIMES = ("offset", "start", "channel")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _TIMES}


class SavedDatasetManifest(_TableManifest):
    """A folder that ``save_to_disk`` of Hugging Face datasets made: a dataset, or a dict of them by split.

    A row whose audio is not in the table is a track of the file that its path names.
    """

    kind: ClassVar[str] = "hf-saved"

    def __init__(self, folder: str) -> None:
        if scheme_of(folder):
            raise ManifestError(
                f"{folder}: a saved dataset is read from a disk: copy it here, or give its Parquet files"
            )
        super().__init__(os.path.join(os.path.abspath(folder), "state.json"))
        self.source = self.root

    def _placed(self) -> Iterator[tuple[Track, str]]:
        for split, folder in self._splits():
            for file in _json_of(os.path.join(folder, "state.json"))["_data_files"]:
                place = os.path.join(folder, os.path.basename(file["filename"]))
                yield from self._in_file(place, split)

    def _splits(self) -> Iterator[tuple[str | None, str]]:
        listing = os.path.join(self.root, "dataset_dict.json")
        if not os.path.isfile(listing):
            yield None, self.root
            return
        for split in _json_of(listing)["splits"]:
            yield split, os.path.join(self.root, os.path.basename(split))

    def _in_file(self, place: str, split: str | None) -> Iterator[tuple[Track, str]]:
        version = container_state(place).version
        file = path_below(place, self.root)
        number = 0
        with _explained(place), pa.memory_map(place) as mapped:
            whole = mapped.read_buffer()
            for batch in pa.ipc.open_stream(pa.BufferReader(whole)):
                audio = _audio_column(batch.schema, place)
                starts, sizes = _ranges(batch.column(audio).field("bytes"), whole, place)
                names = batch.column(audio).field("path").to_pylist()
                others = batch.drop_columns([audio, *_binary(batch.schema, audio)]).to_pylist()
                for row, start, size, name in zip(others, starts, sizes, names, strict=True):
                    number += 1
                    known = json_row(row) | ({} if split is None else {"split": split})
                    where = f"{place}: row {number}"
                    if size < 0:
                        yield self._named(known, name, number), where
                        continue
                    track = self._from_row(known, file, number, name)
                    path = member_path(file, name or str(number))
                    yield replace(track, path=path, inside=f"byte:{start}", size=size, version=version), where

    def _named(self, row: dict[str, Any], name: str | None, number: int) -> Track:
        if not name:
            raise ManifestError(f"{self.source}: row {number} has neither audio nor the path of a file")
        return self._from_row(row, name, number, name)


class ParquetAudioManifest(_TableManifest):
    """Parquet files with the audio inside: one, or all of a folder (and of its ``data``), here or behind a URL."""

    kind: ClassVar[str] = "parquet-audio"

    def __init__(self, source: str) -> None:
        super().__init__(source)
        if not source.endswith(".parquet"):
            self.source = self.source.rstrip("/")
            self.root = self.base = self.source

    def _placed(self) -> Iterator[tuple[Track, str]]:
        files = [self.source] if self.source.endswith(".parquet") else parquet_files(self.source)
        for place in files:
            yield from self._in_file(place)

    def _in_file(self, place: str) -> Iterator[tuple[Track, str]]:
        version = container_state(place).version
        file = path_below(place, self.root)
        number = 0
        with _explained(place), open_file(place) as source, pq.ParquetFile(source) as table:
            audio = _audio_column(table.schema_arrow, place)
            dropped = {audio, *_binary(table.schema_arrow, audio)}
            names = [column.name for column in table.schema_arrow if column.name not in dropped]
            for batch in table.iter_batches(_ROWS_AT_ONCE, columns=[*names, f"{audio}.path"]):
                paths = batch.column(audio).field("path").to_pylist() if audio in batch.schema.names else None
                others = batch.drop_columns([audio]).to_pylist() if paths is not None else batch.to_pylist()
                for row, name in zip(others, paths or [None] * len(others), strict=True):
                    track = self._from_row(json_row(row), file, number + 1, name)
                    path, inside = member_path(file, name or str(number)), f"row:{number}:{audio}"
                    number += 1
                    yield replace(track, path=path, inside=inside, version=version), f"{place}: row {number}"


def parquet_files(folder: str) -> list[str]:
    """Paths of the Parquet files of a folder, and of its ``data``, sorted."""
    found = []
    for below in (folder, f"{folder.rstrip('/')}/data"):
        if scheme_of(folder) or os.path.isdir(below):
            names = [name for name in names_in(below, ()) if name.endswith(".parquet")]
            found += [absolute_path(name, below) for name in names]
    return found


def is_saved_dataset(folder: str) -> bool:
    """Whether a folder is what ``save_to_disk`` makes."""
    if is_file(os.path.join(folder, "dataset_dict.json")):
        return True
    return is_file(os.path.join(folder, "state.json")) and is_file(os.path.join(folder, "dataset_info.json"))


def holds_audio(place: str) -> bool:
    """Whether a Parquet file has a column of audio, and names no file that is there. False where it cannot be read."""
    try:
        with open_file(place) as source, pq.ParquetFile(source) as table:
            if not any(_is_audio(field.type) for field in table.schema_arrow):
                return False
            named = next((name for name in PATH_COLUMNS if name in table.schema_arrow.names), None)
            if named is None:
                return True
            first = next(iter(table.iter_batches(1, columns=[named])), None)
            path = None if first is None else first.column(0)[0].as_py()
            return not (isinstance(path, str) and is_file(absolute_path(path, posixpath.dirname(place))))
    except (pa.ArrowInvalid, OSError, ManifestError):
        return False


def _is_audio(kind: Any) -> bool:
    if not types.is_struct(kind) or kind.get_field_index("bytes") < 0 or kind.get_field_index("path") < 0:
        return False
    held = kind.field("bytes").type
    return types.is_binary(held) or types.is_large_binary(held)


def _audio_column(schema: pa.Schema, place: str) -> str:
    found = [field.name for field in schema if _is_audio(field.type)]
    if "audio" in found:
        return "audio"
    if len(found) == 1:
        return str(found[0])
    raise ManifestError(
        f"{place}: {'several columns' if found else 'no column'} of audio; expected one of structs of bytes and path, "
        f"found {', '.join(schema.names)}"
    )


def _binary(schema: pa.Schema, audio: str) -> list[str]:
    """Other columns that hold bytes, which no row of ours can."""
    return [
        field.name
        for field in schema
        if field.name != audio
        and (_is_audio(field.type) or types.is_binary(field.type) or types.is_large_binary(field.type))
    ]


def _ranges(values: pa.Array, whole: pa.Buffer, place: str) -> tuple[list[int], list[int]]:
    """Where each value's bytes begin in the file, and how many they are; -1 where there is none."""
    _, offsets, data = values.buffers()
    if data is None:
        return [0] * len(values), [-1] * len(values)
    kind = np.int64 if types.is_large_binary(values.type) else np.int32
    edges = np.frombuffer(offsets, kind)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    starts = edges[:-1] + (data.address - whole.address)
    if len(starts) and not 0 <= int(starts[0]) <= whole.size:
        raise ManifestError(f"{place}: its buffers are compressed; save it without compression, or as Parquet")
    sizes = np.where(values.is_valid().to_numpy(zero_copy_only=False), np.diff(edges), -1)
    return starts.tolist(), sizes.tolist()


def _json_of(path: str) -> Any:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise ManifestError(f"{path}: not a saved dataset's file ({error})") from error


@contextmanager
def _explained(place: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, FileNotFoundError, PermissionError) as error:
        raise ManifestError(f"{place}: not a table that can be read ({error})") from error
