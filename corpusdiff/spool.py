"""Audio that waits between two passes: in memory while short, in an unnamed file when long."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import IO

import numpy as np

from corpusdiff.stages.base import Audio

#: Samples per channel of a block between the passes: fits the cache, amortises Python.
BLOCK = 1 << 16

#: Samples of all channels together that are kept in memory (16 MiB of float32).
MEMORY_LIMIT = 4 * 2**20


class AudioSpool:
    """Appends blocks of (n_channels, n) float32 and gives them back in blocks of any length.

    Parameters
    ----------
    n_channels : number of channels of every block
    folder : where the unnamed file goes; None for the system's temporary folder
    memory_limit : samples of all channels together that stay in memory
    """

    def __init__(self, n_channels: int, folder: str | None = None, memory_limit: int = MEMORY_LIMIT) -> None:
        self.n_channels = n_channels
        self.n_samples = 0
        self._folder = folder
        self._memory_limit = memory_limit
        self._parts: list[Audio] = []
        self._file: IO[bytes] | None = None

    def __enter__(self) -> AudioSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, x: Audio) -> None:
        """Append a block; the caller may reuse its array only if it is not changed afterwards."""
        if x.shape[1] == 0:
            return
        self.n_samples += x.shape[1]
        if self._file is None:
            self._parts.append(x)
            if self.n_samples * self.n_channels > self._memory_limit:
                self._move_to_file()
        else:
            self._file.write(_interleaved(x))

    def blocks(self, size: int | None = None) -> Iterator[Audio]:
        """All samples from the first, in C-contiguous blocks of `size` (or `BLOCK`), the last may be shorter."""
        size = size or BLOCK
        if self._file is None:
            yield from self._blocks_in_memory(size)
            return
        frame = 4 * self.n_channels
        self._file.flush()
        for start in range(0, self.n_samples, size):
            self._file.seek(start * frame)
            raw = self._file.read(min(size, self.n_samples - start) * frame)
            yield np.ascontiguousarray(np.frombuffer(raw, np.float32).reshape(-1, self.n_channels).T)

    def close(self) -> None:
        """Forget the samples."""
        self._parts = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def _blocks_in_memory(self, size: int) -> Iterator[Audio]:
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts, axis=1)]
        for part in self._parts:
            for start in range(0, part.shape[1], size):
                yield np.ascontiguousarray(part[:, start : start + size])

    def _move_to_file(self) -> None:
        self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # closed by `close`
        for part in self._parts:
            self._file.write(_interleaved(part))
        self._parts = []


def _interleaved(x: Audio) -> bytes | memoryview:
    return x.T.tobytes() if len(x) > 1 else np.ascontiguousarray(x).data


class AudioQueue:
    """Samples that wait for others, first in, first out.

    Parameters
    ----------
    n_channels : number of channels of every block
    """

    def __init__(self, n_channels: int) -> None:
        self.n_samples = 0
        self._blocks = deque([np.zeros((n_channels, 0), np.float32)])

    def push(self, x: Audio) -> None:
        """Append a block, which may not be changed afterwards."""
        self._blocks.append(x)
        self.n_samples += x.shape[1]

    def take(self, n: int) -> Audio:
        """(n_channels, n) C-contiguous: the first of the `n_samples` that wait, which are so many or more."""
        parts = [self._blocks.popleft()]
        left = n - parts[0].shape[1]
        while left > 0:
            parts.append(self._blocks.popleft())
            left -= parts[-1].shape[1]
        joined = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        self._blocks.appendleft(joined[:, n:])
        self.n_samples -= n
        return np.ascontiguousarray(joined[:, :n])
