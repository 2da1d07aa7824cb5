"""The columns of a finished corpus: read a chunk at a time when they are first asked for, and kept within bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import StoreError
from corpusdiff.store.arrow import arrow_texts
from corpusdiff.store.cache import ByteCache
from corpusdiff.store.columns import CHUNK_ROWS, decode_column
from corpusdiff.store.objects import Objects
from corpusdiff.store.places import Place, Places, places
from corpusdiff.store.schema import Schema

#: Bytes of columns that stay in memory: the places of some ten million tracks.
_CACHED_BYTES = 512 * 2**20


class Tracks:
    """The table, for one value, a chunk, or a whole column. Safe between threads.

    Parameters
    ----------
    objects : the store
    schema : of the table
    """

    def __init__(self, objects: Objects, schema: Schema) -> None:
        self._objects = objects
        self._schema = schema
        self.columns = {column.name: column for column in schema.columns}
        self._chunks = ByteCache(self._compact_chunk, _CACHED_BYTES // 2)
        self._places = ByteCache(self._chunk_places, _CACHED_BYTES // 2)

    def value(self, column: str, index: int) -> Any:
        """What the table holds at one row of a column. Raises KeyError for an unknown column."""
        found = self._chunks[column, index // CHUNK_ROWS][index % CHUNK_ROWS]
        return found.as_py() if self.columns[column].dtype == "string" else found.item()

    def place(self, index: int, prefix: str) -> Place | None:
        """Where the audio of a row lies, None where it has none; columns of a further output begin with `prefix`."""
        return self._places[prefix, index // CHUNK_ROWS].of(index % CHUNK_ROWS)

    def chunk(self, name: str, index: int) -> NDArray[Any]:
        """One chunk of a column, (65536,), the last one with fill at its end; texts as objects.

        Raises KeyError for an unknown column, StoreError for a damaged or missing one.
        """
        column = self.columns[name]
        key = column.chunk_key(index)
        try:
            return decode_column(self._objects.read(key), column.dtype)
        except FileNotFoundError as error:
            raise StoreError(f"{key}: missing; run the same command again") from error
        except ValueError as error:
            raise StoreError(f"{key}: damaged: {error}; run the same command again") from error

    def column(self, name: str, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """A column, of all rows or of these, which ascend; only chunks that hold one of them are read."""
        if rows is None:
            parts = [self.chunk(name, index) for index in range(self._schema.n_chunks)]
            return np.concatenate(parts)[: self._schema.n_rows] if parts else np.zeros(0, object)
        edges = np.searchsorted(rows // CHUNK_ROWS, np.arange(self._schema.n_chunks + 1))
        parts = [
            self.chunk(name, index)[rows[first:stop] - index * CHUNK_ROWS]
            for index, (first, stop) in enumerate(pairwise(edges))
            if first < stop
        ]
        return np.concatenate(parts) if parts else self.column(name)[:0]

    def rows_of(self, row_id: str) -> Iterator[int]:
        """Rows that may have this id: those of its hash. The first call reads all ids once."""
        order, hashes = self._ids
        wanted = _hash(row_id)
        first, stop = (int(np.searchsorted(hashes, wanted, side)) for side in ("left", "right"))
        return (int(order[place]) for place in range(first, stop))

    @cached_property
    def _ids(self) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        chunks = (self.chunk("id", index) for index in range(self._schema.n_chunks))
        texts = (text for chunk in chunks for text in chunk)
        numbered = zip(texts, range(self._schema.n_rows), strict=False)
        hashes = np.fromiter((_hash(text) for text, _ in numbered), np.uint64)
        order = np.argsort(hashes, kind="stable")
        return order, hashes[order]

    def _compact_chunk(self, place: tuple[str, int]) -> Any:
        values = self.chunk(*place)
        return arrow_texts(values) if values.dtype == object else values

    def _chunk_places(self, place: tuple[str, int]) -> Places:
        prefix, index = place
        return places(lambda name: self.chunk(name, index), prefix)


def _hash(row_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest(), "little")
