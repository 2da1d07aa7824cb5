"""Recordings inside larger files: members of tars, values of Arrow and Parquet tables.

Where a recording lies is its track's `inside`: ``byte:N``, from byte N of the file on, `Track.size` bytes, or
``row:N:COLUMN``, row N of a Parquet file. A tar must not be packed: only so can one member be read without the others.
"""

from __future__ import annotations

import errno
import os
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from corpusdiff.errors import ManifestError, TrackError
from corpusdiff.manifests.audio_column import AudioColumn
from corpusdiff.manifests.base import Track, absolute_path
from corpusdiff.manifests.transport import FileState, open_file, read_range, scheme_of, state_of

#: What stands between a file and the name of its member.
MARK = "::"

#: `Track.inside` of what should lie in a file and does not.
ABSENT = "absent"

#: What is read at once, in bytes.
BLOCK_BYTES = 1 << 20

#: The longest header of a tar's member that is believed (long names, extended headers), in bytes.
_LONGEST_HEADER = 1 << 20

#: How many such headers one member may have.
_MOST_HEADERS = 16


@dataclass(frozen=True)
class Member:
    """One file in a tar.

    Parameters
    ----------
    name : as the tar has it
    start, size : of its bytes
    data : its bytes where they were wanted
    """

    name: str
    start: int
    size: int
    data: bytes | None = None

    @property
    def inside(self) -> str:
        """As a `Track` has it."""
        return f"byte:{self.start}"


def member_path(container: str, name: str) -> str:
    """The path of a member's track.

    >>> member_path("a/0.tar", "utt::1.flac")
    'a/0.tar::utt:1.flac'
    """
    return f"{container}{MARK}{name.replace(MARK, ':')}"


def container_of(track: Track, root: str | None) -> str:
    """The path or URL of the file in which a track's recording lies."""
    return absolute_path(track.path.rpartition(MARK)[0], root)


def container_state(place: str) -> FileState:
    """Size and version of a file here or behind a URL. Raises OSError."""
    if scheme_of(place):
        return state_of(place)
    found = os.stat(place)
    return FileState(found.st_size, str(found.st_mtime_ns))


def tar_members(place: str, wants: Callable[[str, int], bool] | None = None) -> Iterator[Member]:
    """The regular files of a tar here or behind a URL, in order; one header in memory at a time.

    Names are names: nothing is ever unpacked to them. Links, sparse files and devices are left out.

    Parameters
    ----------
    place : the tar
    wants : whether a member is to be read too, by its name and size; None for none of them

    Raises ManifestError for a tar that is packed or damaged, with the place.
    """
    last = "its beginning"
    with open_file(place) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:", tarinfo=_Header) as tar:
                while (found := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # else it keeps all of them
                    last = repr(found.name)
                    if found.isreg() and not found.issparse():
                        data = None
                        if wants is not None and wants(found.name, found.size):
                            file.seek(found.offset_data)
                            data = file.read(found.size)
                        yield Member(found.name, found.offset_data, found.size, data)
                end = tar.offset
                file.seek(end)
                if any(file.read(tarfile.BLOCKSIZE)):  # the library takes what is no header for the end
                    raise tarfile.HeaderError("then comes what is no member")
        except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which is a place behind all files
                raise
            raise ManifestError(
                f"{place}: not a tar that can be read, after {last} ({error}). Copy it again; a packed one (.tar.gz) "
                "has to be unpacked first, as gunzip does"
            ) from error
        file.seek(0, os.SEEK_END)
        if end > file.tell():
            raise ManifestError(f"{place}: it ends within {last}: copy it again")


class _Header(tarfile.TarInfo):
    """A member's header. What describes it may be no longer, and no more, than any is: the library takes it all."""

    def _proc_member(self, tar: Any) -> Any:
        described = self.type in {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE}
        if not described and self.type not in {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}:
            tar.n_descriptions = 0
            return super()._proc_member(tar)  # type: ignore[misc]
        if self.size > _LONGEST_HEADER:
            raise tarfile.HeaderError(f"a header of {self.size} bytes")
        tar.n_descriptions = getattr(tar, "n_descriptions", 0) + 1
        if tar.n_descriptions > _MOST_HEADERS:
            raise tarfile.HeaderError(f"more than {_MOST_HEADERS} headers of one member")
        return super()._proc_member(tar)  # type: ignore[misc]


class Members:
    """Reads recordings out of the files that hold them; safe to use from several threads.

    A file that has changed since the plan was made holds something else at a member's place: that is found out once for
    each file.

    Parameters
    ----------
    folder : for copies, None for the system's own
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = folder
        self._states: dict[str, FileState] = {}
        self._tables: dict[str, AudioColumn] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the files that are open."""
        for table in self._tables.values():
            table.close()
        self._tables.clear()

    def copy(self, track: Track, place: str, halt: threading.Event) -> IO[bytes]:
        """The bytes of a track's recording as an unnamed file, which the caller closes.

        Parameters
        ----------
        track : with `inside`
        place : path or URL of the file, see `container_of`
        halt : set it to give up

        Raises
        ------
        TrackError : ``missing``, where the file has changed; ``decode``, where it holds no such member
        OSError : the file cannot be read, FileNotFoundError and PermissionError among them
        """
        self.check(track, place)
        kind, _, where = (track.inside or "").partition(":")
        if kind == ABSENT:
            raise TrackError("missing", f"{place} holds no {track.path.rpartition(MARK)[2]!r}")
        if kind == "row":
            row, _, column = where.partition(":")
            return self._kept([self._table(place, column).read(int(row))])
        start, size = int(where), track.size or 0
        blocks = _remote(place, start, size, halt) if scheme_of(place) else _local(place, start, size)
        file = self._kept(blocks)
        if file.tell() != size:
            file.close()
            raise TrackError("decode", f"{place} ends within it")
        return file

    def check(self, track: Track, place: str) -> None:
        """Raise TrackError where the file is not as the plan found it, OSError where it is not to be seen."""
        with self._lock:
            state = self._states.get(place)
            if state is None:
                state = self._states[place] = container_state(place)
        if track.version is not None and state.version != track.version:
            raise TrackError(
                "missing", f"{place} has changed since the plan was made, and what lies where in it: --update reads it"
            )

    def _table(self, place: str, column: str) -> AudioColumn:
        with self._lock:
            if place not in self._tables:
                self._tables[place] = AudioColumn(place, column)
            return self._tables[place]

    def _kept(self, blocks: Iterator[bytes] | list[bytes]) -> IO[bytes]:
        file: IO[bytes] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  # closed by who gets it
        try:
            for block in blocks:
                file.write(block)
            file.flush()
        except BaseException:
            file.close()
            raise
        return file


def _local(place: str, start: int, size: int) -> Iterator[bytes]:
    with open(place, "rb") as file:
        file.seek(start)
        while size > 0 and (block := file.read(min(size, BLOCK_BYTES))):
            size -= len(block)
            yield block


def _remote(place: str, start: int, size: int, halt: threading.Event) -> Iterator[bytes]:
    stop = start + size
    while start < stop:
        data = read_range(place, start, min(stop, start + 8 * BLOCK_BYTES), halt)
        if not data:
            return
        if len(data) > stop - start:  # the whole file, from a server that knows no ranges
            yield data[start:stop]
            return
        start += len(data)
        yield data


@contextmanager
def members(folder: str | None) -> Iterator[Members]:
    """A reader for the block's duration."""
    reader = Members(folder)
    try:
        yield reader
    finally:
        reader.close()
