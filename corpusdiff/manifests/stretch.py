"""A stretch of a long recording behind a URL or inside another file, without the rest of it.

What comes is a local file that decodes, from the stretch's first sample on, to what the whole file does: of PCM in WAV
the header and the stretch's bytes at their places, between them nothing; of FLAC (RFC 9639) its frames, behind a header
with a seek table that leads there. What is written otherwise is not cut: `fetch_stretch` says None.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TypeAlias

#: Reads the bytes from a place up to another.
Read: TypeAlias = Callable[[int, int], bytes]

#: What is read to find a header, and a frame of FLAC.
_HEAD_BYTES = 64 * 2**10
_PROBE_BYTES = 64 * 2**10

#: Requests that the search for a place in a FLAC file may take; each divides the distance by many.
_MOST_PROBES = 24

#: How close in bytes the search comes to a place; the frames in between are fetched with the stretch.
_CLOSE_BYTES = 256 * 2**10

#: Samples in the smallest frame of FLAC.
_SMALLEST_BLOCK = 16

_RIFF = {b"RIFF", b"RF64"}
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a recording.

    Parameters
    ----------
    start_s, stop_s : seconds
    extra : samples that are decoded beyond the stop
    """

    start_s: float
    stop_s: float
    extra: int


def fetch_stretch(read: Read, size: int, wanted: Wanted, folder: str | None) -> IO[bytes] | None:
    """The stretch as an unnamed file in `folder`, None where the whole file is needed; the caller closes it.

    Parameters
    ----------
    read : of the file's bytes
    size : how many it has

    Raises what `read` does.
    """
    head = read(0, min(size, _HEAD_BYTES))
    if head[:4] in _RIFF and head[8:12] == b"WAVE":
        return _of_wav(head, read, size, wanted, folder)
    if head[:4] == b"fLaC":
        return _of_flac(head, read, size, wanted, folder)
    return None


def _of_wav(head: bytes, read: Read, size: int, wanted: Wanted, folder: str | None) -> IO[bytes] | None:
    form: tuple[int, ...] | None = None
    at = 12
    while at + 8 <= len(head) and head[at : at + 4] != b"data":
        if head[at : at + 4] == b"fmt ":
            form = struct.unpack_from("<HHIIHH", head, at + 8)
        length = struct.unpack_from("<I", head, at + 4)[0]
        at += 8 + length + length % 2
    if form is None or at + 8 > len(head) or form[0] not in {_PCM, _FLOAT, _EXTENSIBLE}:
        return None
    _, n_channels, sr, _, align, bits = form
    if not sr or not align or align != n_channels * bits // 8:
        return None
    data = at + 8
    start = data + max(0, int(wanted.start_s * sr) - 1) * align
    stop = data + (int(wanted.stop_s * sr) + 2 + wanted.extra) * align
    return _written([(0, head), *_parts(read, start, min(stop, size), 0)], size, folder)


@dataclass(frozen=True)
class _Stream:
    """What every frame of a FLAC file has to agree with.

    Parameters
    ----------
    info : the block STREAMINFO, without its header
    blocksize, sr, n_channels, bits, n_samples : of the stream
    first : where its frames begin, in bytes
    """

    info: bytes
    blocksize: int
    sr: int
    n_channels: int
    bits: int
    n_samples: int
    first: int


