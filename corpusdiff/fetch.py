"""Files behind URLs and members of larger files, brought into the spool just before a shard's tracks need them.

The process that decodes has no network: it reads copies. Those of the tracks that come next are fetched while a track
is being processed, so that a store that answers late slows nothing down; tracks of one file share its copy. Copies have
no names: a worker that is killed leaves none, and no decoder here looks at a file's name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, NamedTuple

from corpusdiff.errors import ManifestError, TrackError
from corpusdiff.manifests.base import Track
from corpusdiff.manifests.download import NoRanges, download, has_other_content
from corpusdiff.manifests.members import Members
from corpusdiff.manifests.reach import check_reach
from corpusdiff.manifests.remote_errors import is_no_host
from corpusdiff.manifests.stretch import Wanted, fetch_stretch
from corpusdiff.manifests.transport import filesystem, location, patiently, read_range, scheme_of, state_of
from corpusdiff.needs import Need, needs_of

#: Files under way at once.
IN_FLIGHT = 8

#: Copies at once, and their bytes together; one that is bigger comes alone.
MOST_COPIES = 32
MOST_BYTES = 256 * 2**20

#: What a file of unknown size counts, in bytes.
_UNKNOWN_BYTES = 8 * 2**20

#: So many tracks ahead a copy is kept for another track of the same file.
_KEPT_FOR = 64

#: How often a waiting worker says that it is alive, in seconds.
_ALIVE_EVERY_S = 1.0

#: Before a file that is not there is asked for once more, in seconds.
_MISSING_PAUSE_S = 0.5


@dataclass(frozen=True)
class Copies:
    """What a track can be decoded from.

    Parameters
    ----------
    files : path of the copy by the name that the track has for the file, None for a far-end file that is not there;
        empty where nothing of the track is behind a URL
    changed : the recording was not as the plan found it
    """

    files: Mapping[str, str | None] = field(default_factory=dict)
    changed: bool = False


class _Copy(NamedTuple):
    """A copy, and whether it is another file than the one that was listed."""

    file: IO[bytes]
    changed: bool


class Fetcher:
    """Copies of a shard's files that are elsewhere or inside others, in the tracks' order; a context manager.

    Parameters
    ----------
    tracks : of the shard; `copies` is called for each of them in this order
    root : what relative paths are relative to, a folder or a URL
    reference_field : field that names a second file of each track, None for none
    spool : folder for the copies, None for the system's own
    """

    def __init__(
        self, tracks: Sequence[Track], root: str, reference_field: str | None = None, spool: str | None = None
    ) -> None:
        self._needs = needs_of(tracks, root, reference_field)
        self._root = root
        self._spool = spool
        self._coming: dict[str, Future[_Copy]] = {}
        self._bytes: dict[str, int] = {}
        self._position = 0
        self._ahead = 0
        self._root_is_there = False
        self._members = Members(spool)
        self._halt = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Fetcher:
        if any(self._needs):
            self._pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="fetch")
        return self

    def __exit__(self, *reason: object) -> None:
        self._halt.set()
        for key in list(self._coming):
            self._drop(key)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._members.close()

    @contextmanager
    def copies(self, on_wait: Callable[[], object] = lambda: None) -> Iterator[Copies]:
        """The copies of the next track's files, gone after the block unless another track soon needs them.

        `on_wait` is called every second while they are on their way.

        Raises
        ------
        TrackError : ``missing``, where there is no such file, or no permission; ``unsupported`` for another scheme
        OSError : for trouble that no track is to blame for
        """
        needs = self._needs[self._position]
        self._position += 1
        if not needs:
            yield Copies()
            return
        for need in needs:
            self._start(need)
        self._start_ahead()
        try:
            yield self._copies(needs, on_wait)
        finally:
            soon = {need.key for coming in self._needs[self._position :][:_KEPT_FOR] for need in coming}
            for need in needs:
                if need.key not in soon:
                    self._drop(need.key)

    def _copies(self, needs: Sequence[Need], on_wait: Callable[[], object]) -> Copies:
        files: dict[str, str | None] = {}
        changed = False
        for need in needs:
            try:
                copy = self._awaited(need, on_wait)
            except TrackError:
                if not need.is_reference:
                    raise
                files[need.name] = None
                continue
            files[need.name] = f"/proc/{os.getpid()}/fd/{copy.file.fileno()}"
            changed = changed or (copy.changed and not need.is_reference)
        return Copies(files, changed)

    def _stretch(self, need: Need, wanted: Wanted) -> _Copy | None:
        """A part of a long recording; None where all of it is needed."""
        at, size = 0, need.size or 0
        if need.member is not None:
            kind, _, where = (need.member.inside or "").partition(":")
            if kind != "byte":
                return None
            self._members.check(need.member, need.url)
            at = int(where)
        elif (state := state_of(need.url, self._halt)).size != need.size or state.version != need.version:
            return None

        def read(start: int, stop: int) -> bytes:
            data = read_range(need.url, at + start, at + stop, self._halt)
            if len(data) != stop - start:
                raise NoRanges
            return data

        try:
            file = fetch_stretch(read, size, wanted, self._spool)
        except NoRanges:
            return None
        return None if file is None else _Copy(file, changed=False)

    def _awaited(self, need: Need, on_wait: Callable[[], object]) -> _Copy:
        future = self._coming[need.key]
        while True:
            try:
                if wait([future], _ALIVE_EVERY_S).done:
                    copy = future.result()
                    self._root_is_there = True
                    return copy
                on_wait()
            except (FileNotFoundError, PermissionError) as error:
                self._check_root(need)
                raise TrackError("missing", str(error)) from error
            except ManifestError as error:  # a scheme that nothing reads
                raise TrackError("unsupported", str(error)) from error
            except OSError as error:
                if is_no_host(error) and _host(need.url) != _host(self._root):
                    raise TrackError("missing", f"{need.url}: there is no such host") from error
                raise

    def _start(self, need: Need) -> None:
        if need.key not in self._coming:
            assert self._pool is not None
            self._bytes[need.key] = _UNKNOWN_BYTES if need.size is None else need.size
            self._coming[need.key] = self._pool.submit(self._fetched, need)

    def _fetched(self, need: Need) -> _Copy:
        if need.stretch is not None:
            copy = self._stretch(need, need.stretch)
            if copy is not None:
                return copy
        if need.member is not None:
            return _Copy(self._members.copy(need.member, need.url, self._halt), changed=False)
        return _fetched(need, self._spool, self._halt)

    def _start_ahead(self) -> None:
        """Start what the next tracks need, as far as there is room."""
        self._ahead = max(self._ahead, self._position)
        while self._ahead < len(self._needs):
            for need in self._needs[self._ahead]:
                size = _UNKNOWN_BYTES if need.size is None else need.size
                if need.key in self._coming:
                    continue
                if len(self._coming) >= MOST_COPIES or sum(self._bytes.values()) + size > MOST_BYTES:
                    return
                self._start(need)
            self._ahead += 1

    def _drop(self, key: str) -> None:
        future = self._coming.pop(key, None)
        self._bytes.pop(key, None)
        if future is not None and not future.cancel():
            future.add_done_callback(_close)

    def _check_root(self, need: Need) -> None:
        """Find no fault with a file that is missing or refused because all of the source is. Raises OSError."""
        root, url = self._root, need.url
        if need.member is not None and not scheme_of(url):
            check_reach(replace(need.member, path=url), root)
            return
        if self._root_is_there or not url.startswith(f"{root}/") or scheme_of(root).startswith("http"):
            return
        try:
            patiently(lambda: filesystem(root).info(location(root)), root, self._halt)
        except FileNotFoundError as error:
            raise OSError(f"the source is gone: {root}; put it back, or give back the rights to see it") from error
        except PermissionError as error:
            wait(self._coming.values())
            if all(future.exception() for future in self._coming.values()):
                raise OSError(f"nothing may be read below {root}: look at the credentials of this machine") from error
        self._root_is_there = True


def _fetched(need: Need, spool: str | None, halt: threading.Event) -> _Copy:
    """The file; asked for once more where the store says that it is not there."""
    try:
        file = download(need.url, need.size, spool, halt)
    except FileNotFoundError:
        halt.wait(_MISSING_PAUSE_S)
        file = download(need.url, need.size, spool, halt)
    try:
        other_size = need.size is not None and os.fstat(file.fileno()).st_size != need.size
        return _Copy(file, other_size or has_other_content(file, need.url, need.version, halt))
    except BaseException:
        file.close()
        raise


def _close(future: Future[_Copy]) -> None:
    if not future.cancelled() and future.exception() is None:
        future.result().file.close()


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
