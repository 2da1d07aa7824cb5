"""Reading the audio arrays: the index of an object once, then only the inner chunks that are asked for.

What lies together is fetched together; of an object store, as much at once as it likes. Decoding takes
place in the caller's thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import StoreError, TrackError
from corpusdiff.store.cache import ByteCache
from corpusdiff.store.decode import decode_into
from corpusdiff.store.layout import ArrayLayout
from corpusdiff.store.objects import Objects, concurrently
from corpusdiff.store.pack import ABSENT, index_bytes, parse_index, view_without_crc
from corpusdiff.store.spans import Span, spans

#: Bytes of indices that stay in memory: of a thousand large objects.
_INDEX_BYTES = 64 * 2**20


class Stretch(NamedTuple):
    """Elements `start` up to `stop` of a row of an array."""

    row: int
    start: int
    stop: int


class _Part(NamedTuple):
    """What an inner chunk gives to a stretch: `out`, filled from its element `start` on."""

    key: str
    inner: int
    start: int
    out: NDArray[Any]


@dataclass(frozen=True)
class _Request:
    """A range of an object, and where in it the chunks of its parts begin and end."""

    span: Span
    parts: tuple[tuple[_Part, int, int], ...]


class ArrayReader:
    """Random access to one audio array, from any number of threads.

    Parameters
    ----------
    objects : the store
    layout : of the array
    """

    def __init__(self, objects: Objects, layout: ArrayLayout) -> None:
        self.layout = layout
        self._objects = objects
        self._indices = ByteCache(self._read_index, _INDEX_BYTES)
        self._lead = () if layout.lossy else (layout.n_channels,)
        self._chunk, self._dtype = layout.chunk, layout.dtype  # which a layout finds out anew each time
        #: Type of samples as they are listened to; of a stream, its bytes.
        self.heard_dtype = self._dtype if layout.lossy else np.dtype(np.float32)

    def read(self, row: int, start: int, stop: int, dtype: Any = None) -> NDArray[Any]:
        """Elements ``start`` up to ``stop`` of a row, as `read_many` gives them."""
        number, first = divmod(start, self._chunk)
        if not start < stop <= start - first + self._chunk:
            return self.read_many([Stretch(row, start, stop)], dtype)[0]
        out = np.empty((*self._lead, stop - start), dtype or self._dtype)  # most tracks are a chunk: no ado
        key, inner = self._place(row, number)
        index = self._indices[key]
        if inner < len(index) and index[inner, 0] != ABSENT:
            self._decode(self._objects.borrow(key, *index[inner].tolist()), _Part(key, inner, first, out))
        else:
            out[:] = 0
        return out

    def read_many(self, stretches: Sequence[Stretch], dtype: Any = None) -> list[NDArray[Any]]:
        """Several stretches, by as few requests as they allow.

        Each (n_channels, stop - start) of `dtype`: the array's own or float32 of full scale 1.0; (stop - start,) uint8
        of a lossy array. Raises StoreError naming the object where it is damaged.
        """
        found = [np.empty((*self._lead, s.stop - s.start), dtype or self._dtype) for s in stretches]
        by_key: dict[str, list[_Part]] = defaultdict(list)
        for stretch, out in zip(stretches, found, strict=True):
            for part in self._parts(stretch, out):
                by_key[part.key].append(part)
        indices = concurrently(self._objects, self._indices.__getitem__, by_key)
        requests = [
            request
            for index, parts in zip(indices, by_key.values(), strict=True)
            for request in _requests(index, parts, self._objects.gap_bytes)
        ]
        for request, data in zip(requests, concurrently(self._objects, self._fetch, requests), strict=True):
            for part, start, stop in request.parts:
                self._decode(data[start:stop], part)
        return found

    def raw(self, row: int, number: int) -> bytes | None:
        """One inner chunk as it is stored, its checksum looked at and taken off; None for silence.

        Raises StoreError naming the object where it is damaged.
        """
        key, inner = self._place(row, number)
        for request in _requests(self._indices[key], [_Part(key, inner, 0, np.zeros(0))], 0):
            return bytes(self._checked(self._fetch(request), key, inner))
        return None

    def _place(self, row: int, number: int) -> tuple[str, int]:
        object_number, inner = divmod(number, self.layout.inner_per_shard)
        return self.layout.object_key(row, object_number), inner

    def _parts(self, stretch: Stretch, out: NDArray[Any]) -> Iterator[_Part]:
        chunk = self._chunk
        for number in range(stretch.start // chunk, -(-stretch.stop // chunk)):
            first, last = max(stretch.start, number * chunk), min(stretch.stop, (number + 1) * chunk)
            into = out[..., first - stretch.start : last - stretch.start]
            yield _Part(*self._place(stretch.row, number), first - number * chunk, into)

    def _fetch(self, request: _Request) -> memoryview:
        """On loan: of a store that is asked for one after another, each is decoded before the next is fetched."""
        return self._objects.borrow(request.parts[0][0].key, request.span.start, request.span.size)

    def _decode(self, data: memoryview, part: _Part) -> None:
        body = self._checked(data, part.key, part.inner)
        try:
            decode_into(body, self.layout, part.start, part.out)
        except (ValueError, RuntimeError, TrackError) as error:
            raise _damaged(part.key, part.inner, error) from error

    @staticmethod
    def _checked(data: memoryview, key: str, inner: int) -> memoryview:
        try:
            return view_without_crc(data)
        except ValueError as error:
            raise _damaged(key, inner, error) from error

    def _read_index(self, key: str) -> NDArray[np.uint64]:
        """Offset and size of each inner chunk; nothing where there is no object, which is silence."""
        size = index_bytes(self.layout.inner_per_shard)
        try:
            return parse_index(self._objects.read_part(key, -size, size), self.layout.inner_per_shard)
        except FileNotFoundError:
            return np.zeros((0, 2), np.uint64)
        except ValueError as error:
            raise StoreError(f"{key}: damaged: {error}; run corpusdiff verify") from error


def _requests(index: NDArray[np.uint64], parts: Sequence[_Part], gap: int) -> Iterator[_Request]:
    """What to ask an object for, so that all parts have their chunks; silent ones need nothing."""
    there = []
    for part in parts:
        if part.inner < len(index) and index[part.inner, 0] != ABSENT:
            there.append(part)
        else:
            part.out[:] = 0
    ranges = [(int(index[part.inner, 0]), int(index[part.inner, 1])) for part in there]
    for span in spans(ranges, gap):
        places = ((there[n], ranges[n][0] - span.start, ranges[n][1]) for n in span.members)
        yield _Request(span, tuple((part, first, first + size) for part, first, size in places))


def _damaged(key: str, inner: int, error: Exception) -> StoreError:
    return StoreError(f"{key}: inner chunk {inner} is damaged: {error}; see corpusdiff verify")
