"""Cut a stream of blocks of any length into blocks of one length, counted from the first sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class Blocks:
    """Holds back what does not fill a block yet.

    Parameters
    ----------
    n_channels : channels of every block
    size : samples of every block that comes out
    """

    def __init__(self, n_channels: int, size: int) -> None:
        self._held = np.empty((n_channels, size), np.float32)
        self._n_held = 0

    def push(self, x: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Every block that `x` (n_channels, n) completes; each is valid only until the next is asked for."""
        size = self._held.shape[1]
        start = 0
        while start < x.shape[1]:
            taken = min(size - self._n_held, x.shape[1] - start)
            part = x[:, start : start + taken]
            start += taken
            if taken == size:
                yield part
                continue
            self._held[:, self._n_held : self._n_held + taken] = part
            self._n_held += taken
            if self._n_held == size:
                self._n_held = 0
                yield self._held

    def rest(self) -> NDArray[np.float32]:
        """(n_channels, fewer than size): what is left."""
        return self._held[:, : self._n_held]
