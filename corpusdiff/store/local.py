"""Objects in a local or mounted folder: temp file, fsync, link, fsync of the folder.

An object becomes visible by one ``link`` of a finished, synced file, so no reader ever sees half of
one, and of two writers exactly one wins. Temporary files lie in ``OUT/.tmp``, outside of everything
that is listed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeAlias

from corpusdiff.errors import StoreError
from corpusdiff.store.keptfiles import KeptFiles

#: What an object is made of: its bytes, or an iterable of consecutive blocks of them.
Data: TypeAlias = bytes | Iterable[bytes | bytearray]

_TEMPORARY = ".tmp"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


class LocalObjects:
    """Objects in a local (or mounted) folder.

    Parameters
    ----------
    root : the folder OUT
    """

    concurrency = 1
    gap_bytes = 0

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kept = KeptFiles(self._path)

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self.root)

    def create(self, key: str, data: Data) -> bool:
        """Make the object by temp file, fsync, link and fsync of the folder."""
        target = self._path(key)
        with self._explained(key):
            if target.exists():
                _sync_folder(target.parent)
                return False
            with self._temporary(data) as temporary:
                _make_folder(target.parent)
                created = _link(temporary, target)
                _sync_folder(target.parent)
        return created

    def replace(self, key: str, data: Data) -> None:
        """Make or swap the object by temp file, fsync, rename and fsync of the folder."""
        target = self._path(key)
        with self._explained(key), self._temporary(data) as temporary:
            _make_folder(target.parent)
            temporary.replace(target)
            _sync_folder(target.parent)

    def read(self, key: str) -> bytes:
        """The whole object."""
        with self.open(key) as file:
            return file.read()

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """A range of the object."""
        with self.open(key) as file:
            length = os.fstat(file.fileno()).st_size
            return os.pread(file.fileno(), size, max(length + start, 0) if start < 0 else start)

    def read_part(self, key: str, start: int, size: int) -> bytes:
        """A range of an object whose file stays open."""
        return self._kept.read(key, start, size)

    def borrow(self, key: str, start: int, size: int) -> memoryview:
        """A range of an object whose file stays open, in memory of this thread."""
        return self._kept.borrow(key, start, size)

    def open(self, key: str) -> BinaryIO:
        """The object's file."""
        try:
            return self._path(key).open("rb")
        except (NotADirectoryError, IsADirectoryError) as error:
            raise FileNotFoundError(*error.args) from error

    def size(self, key: str) -> int | None:
        """Size in bytes."""
        try:
            found = self._path(key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str) -> Iterator[str]:
        """Keys under a folder."""
        try:
            folder = self._path(prefix) if prefix else self.root
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            key = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self.list(key)
            else:
                yield key

    def delete(self, key: str) -> None:
        """Remove the object's file."""
        with self._explained(key):
            self._path(key).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove temporary files. Only to be called while nobody writes."""
        left_over = list((self.root / _TEMPORARY).glob("*"))
        for path in left_over:
            path.unlink(missing_ok=True)
        return len(left_over)

    def delete_all(self, prefix: str) -> None:
        """Remove a folder."""
        shutil.rmtree(self._path(prefix), ignore_errors=True)

    def remove_empty(self) -> None:
        """Remove the folder if it is empty."""
        with contextlib.suppress(OSError):
            (self.root / _TEMPORARY).rmdir()
            self.root.rmdir()

    def free_bytes(self) -> int | None:
        """What the disk has left."""
        return shutil.disk_usage(self.root).free

    def probe(self, *, may_overwrite: bool = False) -> None:
        """Make sure that the folder can be written and that ``link`` refuses what exists.

        Raises StoreError with the remedy; there is no way around it here.
        """
        del may_overwrite
        with self._explained(_TEMPORARY), self._temporary(b"probe") as first:
            second = first.with_name(first.name + ".link")
            try:
                safe = _link(first, second) and not _link(first, second)
            except OSError as error:
                if error.errno in _NO_SPACE:
                    raise
                safe = False
            finally:
                second.unlink(missing_ok=True)
        if not safe:
            raise StoreError(
                f"{self.location}: this file system has no hard links, by which objects are published "
                "whole; choose an OUT on another file system"
            )

    def _path(self, key: str) -> Path:
        parts = PurePosixPath(key).parts
        if not parts or ".." in parts or key.startswith("/"):
            raise ValueError(f"{key!r} is not a key: expected a relative path")
        return self.root.joinpath(*parts)

    @contextlib.contextmanager
    def _temporary(self, data: Data) -> Iterator[Path]:
        folder = self.root / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / uuid.uuid4().hex
        try:
            with path.open("xb") as file:
                for block in [data] if isinstance(data, bytes) else data:
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where = f"{self.location}/{key}"
            if error.errno in _NO_SPACE:
                raise StoreError(
                    f"{where}: the disk is full ({error.strerror}); free some space and run the same "
                    "command again: it goes on where it stopped"
                ) from error
            if error.errno in _NOT_ALLOWED:
                raise StoreError(
                    f"{where}: cannot be written ({error.strerror}); make it writable or choose another OUT"
                ) from error
            raise


def _link(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except FileExistsError:
        return False
    return True


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
