"""Tables for people and programs: the tracks of a corpus, and a source as a manifest."""

from __future__ import annotations

import csv
import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpusdiff.errors import UsageError
from corpusdiff.expressions import nearest
from corpusdiff.manifests import USUAL, Reading, open_manifest
from corpusdiff.manifests.base import Track, absolute_path
from corpusdiff.manifests.frozen import FrozenInfo, FrozenManifest, freeze
from corpusdiff.probing import probe_many
from corpusdiff.selection import select
from corpusdiff.shards import RunOptions
from corpusdiff.store.read import open as open_corpus

#: Columns that fit a terminal.
SHORT = (
    "id", "status", "duration_s", "sr", "loudness_lufs", "out_loudness_lufs", "snr_db", "lsd_db", "error",
)  # fmt: skip


def write_table(
    out: str,
    form: str,
    path: str | None,
    columns: Sequence[str] | None,
    limit: int | None,
    where: str | None = None,
) -> None:
    """Write the tracks of a corpus.

    Parameters
    ----------
    out : the corpus
    form : ``table``, ``csv``, ``json`` (one object a line) or ``parquet``
    path : file to write, None for standard output
    columns : which columns, None for all (a selection for ``table``)
    limit : the first so many rows, None for all
    where : only rows for which this condition holds

    Raises UsageError for an unknown column, or Parquet without a file.
    """
    if form == "parquet" and path is None:
        raise UsageError("a Parquet table is not for the terminal: give -o FILE")
    corpus = open_corpus(out)
    names = [column.name for column in corpus.columns]
    chosen = list(columns or (SHORT if form == "table" else names))
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        near = nearest(unknown[0], names)
        meant = f": did you mean {near}?" if near else ""
        raise UsageError(f"no column {', '.join(unknown)}{meant}; there are {', '.join(names)}")
    rows = corpus.table(chosen, select(corpus, where)[:limit] if where or limit is not None else None)
    if form == "parquet":
        pq.write_table(rows, path)
        return
    with _text(path) as file:
        {"table": _write_aligned, "csv": _write_csv, "json": _write_json}[form](rows, file)


def write_manifest(source: str, path: str, reading: Reading = USUAL) -> str:
    """Write what a source holds as a manifest; returns what to tell the user.

    The form follows the name: ``.jsonl``/``.json`` NeMo, ``.csv``, ``.tsv`` or ``.parquet``. Durations are what
    the headers claim. Raises UsageError for another name, ManifestError for a bad source.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _MANIFEST_WRITERS:
        raise UsageError(f"{path}: expected a name that ends in {', '.join(_MANIFEST_WRITERS)}")
    manifest = open_manifest(source, reading)
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "manifest.parquet"

        def absolute(track: Track) -> str:
            return absolute_path(track.path, manifest.root)

        listed = map(_own_file, manifest.tracks())
        info = freeze(probe_many(listed, manifest.root, 4, RunOptions()), frozen, place=manifest.place)
        with FrozenManifest(frozen) as tracks:
            rows = (_manifest_row(track, absolute(track), list(info.fields)) for track in tracks)
            _MANIFEST_WRITERS[suffix](rows, info, path)
    ignored = sum(manifest.ignored.values())
    return f"{path}: {info.n_tracks} tracks" + (f"; {ignored} other files ignored" if ignored else "")


def _own_file(track: Track) -> Track:
    if track.inside is not None:
        raise UsageError(
            f"{track.path}: it lies inside another file, and no manifest of these can say so: give the source to `run`"
        )
    return track


def _manifest_row(track: Track, path: str, fields: Sequence[str]) -> dict[str, Any]:
    duration = track.duration_s
    if duration is None and track.header_samples is not None and track.header_sr:
        duration = track.header_samples / track.header_sr - track.offset_s
    own = {
        "id": track.id,
        "audio_filepath": path,
        "offset": track.offset_s if track.offset_s or track.duration_s is not None else None,  # else it is no segment
        "duration": duration,
        "channel": track.channel,
    }
    return {**{name: track.fields.get(name) for name in fields}, **own}


def _write_nemo(rows: Iterator[dict[str, Any]], info: FrozenInfo, path: str) -> None:
    del info
    with Path(path).open("w", encoding="utf-8") as file:
        for row in rows:
            known = {name: value for name, value in row.items() if value is not None}
            file.write(json.dumps(known, ensure_ascii=False) + "\n")


def _flat(rows: Iterator[dict[str, Any]], info: FrozenInfo) -> Iterator[dict[str, Any]]:
    """The rows with what no table can hold as JSON text."""
    nested = [name for name, kind in info.fields.items() if kind == "json"]
    for row in rows:
        yield row | {name: json.dumps(row[name], ensure_ascii=False) for name in nested if row[name] is not None}


def _write_delimited(rows: Iterator[dict[str, Any]], info: FrozenInfo, path: str) -> None:
    delimiter = "\t" if path.lower().endswith(".tsv") else ","
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _manifest_columns(info), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(_flat(rows, info))


def _write_parquet(rows: Iterator[dict[str, Any]], info: FrozenInfo, path: str) -> None:
    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "json": pa.string()}
    own = {"offset": pa.float64(), "duration": pa.float64(), "channel": pa.int64()}
    columns = _manifest_columns(info)
    schema = pa.schema([(name, own.get(name) or types[info.fields.get(name, "str")]) for name in columns])
    with pq.ParquetWriter(path, schema) as writer:
        for batch in _batched(_flat(rows, info), 1 << 14):
            writer.write_table(pa.Table.from_pylist(batch, schema))


_MANIFEST_WRITERS = {
    ".jsonl": _write_nemo,
    ".json": _write_nemo,
    ".csv": _write_delimited,
    ".tsv": _write_delimited,
    ".parquet": _write_parquet,
}


def _manifest_columns(info: FrozenInfo) -> list[str]:
    own = ["id", "audio_filepath", "offset", "duration", "channel"]
    return own + [name for name in info.fields if name not in own]


def _batched(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _write_aligned(rows: pa.Table, file: IO[str]) -> None:
    names = rows.column_names
    cells = [[_shown(row[name]) for name in names] for row in rows.to_pylist()]
    widths = [max(len(name), *(len(line[i]) for line in cells), 0) for i, name in enumerate(names)]
    for line in [names, *cells]:
        file.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.2f}"
    return "" if value is None else str(value)


def _write_csv(rows: pa.Table, file: IO[str]) -> None:
    writer = csv.writer(file)
    writer.writerow(rows.column_names)
    for batch in rows.to_batches(max_chunksize=1 << 14):
        writer.writerows(zip(*(_unset_as_none(column) for column in batch.columns), strict=True))


def _write_json(rows: pa.Table, file: IO[str]) -> None:
    for batch in rows.to_batches(max_chunksize=1 << 14):
        columns = [_unset_as_none(column) for column in batch.columns]
        for values in zip(*columns, strict=True):
            file.write(json.dumps(dict(zip(rows.column_names, values, strict=True)), ensure_ascii=False) + "\n")


def _unset_as_none(column: pa.Array) -> list[Any]:
    """Values with NaN as None: JSON has no NaN, and an empty CSV cell says the same."""
    return [None if isinstance(value, float) and math.isnan(value) else value for value in column.to_pylist()]


@contextmanager
def _text(path: str | None) -> Iterator[IO[str]]:
    if path is None:
        yield sys.stdout
        return
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        yield file
