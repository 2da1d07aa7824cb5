"""CSV, TSV and Parquet manifests: a header, a path column, and whatever else the user keeps there."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import without_query
from corpusdiff.manifests.rows import PATH_COLUMNS, RowManifest
from corpusdiff.manifests.transport import is_folder, open_file

if TYPE_CHECKING:
    from corpusdiff.manifests.frozen_rows import Rows  # loads pyarrow, which the other tables have no need of

#: A cell may hold a transcript, not a recording.
_MAX_CELL = 16 * 2**20

#: Rows of a Parquet file that are turned into tracks at once.
_BATCH = 65536


class CsvManifest(RowManifest):
    """``.csv`` (RFC 4180) or ``.tsv``. Values stay the text that they are: ``007`` is no number.

    In a TSV a quotation mark is an ordinary character, as corpora are published, unless it quotes the
    whole cell; so a stray one never swallows rows.
    """

    kind: ClassVar[str] = "table"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._tabs = without_query(path).lower().endswith(".tsv")

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Number of the row's last line (from 1), and the row. Raises ManifestError."""
        csv.field_size_limit(_MAX_CELL)
        with io.TextIOWrapper(open_file(self.source), encoding="utf-8-sig", newline="") as file:
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
        if {"client_id", "sentence"} <= set(header) and is_folder(clips):
            self.base = clips  # Common Voice names its files without their folder


class ParquetManifest(RowManifest):
    """``.parquet``; columns of bytes (embedded audio) are left out, other values become JSON types."""

    kind: ClassVar[str] = "table"

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Row number (from 1) and row. Raises ManifestError."""
        line = 0
        for table in self._tables(4096):
            for row in table.to_pylist():
                line += 1
                yield line, json_row(row)

    def brings_durations(self) -> bool:
        """Whether there is a column ``duration`` of numbers: then no header is read where a row has one."""
        import pyarrow.parquet as pq
        from pyarrow import types

        with self._explained(), open_file(self.source) as source, pq.ParquetFile(source) as file:
            place = file.schema_arrow.get_field_index("duration")
            kind = None if place < 0 else file.schema_arrow.field(place).type
            return kind is not None and (types.is_floating(kind) or types.is_integer(kind))

    def batches(self, limit: int | None = None) -> Iterator[Rows]:
        """What `tracks` yields, at most the first `limit`, as tables. Raises ManifestError."""
        from corpusdiff.manifests.bulk import plain_rows
        from corpusdiff.manifests.frozen_rows import Rows

        line = 0
        for table in self._tables(_BATCH):
            batch = table if limit is None else table.slice(0, limit - line)
            if len(batch) == 0:
                break
            rows = plain_rows(batch, self.path_column(dict.fromkeys(batch.column_names), 0), self.root)
            if rows is None or self.file_fields or not self._all_allowed(rows.table["path"]):
                listed = enumerate(batch.to_pylist(), line + 1)
                rows = Rows.of([self._track(json_row(row), number) for number, row in listed])
            line += len(batch)
            yield rows
        if line == 0 and limit != 0:
            raise ManifestError(f"{self.source}: no rows; a manifest needs at least one track")

    def _all_allowed(self, paths: Any) -> bool:
        """Whether none of these paths has to be refused; which one, the rows find out."""
        import pyarrow.compute as pc

        inside = pc.invert(pc.or_(pc.starts_with(paths, "/"), pc.match_substring(paths, "://")))
        for root in (self.root, *self.allow):
            inside = pc.or_(inside, pc.starts_with(paths, f"{root.rstrip('/')}/"))
        return bool(pc.all(inside).as_py())

    def _tables(self, n: int) -> Iterator[Any]:
        """The columns that are kept, `n` rows at a time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self._explained(), open_file(self.source) as source, pq.ParquetFile(source) as file:
            names = [column.name for column in file.schema_arrow if _keeps(column.type)]
            self.path_column(dict.fromkeys(names), 0)
            for batch in file.iter_batches(n, columns=names):
                yield pa.Table.from_batches([batch])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            raise ManifestError(f"{self.source}: not a Parquet file that can be read ({error})") from error


def _keeps(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return all(_keeps(kind.field(i).type) for i in range(kind.num_fields))
    return not (types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def json_row(row: Mapping[str, object]) -> dict[str, object]:
    """A table's row in JSON's types, NaN as null."""
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
