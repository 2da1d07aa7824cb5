"""An object of which ranges can be had, as a file."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class RangedFile(io.RawIOBase):
    """A seekable file without a buffer; one ranged request at each read.

    Parameters
    ----------
    read_range : the bytes from a start, at most so many
    length : bytes in all
    """

    def __init__(self, read_range: Callable[[int, int], bytes], length: int) -> None:
        super().__init__()
        self._read_range = read_range
        self._length = length
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; no request is made."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """One ranged request."""
        size = min(len(buffer), self._length - self._position)
        if size <= 0:
            return 0
        data = self._read_range(self._position, size)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