def _of_flac(head: bytes, read: Read, size: int, wanted: Wanted, folder: str | None) -> IO[bytes] | None:
    stream = _stream(head)
    if stream is None or size - stream.first < 4 * _CLOSE_BYTES:
        return None
    first = max(0, int(wanted.start_s * stream.sr) - 1) // stream.blocksize
    last = min(stream.n_samples, int(wanted.stop_s * stream.sr) + 2 + wanted.extra) // stream.blocksize + 1
    n_frames = -(-stream.n_samples // stream.blocksize)
    if first >= n_frames:
        return None
    start = _place(read, stream, size, first)
    stop = (n_frames, size) if last >= n_frames else _place(read, stream, size, last, behind=True)
    if start is None or stop is None or stop[1] <= start[1]:
        return None
    points = [(start[0] * stream.blocksize, start[1] - stream.first)]
    if stop[0] < n_frames:
        points.append((stop[0] * stream.blocksize, stop[1] - stream.first))
    table = b"".join(struct.pack(">QQH", sample, offset, stream.blocksize) for sample, offset in points)
    header = b"fLaC" + _block(0, stream.info) + _block(0x83, table)
    shift = len(header) - stream.first
    # the frame at the stop is looked at by a decoder that seeks
    parts = _parts(read, start[1], min(stop[1] + _PROBE_BYTES, size), shift)
    return _written([(0, header), *parts], size + shift, folder)


def _block(kind: int, data: bytes) -> bytes:
    return bytes([kind]) + len(data).to_bytes(3, "big") + data


def _stream(head: bytes) -> _Stream | None:
    """The stream's description; None for one whose frames are not all of one size, and one of unknown length."""
    at, info = 4, b""
    while at + 4 <= len(head):
        kind, length = head[at] & 0x7F, int.from_bytes(head[at + 1 : at + 4], "big")
        if kind == 0:
            info = head[at + 4 : at + 4 + length]
        is_last = bool(head[at] & 0x80)
        at += 4 + length
        if is_last:
            break
    else:
        return None
    if len(info) != 34 or at > len(head):
        return None
    smallest, largest = struct.unpack_from(">HH", info)
    packed = int.from_bytes(info[10:18], "big")
    sr, n_samples = packed >> 44, packed & (1 << 36) - 1
    if smallest != largest or smallest < _SMALLEST_BLOCK or not sr or not n_samples:
        return None
    return _Stream(info, largest, sr, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1, n_samples, at)


def _place(read: Read, stream: _Stream, size: int, frame: int, *, behind: bool = False) -> tuple[int, int] | None:
    """Number and place of a frame not after `frame` and close to it, or not before it where `behind`."""
    low, high = (0, stream.first), (-(-stream.n_samples // stream.blocksize), size)
    ceiling = size  # no frame but `high` begins from here on
    for _ in range(_MOST_PROBES):
        if (high if behind else low)[0] == frame or high[1] - low[1] <= _CLOSE_BYTES or ceiling <= low[1] + 1:
            return high if behind else low
        share = (frame - low[0]) / max(1, high[0] - low[0])
        guess = low[1] + int(share * (high[1] - low[1])) + (_PROBE_BYTES if behind else -_PROBE_BYTES)
        guess = max(low[1] + 1, min(guess, ceiling - _PROBE_BYTES))
        found = _frame_in(read(guess, min(guess + _PROBE_BYTES, size)), stream)
        if found is None:
            return None
        place = (found[0], guess + found[1])
        if place[0] >= high[0]:
            ceiling = guess
        elif place[0] < frame or (place[0] == frame and not behind):
            low = place
        else:
            high, ceiling = place, place[1]
    return high if behind else low


def _frame_in(data: bytes, stream: _Stream) -> tuple[int, int] | None:
    """Number and place of the first frame that begins in `data`; None where none is to be found."""
    at = data.find(b"\xff\xf8")
    while at >= 0:
        number = _frame_number(data[at : at + 16], stream)
        if number is not None:
            return number, at
        at = data.find(b"\xff\xf8", at + 1)
    return None


def _frame_number(header: bytes, stream: _Stream) -> int | None:
    """The number in a frame's header, None where it is none of this stream's."""
    if len(header) < 16 or not _agrees(header, stream):
        return None
    code = header[2]
    ones = 8 - (header[4] ^ 0xFF).bit_length()
    n_coded = ones or 1
    if ones == 1 or ones > 7:
        return None
    number = header[4] & (0x7F >> ones)
    for byte in header[5 : 4 + n_coded]:
        if byte >> 6 != 2:
            return None
        number = number << 6 | byte & 0x3F
    end = 4 + n_coded + {6: 1, 7: 2}.get(code >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(code & 15, 0)
    if end >= len(header) or _crc8(header[:end]) != header[end]:
        return None
    return number if number * stream.blocksize < stream.n_samples else None


def _agrees(header: bytes, stream: _Stream) -> bool:
    """Whether channels and bits of a frame's header are the stream's, and no value is one that is not given out."""
    code, channels, bits = header[2], header[3] >> 4, header[3] >> 1 & 7
    if channels > 10 or header[3] & 1 or not code >> 4 or code & 15 == 15:
        return False
    n_channels = channels + 1 if channels < 8 else 2
    return n_channels == stream.n_channels and (not bits or (0, 8, 12, 0, 16, 20, 24, 32)[bits] == stream.bits)


def _crc8(data: bytes) -> int:
    """Of RFC 9639: polynomial x^8 + x^2 + x + 1."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc


def _parts(read: Read, start: int, stop: int, shift: int) -> list[tuple[int, bytes]]:
    """Bytes with the places where they go."""
    return [(start + shift, read(start, stop))] if stop > start else []


def _written(parts: list[tuple[int, bytes]], size: int, folder: str | None) -> IO[bytes]:
    file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by who gets it
    try:
        for place, data in parts:
            file.seek(place)
            file.write(data)
        file.truncate(size)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file
