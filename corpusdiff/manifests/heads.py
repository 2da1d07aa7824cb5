"""The ends of a file behind a URL or inside another, in a sparse local file of the true size: enough for its header.

Most headers lie in the first 32 KiB, which is one request. Where what follows them is not in sight (metadata of FLAC
and ID3 can be long), where the length stands at the end (MP4 with its index there, Ogg), or where the format is
another, more is fetched; nothing here is believed, and a header that is still out of reach stays unknown.
"""

from __future__ import annotations

import tempfile
import threading
from typing import IO

from corpusdiff.manifests.transport import read_range

#: Bytes of the first request, and of those that follow it where it does not suffice.
FIRST_BYTES = 32 * 2**10
MORE_BYTES = 128 * 2**10

#: Where the samples begin, in formats whose header comes first and tells their number.
_MARKS = {b"RIFF": b"data", b"RF64": b"data", b"FORM": b"SSND", b"caff": b"data", b".snd": b".snd", b"NIST": b"NIST"}


def fetch_ends(url: str, size: int, folder: str | None, halt: threading.Event, at: int = 0) -> IO[bytes]:
    """An unnamed file of `size` bytes with the beginning of the file, its end where that matters, and holes.

    The file begins at byte `at` of what is behind the URL. Raises as `corpusdiff.manifests.transport.patiently`; the
    caller closes it.
    """

    def read(start: int, stop: int) -> bytes:
        data = read_range(url, at + start, at + stop, halt)
        return data if len(data) <= stop - start else data[at + start : at + size]  # a server that knows no ranges

    file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by who gets it
    try:
        head = read(0, min(size, FIRST_BYTES))
        file.write(head)
        for start, stop in _further(head, size):
            if len(head) <= start:  # else the server knows no ranges and has sent all of it
                file.seek(start)
                file.write(read(start, stop)[: stop - start])
        file.truncate(size)
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _further(head: bytes, size: int) -> list[tuple[int, int]]:
    """Which other parts of the file are needed, by what the first is."""
    if size <= len(head):
        return []
    start = samples_start(head)
    if start is not None and start < len(head):
        return []
    if size <= 2 * MORE_BYTES:
        return [(len(head), size)]
    parts = [(len(head), MORE_BYTES), (size - MORE_BYTES, size)]
    if start is not None and MORE_BYTES <= start < size - MORE_BYTES:
        parts.insert(1, (start, min(start + FIRST_BYTES, size)))
    return parts


def samples_start(head: bytes) -> int | None:
    """Where the samples of a file begin that starts like this, None where that is not known.

    >>> samples_start(b"RIFF....WAVEdata...."), samples_start(b"OggS"), samples_start(b"ID3" + bytes(7))
    (12, None, 10)
    """
    mark = _MARKS.get(head[:4])
    if mark is not None:
        found = head.find(mark)
        return found if found >= 0 else None
    if head[:4] == b"fLaC":
        return _behind_metadata(head)
    if head[:3] == b"ID3" and len(head) >= 10:
        return 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    if len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0:
        return 0  # frames of MPEG audio
    return None


def _behind_metadata(head: bytes) -> int:
    """The end of FLAC's metadata blocks, or where the first of them begins that is not in sight."""
    at = 4
    while at + 4 <= len(head):
        is_last = bool(head[at] & 0x80)
        at += 4 + int.from_bytes(head[at + 1 : at + 4], "big")
        if is_last:
            break
    return at
