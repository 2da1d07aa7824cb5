"""Files that stay open between reads: opening one costs more than a read."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

#: Files that are open at most; systems allow a process 1024 and more.
MOST = 64

#: Bytes that each thread keeps to read into.
LOAN_BYTES = 1 << 20


class KeptFiles:
    """Reads ranges of files that never change. Safe between threads, and after a fork.

    Parameters
    ----------
    path : of the file of a key
    """

    def __init__(self, path: Callable[[str], Path]) -> None:
        self._path = path
        self._files: OrderedDict[str, _Descriptor] = OrderedDict()
        self._lock = threading.Lock()
        self._loans = threading.local()

    def read(self, key: str, start: int, size: int) -> bytes:
        """At most `size` bytes from `start`; a negative `start` counts from the end. Raises FileNotFoundError."""
        file = self._file(key)  # held here, it stays open though another thread may drop it
        return os.pread(file.fd, size, max(file.size + start, 0) if start < 0 else start)

    def borrow(self, key: str, start: int, size: int) -> memoryview:
        """The same in memory that this thread's next loan overwrites: to have it anew costs more than to fill it."""
        if size > LOAN_BYTES:
            return memoryview(self.read(key, start, size))
        file = self._file(key)
        if not hasattr(self._loans, "memory"):
            self._loans.memory = memoryview(bytearray(LOAN_BYTES))
        loan: memoryview = self._loans.memory[:size]
        return loan[: os.preadv(file.fd, [loan], start)]

    def _file(self, key: str) -> _Descriptor:
        with self._lock:
            if key in self._files:
                self._files.move_to_end(key)
                return self._files[key]
        file = _Descriptor(self._path(key))
        with self._lock:
            self._files[key] = file
            while len(self._files) > MOST:
                self._files.popitem(last=False)
        return file


class _Descriptor:
    """An open file, closed when nobody has it any more."""

    def __init__(self, path: Path) -> None:
        self.fd = -1
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except NotADirectoryError as error:
            raise FileNotFoundError(*error.args) from error
        self.size = os.fstat(self.fd).st_size

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
