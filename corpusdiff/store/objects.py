"""Objects by key under OUT: created once and whole, or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from corpusdiff.errors import UsageError
from corpusdiff.store.local import Data, LocalObjects

__all__ = ["Data", "LocalObjects", "Objects", "blocks", "concurrently", "is_url", "open_objects"]

T = TypeVar("T")
R = TypeVar("R")

#: Where objects can be kept, other than in a folder.
_SCHEMES = ("s3", "gs", "az", "abfs")

#: Size of the blocks in which objects are streamed.
BLOCK_BYTES = 1 << 20


class Objects(Protocol):
    """A flat space of immutable objects keyed by relative posix paths."""

    @property
    def location(self) -> str:
        """Absolute path or URL, which `open_objects` takes."""
        ...

    @property
    def concurrency(self) -> int:
        """How many requests to have under way where many objects are asked for."""
        ...

    @property
    def gap_bytes(self) -> int:
        """Bytes that may be read in vain where two ranges of an object lie so far apart: cheaper than two requests."""
        ...

    def create(self, key: str, data: Data) -> bool:
        """Make the object, durably. False when the key is there already, and nothing is changed.

        Blocks of `data` may or may not have been consumed when False is returned.
        """
        ...

    def replace(self, key: str, data: Data) -> None:
        """Make the object or swap it for this one, atomically."""
        ...

    def read(self, key: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""
        ...

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """At most `size` bytes from `start`; a negative `start` counts from the end."""
        ...

    def read_part(self, key: str, start: int, size: int) -> bytes:
        """As `read_range`, for a finished object that more will be read of: it may be kept open."""
        ...

    def borrow(self, key: str, start: int, size: int) -> memoryview:
        """As `read_part`, in memory that may be used again when this thread borrows the next time."""
        ...

    def open(self, key: str) -> BinaryIO:
        """The object as a seekable binary file. Raises FileNotFoundError."""
        ...

    def size(self, key: str) -> int | None:
        """Size in bytes, None when there is no such object."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Keys of all objects under the folder `prefix` ("" for all), in an order of the store's own."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none."""
        ...

    def sweep(self) -> int:
        """Remove what killed writers left unfinished; the number of files removed."""
        ...

    def delete_all(self, prefix: str) -> None:
        """Remove every object under the folder `prefix`, and whatever else lies there."""
        ...

    def remove_empty(self) -> None:
        """Take the place itself away if nothing was ever made in it."""
        ...

    def free_bytes(self) -> int | None:
        """Room for more, None where there is no end to it."""
        ...

    def probe(self, *, may_overwrite: bool = False) -> None:
        """Make sure that objects can be made, each only once.

        Raises StoreError where not; `may_overwrite` allows a store that overwrites.
        """
        ...


def is_url(place: str) -> bool:
    """Whether `place` is behind a scheme, and no path.

    >>> is_url("s3://bucket/corpus"), is_url("corpora/a:b")
    (True, False)
    """
    return "://" in place


def open_objects(out: str, *, write: bool = True, may_overwrite: bool = False) -> Objects:
    """The objects under OUT.

    Parameters
    ----------
    out : path of a local folder, or URL of a bucket's folder (``s3:// gs:// az://``)
    write : make the folder when it is absent and check that objects can be created in it, once each
    may_overwrite : take a store that overwrites silently

    Raises StoreError where it cannot be written, UsageError for an OUT of another kind.
    """
    objects: Objects
    if not is_url(out):
        if write and Path(out).is_file():
            raise UsageError(f"{out}: this is a file; OUT must be a folder")
        objects = LocalObjects(Path(out).absolute())
    elif out.partition("://")[0] in _SCHEMES:
        objects = _remote(out)
    else:
        known = ", ".join(f"{scheme}://" for scheme in _SCHEMES)
        raise UsageError(f"{out}: OUT must be a folder, or behind {known}")
    if write:
        objects.probe(may_overwrite=may_overwrite)
    return objects


def _remote(url: str) -> Objects:
    try:
        from corpusdiff.store.remote import RemoteObjects
    except ImportError as error:
        raise UsageError(f"{url}: needs the package obstore: pip install 'corpusdiff[remote]'") from error
    return RemoteObjects(url)


def concurrently(objects: Objects, work: Callable[[T], R], items: Iterable[T], *, times: int = 1) -> Iterator[R]:
    """Results of `work` in the order of `items`, as many at once as the store likes; a bounded number waits.

    `times` as many where each asks for next to nothing.
    """
    if objects.concurrency == 1:
        yield from map(work, items)
        return
    n = times * objects.concurrency
    with ThreadPoolExecutor(n) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * n:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def blocks(objects: Objects, key: str) -> Iterator[bytes]:
    """The object in blocks of 1 MiB."""
    with objects.open(key) as file:
        while block := file.read(BLOCK_BYTES):
            yield block
