"""Audio in a column of a Parquet file, read forwards."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from corpusdiff.errors import TrackError
from corpusdiff.manifests.transport import open_file

#: Rows that are decoded together, and how many such batches are kept for those that ask soon after.
_ROWS_AT_ONCE, _BATCHES_KEPT = 8, 3


class AudioColumn:
    """A column of a Parquet file here or behind a URL, a few rows in memory; safe to use from several threads.

    Parameters
    ----------
    place : path or URL of the file
    column : of structs of ``bytes`` and ``path``
    """

    def __init__(self, place: str, column: str) -> None:
        import pyarrow.parquet as pq

        self._source: BinaryIO = open_file(place)
        self._file = pq.ParquetFile(self._source)
        self._column = column
        self._starts = [0]
        for group in range(self._file.num_row_groups):
            self._starts.append(self._starts[-1] + self._file.metadata.row_group(group).num_rows)
        self._kept: deque[tuple[int, list[bytes | None]]] = deque(maxlen=_BATCHES_KEPT)
        self._ahead: Iterator[tuple[int, list[bytes | None]]] = iter(())
        self._next = self._starts[-1]
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._source.close()

    def read(self, row: int) -> bytes:
        """The audio of a row. Raises TrackError where there is none."""
        with self._lock:
            found = self._found(row)
            if found is None and not self._next <= row < self._next + 64:
                self._ahead = self._from(row)
            while found is None:
                batch = next(self._ahead, None)
                if batch is None:
                    raise TrackError("decode", f"the table has no row {row}")
                self._kept.append(batch)
                self._next = batch[0] + len(batch[1])
                found = self._found(row)
        return found

    def _found(self, row: int) -> bytes | None:
        for first, values in self._kept:
            if first <= row < first + len(values):
                value = values[row - first]
                if value is None:
                    raise TrackError("empty", f"row {row} of the table holds no audio")
                return value
        return None

    def _from(self, row: int) -> Iterator[tuple[int, list[bytes | None]]]:
        """Batches from that row's group on."""
        group = max(i for i, start in enumerate(self._starts) if start <= row)
        for number in range(group, self._file.num_row_groups):
            first = self._starts[number]
            batches = self._file.iter_batches(_ROWS_AT_ONCE, row_groups=[number], columns=[f"{self._column}.bytes"])
            for batch in batches:
                values = batch.column(0).field("bytes").to_pylist()
                yield first, values
                first += len(values)
