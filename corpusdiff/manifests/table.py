"""CSV, TSV and Parquet manifests: a header, a path column, and whatever else the user keeps there."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from typing import IO, Any, ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.rows import PATH_COLUMNS, RowManifest

#: A cell may hold a transcript, not a recording.
_MAX_CELL = 16 * 2**20


class CsvManifest(RowManifest):
    """``.csv`` (RFC 4180) or ``.tsv``. Values stay the text that they are: ``007`` is no number.

    In a TSV a quotation mark is an ordinary character, as corpora are published, unless it quotes the
    whole cell; so a stray one never swallows rows.
    """

    kind: ClassVar[str] = "table"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._tabs = path.lower().endswith(".tsv")

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Number of the row's last line (from 1), and the row. Raises ManifestError."""
        csv.field_size_limit(_MAX_CELL)
        with open(self.source, encoding="utf-8-sig", newline="") as file:
            reader = self._reader(file)
            try:
                header: list[str] = next(reader, [])
                self._check_header(header)
                width = len(header)
                for cells in reader:
                    if len(cells) != width:
                        if not cells:
                            continue
                        raise ManifestError(
                            f"{self.source}:{reader.line_num}: {len(cells)} cells, but the header has {width}; "
                            "quote cells that hold the separator"
                        )
                    yield (
                        reader.line_num,
                        dict(zip(header, map(_unquoted, cells) if self._tabs else cells, strict=True)),
                    )
            except UnicodeDecodeError as error:
                raise ManifestError(
                    f"{self.source}:{reader.line_num + 1}: not UTF-8 ({error.reason}); convert it to UTF-8"
                ) from error
            except csv.Error as error:
                raise ManifestError(f"{self.source}:{reader.line_num}: not a CSV row ({error})") from error

    def _reader(self, file: IO[str]) -> Any:
        if self._tabs:
            return csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return csv.reader(file, strict=True)

    def _check_header(self, header: list[str]) -> None:
        if not any(name in header for name in PATH_COLUMNS):
            raise ManifestError(
                f"{self.source}:1: no path column; expected one of {', '.join(PATH_COLUMNS)}, "
                f"found {', '.join(header) or 'nothing'}"
            )
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise ManifestError(f"{self.source}:1: the column {', '.join(sorted(twice))} is there twice; rename one")
        clips = os.path.join(self.root, "clips")
        if {"client_id", "sentence"} <= set(header) and os.path.isdir(clips):
            self.base = clips  # Common Voice names its files without their folder


class ParquetManifest(RowManifest):
    """``.parquet``; columns of bytes (embedded audio) are left out, other values become JSON types."""

    kind: ClassVar[str] = "table"

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Row number (from 1) and row. Raises ManifestError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with pq.ParquetFile(self.source) as file:
                names = [column.name for column in file.schema_arrow if _keeps(column.type)]
                self.path_column(dict.fromkeys(names), 0)
                line = 0
                for batch in file.iter_batches(4096, columns=names):
                    for row in batch.to_pylist():
                        line += 1
                        yield line, _json_row(row)
        except (pa.ArrowInvalid, OSError) as error:
            raise ManifestError(f"{self.source}: not a Parquet file that can be read ({error})") from error


def _keeps(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return all(_keeps(kind.field(i).type) for i in range(kind.num_fields))
    return not (types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _json_row(row: Mapping[str, object]) -> dict[str, object]:
    return {name: _json_value(value) for name, value in row.items()}


def _json_value(value: object) -> object:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return None if value != value else value  # noqa: PLR0124 (NaN is pandas' null)
    if isinstance(value, dict):
        return {str(name): _json_value(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    return str(value)


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        inner = cell[1:-1].replace('""', "\0")
        if '"' not in inner:
            return inner.replace("\0", '"')
    return cell
