"""Reading the audio arrays: the index of an object once, then only the inner chunks that are asked for."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numcodecs.blosc import Blosc
from numpy.typing import NDArray

from corpusdiff.errors import StoreError, TrackError
from corpusdiff.store.codec import decode_chunk
from corpusdiff.store.layout import ArrayLayout
from corpusdiff.store.objects import Objects
from corpusdiff.store.pack import ABSENT, index_bytes, parse_index, without_crc

#: Indices of objects that stay in memory (at most 64 KiB each).
_CACHED_INDICES = 64


class ArrayReader:
    """Random access to one audio array.

    Parameters
    ----------
    objects : the store
    layout : of the array
    """

    def __init__(self, objects: Objects, layout: ArrayLayout) -> None:
        self.layout = layout
        self._objects = objects
        self._index = lru_cache(_CACHED_INDICES)(self._read_index)

    def read(self, row: int, start: int, stop: int) -> NDArray[Any]:
        """Elements ``start`` up to ``stop`` of a row.

        (n_channels, stop - start) of the array's dtype; (stop - start,) uint8 for a lossy array. Raises
        StoreError naming the object where it is damaged.
        """
        chunk = self.layout.chunk
        out = np.zeros((*self._lead, stop - start), self.layout.dtype)
        for number in range(start // chunk, -(-stop // chunk)):
            found = self._chunk(row, number)
            if found is not None:
                first, last = max(start, number * chunk), min(stop, (number + 1) * chunk)
                out[..., first - start : last - start] = found[..., first - number * chunk : last - number * chunk]
        return out

    @property
    def _lead(self) -> tuple[int, ...]:
        return () if self.layout.lossy else (self.layout.n_channels,)

    def raw(self, row: int, number: int) -> bytes | None:
        """One inner chunk as it is stored, its checksum looked at and taken off; None for silence.

        Raises StoreError naming the object where it is damaged.
        """
        found = self._stored(row, number)
        if found is None:
            return None
        key, data = found
        try:
            return without_crc(data)
        except ValueError as error:
            raise StoreError(f"{key}: chunk {number} is damaged: {error}; see corpusdiff verify") from error

    def _stored(self, row: int, number: int) -> tuple[str, bytes] | None:
        object_number, inner = divmod(number, self.layout.inner_per_shard)
        key = self.layout.object_key(row, object_number)
        index = self._index(key)
        if index is None or index[inner, 0] == ABSENT:
            return None
        return key, self._objects.read_range(key, int(index[inner, 0]), int(index[inner, 1]))

    def _chunk(self, row: int, number: int) -> NDArray[Any] | None:
        """One inner chunk, None for silence."""
        found = self._stored(row, number)
        if found is None:
            return None
        key, data = found
        try:
            return self._decode(without_crc(data))
        except (ValueError, RuntimeError, TrackError) as error:
            inner = number % self.layout.inner_per_shard
            raise StoreError(f"{key}: inner chunk {inner} is damaged: {error}; see corpusdiff verify") from error

    def _read_index(self, key: str) -> NDArray[np.uint64] | None:
        size = index_bytes(self.layout.inner_per_shard)
        try:
            return parse_index(self._objects.read_range(key, -size, size), self.layout.inner_per_shard)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise StoreError(f"{key}: damaged: {error}; run corpusdiff verify") from error

    def _decode(self, data: bytes) -> NDArray[Any]:
        if self.layout.encoding == "flac":
            return decode_chunk(data, self.layout.chunk)
        raw = Blosc().decode(data) if self.layout.encoding == "pcm" else data
        little = self.layout.dtype.newbyteorder("<")
        return np.frombuffer(raw, little).reshape(*self._lead, self.layout.chunk)


def to_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples as float32 with full scale 1.0; 24 bits are left-justified in int32."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(2**15)
    if samples.dtype == np.int32:
        return samples.astype(np.float32) / np.float32(2**31)
    return samples.astype(np.float32)
