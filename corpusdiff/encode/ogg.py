"""Give every stream of an Ogg file a fixed serial number, so that equal audio gives equal bytes.

The serial is chosen at random by libsndfile; the page checksum covers it (RFC 3533, section 6).
"""

from __future__ import annotations

import struct

import numpy as np
from numba import njit
from numpy.typing import NDArray

_HEADER = 27
_SERIAL = 14
_CHECKSUM = 22


def with_fixed_serial(data: bytes, serial: int = 1) -> bytes:
    """The same Ogg stream under another serial number. Raises ValueError for bytes that are no Ogg pages."""
    out = bytearray(data)
    start = 0
    while start < len(out):
        stop = _page_end(out, start)
        struct.pack_into("<I", out, start + _SERIAL, serial)
        struct.pack_into("<I", out, start + _CHECKSUM, 0)
        crc = int(_crc(np.frombuffer(out, np.uint8)[start:stop], _TABLE))
        struct.pack_into("<I", out, start + _CHECKSUM, crc)
        start = stop
    return bytes(out)


def _page_end(data: bytearray, start: int) -> int:
    if data[start : start + 4] != b"OggS" or len(data) < start + _HEADER:
        raise ValueError(f"no Ogg page at byte {start}")
    n_segments = data[start + _HEADER - 1]
    body = start + _HEADER + n_segments
    stop = body + sum(data[start + _HEADER : body])
    if stop > len(data):
        raise ValueError(f"the Ogg page at byte {start} is cut off")
    return stop


def _crc_table() -> NDArray[np.uint32]:
    # polynomial 0x04c11db7, most significant bit first, no final inversion
    table = np.arange(256, dtype=np.uint32) << np.uint32(24)
    for _ in range(8):
        carry = (table >> np.uint32(31)).astype(bool)
        table = (table << np.uint32(1)) ^ np.where(carry, np.uint32(0x04C11DB7), np.uint32(0))
    return table


_TABLE = _crc_table()


@njit(cache=True, nogil=True)
def _crc(data: NDArray[np.uint8], table: NDArray[np.uint32]) -> np.uint32:
    crc = np.uint32(0)
    for byte in data:
        crc = np.uint32(crc << np.uint32(8)) ^ table[np.uint32(crc >> np.uint32(24)) ^ np.uint32(byte)]
    return crc
