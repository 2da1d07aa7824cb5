"""Objects by key under OUT: created once and whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from corpusdiff.errors import UsageError
from corpusdiff.store.local import Data, LocalObjects

__all__ = ["Data", "LocalObjects", "Objects", "blocks", "open_objects"]

#: Size of the blocks in which objects are streamed.
BLOCK_BYTES = 1 << 20


class Objects(Protocol):
    """A flat space of immutable objects keyed by relative posix paths."""

    @property
    def location(self) -> str:
        """What to call the place in a message."""
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

    def open(self, key: str) -> BinaryIO:
        """The object as a seekable binary file. Raises FileNotFoundError."""
        ...

    def size(self, key: str) -> int | None:
        """Size in bytes, None when there is no such object."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Keys of all objects under the folder `prefix`, sorted folder by folder."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens when there is none."""
        ...

    def sweep(self) -> int:
        """Remove what killed writers left unfinished; the number of files removed."""
        ...


def open_objects(out: str, *, write: bool = True) -> LocalObjects:
    """The objects under OUT.

    Parameters
    ----------
    out : path of a local folder
    write : make the folder when it is absent and check that objects can be created in it

    Raises StoreError where it cannot be written, UsageError for an OUT that is not a local path.
    """
    if "://" in out:
        raise UsageError(f"{out}: OUT must be a folder on a local or mounted file system")
    objects = LocalObjects(Path(out).absolute())
    if write:
        objects.probe()
    return objects


def blocks(objects: Objects, key: str) -> Iterator[bytes]:
    """The object in blocks of 1 MiB."""
    with objects.open(key) as file:
        while block := file.read(BLOCK_BYTES):
            yield block
