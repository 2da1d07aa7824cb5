"""Where a shard's encoded streams go: offsets for its rows, and the objects that hold them.

Nothing here depends on the attempt row, so one arrangement serves every attempt.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpusdiff.errors import StoreError
from corpusdiff.plan import Plan
from corpusdiff.store.layout import ArrayLayout, plan_layout
from corpusdiff.store.pack import InnerChunk, PackedObject


@dataclass(frozen=True)
class Arranged:
    """A shard ready to be written.

    Parameters
    ----------
    rows : the rows, each of their outputs with its array, offset, size and delay
    objects : the Zarr shard objects by array and number
    layouts : all arrays that the rows use, silent ones included
    """

    rows: Sequence[Mapping[str, Any]]
    objects: Mapping[tuple[ArrayLayout, int], PackedObject]
    layouts: Sequence[ArrayLayout]

    def rows_at(self, row: int) -> list[dict[str, Any]]:
        """The rows when the audio is in `row` of the arrays."""
        return [{**item, "outputs": [{**output, "row": row} for output in item["outputs"]]} for item in self.rows]

    def objects_at(self, row: int) -> dict[str, PackedObject]:
        """The objects by key, sorted, so that of two writers that differ one is first everywhere."""
        keyed = {layout.object_key(row, number): packed for (layout, number), packed in self.objects.items()}
        return dict(sorted(keyed.items()))


def arrange(plan: Plan, rows: Iterable[Mapping[str, Any]], spool: str) -> Arranged:
    """Give every output its place.

    Parameters
    ----------
    plan : the plan
    rows : as processing made them; each of their outputs is ``{"name", "size", "delay", "chunks"}`` with
        ``chunks`` the ``[index, offset, n_bytes]`` of its encoded chunks in the spool file
    spool : path of the spool file

    Raises StoreError where a row of an array would overflow.
    """
    cursors: dict[tuple[str, int, int], _Cursor] = {}
    placed = []
    for row in rows:
        outputs = []
        for output in row["outputs"]:
            place = output["name"], row["sr"], row["n_channels"]
            if place not in cursors:
                cursors[place] = _Cursor(plan_layout(plan, *place))
            outputs.append(cursors[place].put(output))
        placed.append(_plain({**row, "outputs": outputs}))
    objects = {}
    for cursor in cursors.values():
        for number, chunks in cursor.objects().items():
            objects[cursor.layout, number] = PackedObject(spool, chunks, cursor.layout.inner_per_shard)
    return Arranged(placed, objects, [cursor.layout for cursor in cursors.values()])


class _Cursor:
    """Fills one row of one array from its start."""

    def __init__(self, layout: ArrayLayout) -> None:
        self.layout = layout
        self._end = 0
        self._extents: dict[int, list[tuple[int, int]]] = defaultdict(list)

    def put(self, output: Mapping[str, Any]) -> dict[str, Any]:
        """The output as a row of the table describes it, and its chunks noted."""
        size = output["size"]
        place = self._put_stream if self.layout.lossy else self._put_chunks
        offset = place(size, output["chunks"])
        if self._end > self.layout.capacity:
            raise StoreError(
                f"a shard has more than the {self.layout.capacity} samples or bytes that a row of "
                f"{self.layout.name} can hold; give a shorter source.max_track_hours"
            )
        return {
            "name": output["name"],
            "array": self.layout.name,
            "offset": offset,
            "size": size,
            "delay": output["delay"],
        }

    def objects(self) -> dict[int, list[InnerChunk]]:
        """Inner chunks by number of the object that they belong to; none for an object of silence."""
        objects: dict[int, list[InnerChunk]] = defaultdict(list)
        for index in sorted(self._extents):
            extents = tuple(self._extents[index])
            used = sum(n_bytes for _, n_bytes in extents)
            padding = self.layout.chunk - used if self.layout.lossy else 0
            number, inner = divmod(index, self.layout.inner_per_shard)
            objects[number].append(InnerChunk(inner, extents, padding))
        return objects

    def _put_chunks(self, size: int, chunks: Iterable[Sequence[int]]) -> int:
        offset = self._end
        first = offset // self.layout.chunk
        n_chunks = math.ceil(size / self.layout.chunk)
        for index, spool_offset, n_bytes in chunks:
            if not 0 <= index < n_chunks:
                raise StoreError(f"chunk {index} of a track of {n_chunks} chunks: the encoder is at fault")
            self._extents[first + index].append((spool_offset, n_bytes))
        self._end = (first + n_chunks) * self.layout.chunk
        return offset

    def _put_stream(self, size: int, chunks: Iterable[Sequence[int]]) -> int:
        offset = self._end
        for _, spool_offset, n_bytes in chunks:
            done = 0
            while done < n_bytes:
                index, start = divmod(self._end, self.layout.chunk)
                step = min(n_bytes - done, self.layout.chunk - start)
                self._extents[index].append((spool_offset + done, step))
                done += step
                self._end += step
        if self._end - offset != size:
            raise StoreError(f"{self._end - offset} bytes of a stream of {size}: the encoder is at fault")
        return offset


def _plain(value: Any) -> Any:
    """The value in plain JSON types; NaN and infinities, which JSON lacks, become null."""
    kind = type(value)
    if kind is float:  # most are
        return value if math.isfinite(value) else None
    if kind is str or kind is int or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
