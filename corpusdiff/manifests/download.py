"""A whole file from behind a URL into an unnamed local one: in parts, each with patience, and of one version."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import tempfile
import threading
from typing import IO, Any

from corpusdiff.manifests.transport import (
    PART_BYTES,
    FileState,
    filesystem,
    location,
    patiently,
    read_range,
    scheme_of,
    state_of,
)

#: Downloads of a file that changes meanwhile.
_TRIES = 3

#: An etag that may be a digest.
_MD5 = re.compile("[0-9a-f]{32}")


class NoRanges(Exception):
    """The server sent the whole file where a part was asked for."""


def download(url: str, size: int | None, folder: str | None, halt: threading.Event) -> IO[bytes]:
    """The file, unnamed, in `folder` (None for the system's own); the caller closes it.

    Parameters
    ----------
    url : the file
    size : its bytes when it was listed, None where that is not known
    folder : where to put it
    halt : set it to give up

    One request where the file is small and still has its size; else it is asked for its version before and after.

    Raises FileNotFoundError and PermissionError where the store says so of the file, and other OSErrors: for a network
    that stays broken, for a disk that has no room, and for a file that never stays the same.
    """
    if size is not None and size <= PART_BYTES:
        for _ in range(2):  # a file of another size may be on its way to the listed one
            data = read_range(url, 0, size + 1, halt)
            if len(data) == size:
                break
        if len(data) <= size:
            return _kept(data, folder)
    for _ in range(_TRIES):
        file = _file(folder)
        try:
            if _in_parts(url, file, halt, folder):
                return file
        except BaseException as error:
            file.close()
            _explain(error, folder)
            raise
        file.close()
    raise OSError(f"{url}: it changes while it is being fetched, {_TRIES} times now: run again when it is complete")


def has_other_content(file: IO[bytes], url: str, version: str | None, halt: threading.Event) -> bool:
    """Whether a copy of the listed size is of another version, as far as that is known without a request.

    S3's etag is the MD5 of what was sent in one piece; where it is not (keys of KMS) the etag is asked for again.
    """
    if version is None or scheme_of(url) != "s3" or not _MD5.fullmatch(version):
        return False
    digest = hashlib.md5(usedforsecurity=False)
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest() != version and state_of(url, halt).version != version


def _in_parts(url: str, file: IO[bytes], halt: threading.Event, folder: str | None) -> bool:
    """Fetch all of it; whether it is of one version and complete."""
    before = state_of(url, halt)
    if before.size is not None:
        _check_room(before.size, folder)
    try:
        if before.size is None:
            raise NoRanges
        _ranges(url, before.size, file, halt)
    except NoRanges:
        _stream(url, file, halt)
    file.flush()
    complete = before.size is None or file.tell() == before.size
    return complete and _same(before, state_of(url, halt))


def _ranges(url: str, size: int, file: IO[bytes], halt: threading.Event) -> None:
    while (start := file.tell()) < size:
        stop = min(start + PART_BYTES, size)
        data = read_range(url, start, stop, halt)
        if len(data) > stop - start:
            raise NoRanges
        if not data:
            return  # it has become shorter
        file.write(data)


def _stream(url: str, file: IO[bytes], halt: threading.Event) -> None:
    client, name = filesystem(url), location(url)

    def ask() -> None:
        file.seek(0)
        file.truncate()
        client.get_file(name, file)

    patiently(ask, url, halt)
    file.seek(0, 2)


def _same(before: FileState, after: FileState) -> bool:
    return before == after or (before.version is None and after.version is None and before.size == after.size)


def _kept(data: bytes, folder: str | None) -> IO[bytes]:
    file = _file(folder)
    try:
        file.write(data)
        file.flush()
    except BaseException as error:
        file.close()
        _explain(error, folder)
        raise
    return file


def _file(folder: str | None) -> Any:
    return tempfile.TemporaryFile(dir=folder)  # closed by who gets it


def _check_room(size: int, folder: str | None) -> None:
    free = shutil.disk_usage(folder or tempfile.gettempdir()).free
    if size > free:
        raise OSError(errno.ENOSPC, f"a file of {size / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free")


def _explain(error: BaseException, folder: str | None) -> None:
    """Raise OSError with the remedy where an error says that the disk is full."""
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        where = folder or tempfile.gettempdir()
        raise OSError(
            f"no space for copies of remote files in {where} ({error.strerror}): free some, or choose another folder "
            "by --spool"
        ) from error
