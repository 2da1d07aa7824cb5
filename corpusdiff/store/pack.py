"""Zarr shard objects, built straight from encoded inner chunks that lie in a spool file.

The layout is that of Zarr v3's ``sharding_indexed`` codec: the inner chunks, each with its crc32c, then
the index of ``(offset, size)`` pairs in little-endian uint64 (all ones for an absent chunk) with its own
crc32c.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import google_crc32c
import numpy as np
from numpy.typing import NDArray

#: Offset and size of an inner chunk that is not there.
ABSENT = np.uint64(2**64 - 1)

#: Bytes of a crc32c.
CRC_BYTES = 4

_ENTRY_BYTES = 16

#: The crc32c of anything that its own crc32c follows (RFC 3720, appendix B.4: of the polynomial, not of the data).
_RESIDUE = 0x48674BC7


@dataclass(frozen=True)
class InnerChunk:
    """One encoded inner chunk, before its checksum.

    Parameters
    ----------
    index : its place in the object
    extents : ``(offset, n_bytes)`` stretches of the spool that make it, in order
    padding : zero bytes that follow them
    """

    index: int
    extents: tuple[tuple[int, int], ...]
    padding: int = 0


@dataclass
class PackedObject:
    """A Zarr shard object, produced block by block as often as is needed.

    Parameters
    ----------
    spool : path of the file that holds the chunks
    chunks : the inner chunks that are there, by rising index
    inner_per_shard : places in the object

    ``size`` and ``sha256`` are known, and ``table`` holds ``[index, n_bytes, crc32c]`` per inner chunk
    (sizes with their checksum), once ``blocks`` has run to its end.
    """

    spool: str
    chunks: Sequence[InnerChunk]
    inner_per_shard: int
    size: int = 0
    sha256: str = ""
    table: list[list[int]] = field(default_factory=list)

    def blocks(self) -> Iterator[bytes | bytearray]:
        """The object's bytes, one inner chunk at a time, each digested while it is written."""
        digest = hashlib.sha256()
        digested: Future[None] | None = None
        index = np.full((self.inner_per_shard, 2), ABSENT, "<u8")
        table: list[list[int]] = []
        offset = 0
        with open(self.spool, "rb") as spool, ThreadPoolExecutor(1) as beside:  # noqa: PTH123  # a path, /dev/fd too
            for chunk in self.chunks:
                block = _block(spool.fileno(), chunk)
                crc = int.from_bytes(block[-CRC_BYTES:], "little")
                index[chunk.index] = offset, len(block)
                table.append([chunk.index, len(block), crc])
                offset += len(block)
                if digested is not None:
                    digested.result()
                digested = beside.submit(digest.update, block)
                yield block
        tail = with_crc(index.tobytes())
        digest.update(tail)
        self.size, self.sha256, self.table = offset + len(tail), digest.hexdigest(), table
        yield tail

    def finished(self) -> PackedObject:
        """Self with size, sha256 and table known."""
        if not self.sha256:
            for _ in self.blocks():
                pass
        return self


def with_crc(data: bytes) -> bytes:
    """`data` and its crc32c, as Zarr's ``crc32c`` codec writes it."""
    crc: int = google_crc32c.value(data)
    return data + crc.to_bytes(CRC_BYTES, "little")


def without_crc(data: bytes) -> bytes:
    """`data` less its crc32c. Raises ValueError where the two do not agree."""
    body = data[:-CRC_BYTES]
    if len(data) < CRC_BYTES or google_crc32c.value(body) != int.from_bytes(data[-CRC_BYTES:], "little"):
        raise ValueError("the checksum (crc32c) does not fit")
    return body


def view_without_crc(data: memoryview) -> memoryview:
    """As `without_crc`, and nothing is copied."""
    if len(data) < CRC_BYTES or google_crc32c.value(np.frombuffer(data, np.uint8)) != _RESIDUE:
        raise ValueError("the checksum (crc32c) does not fit")
    return data[:-CRC_BYTES]


def index_bytes(inner_per_shard: int) -> int:
    """Size of an object's index with its checksum."""
    return inner_per_shard * _ENTRY_BYTES + CRC_BYTES


def parse_index(data: bytes, inner_per_shard: int) -> NDArray[np.uint64]:
    """The ``(offset, size)`` pairs of an index, (inner_per_shard, 2). Raises ValueError."""
    if len(data) != index_bytes(inner_per_shard):
        raise ValueError(f"index of {len(data)} bytes, expected {index_bytes(inner_per_shard)}")
    return np.frombuffer(without_crc(data), "<u8").reshape(inner_per_shard, 2)


def _block(descriptor: int, chunk: InnerChunk) -> bytearray:
    """The chunk and its checksum, copied once."""
    size = sum(n for _, n in chunk.extents) + chunk.padding
    block = bytearray(size + CRC_BYTES)
    rest = memoryview(block)
    for offset, n in chunk.extents:
        n_read = os.preadv(descriptor, [rest[:n]], offset)
        if n_read != n:
            raise OSError(f"spool file ends at {offset + n_read}, expected {offset + n} bytes or more")
        rest = rest[n:]
    crc = google_crc32c.value(np.frombuffer(block, np.uint8, size))
    block[size:] = crc.to_bytes(CRC_BYTES, "little")
    return block
