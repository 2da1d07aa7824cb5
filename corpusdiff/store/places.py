"""Where the audio of rows lies, a chunk of the table at a time, ready to be looked up for one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Place(NamedTuple):
    """The audio of one row, as the table has it."""

    array: str
    row: int
    offset: int
    size: int
    n_samples: int


@dataclass(frozen=True)
class Places:
    """Those of the rows of a chunk.

    Parameters
    ----------
    arrays : names of audio arrays
    which : number of each row's array in it, -1 for a row without audio
    numbers : row, offset, size and n_samples of each row, (n, 4)
    """

    arrays: tuple[str, ...]
    which: NDArray[np.int16]
    numbers: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.which.nbytes + self.numbers.nbytes

    def of(self, row: int) -> Place | None:
        """The place of a row of the chunk; None where it has no audio."""
        which = self.which[row]
        return None if which < 0 else Place(self.arrays[which], *self.numbers[row].tolist())


def places(column: Callable[[str], NDArray[Any]], prefix: str) -> Places:
    """From the columns of a chunk; those of a further output begin with `prefix`."""
    arrays, number = np.unique(column(f"{prefix}array"), return_inverse=True)
    which = np.where(column("status") == "ok", number, -1).astype(np.int16)
    numbers = [column(name) for name in ("row", f"{prefix}offset", f"{prefix}size", "n_samples")]
    return Places(tuple(arrays.tolist()), which, np.stack(numbers, axis=1))
