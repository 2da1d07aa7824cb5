"""A cache bounded in bytes, least recently used out first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What knows how many bytes it takes."""

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        ...


K = TypeVar("K")
V = TypeVar("V", bound=Sized)


class ByteCache(Generic[K, V]):
    """Keeps what `load` returned, up to `limit` bytes in all. Safe between threads.

    Parameters
    ----------
    load : makes the value of a key; may run twice for one key when two threads ask at once
    limit : bytes; the last value stays even when it alone is larger
    """

    def __init__(self, load: Callable[[K], V], limit: int) -> None:
        self._load = load
        self._limit = limit
        self._used = 0
        self._values: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, key: K) -> V:
        try:  # without the lock: each of the two is atomic, and one that is gone is loaded again
            value = self._values[key]
            self._values.move_to_end(key)
        except KeyError:
            value = self._put(key, self._load(key))
        return value

    def _put(self, key: K, value: V) -> V:
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._used += value.nbytes
            while self._used > self._limit and len(self._values) > 1:
                self._used -= self._values.popitem(last=False)[1].nbytes
        return value
