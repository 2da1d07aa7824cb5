"""Folders, globs and single files behind URLs, and the state of many files at once."""

from __future__ import annotations

import posixpath
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from typing import TypeVar
from urllib.parse import unquote

from corpusdiff.errors import CorpusdiffError, ManifestError, UsageError
from corpusdiff.manifests.base import Manifest, Track, absolute_path, check_id, with_file_state, without_query
from corpusdiff.manifests.folder import told
from corpusdiff.manifests.globs import is_glob, matches, reached, split_glob
from corpusdiff.manifests.media import extension, is_media
from corpusdiff.manifests.remote_listing import Listing
from corpusdiff.manifests.transport import filesystem, location, patiently, scheme_of, state_of

S = TypeVar("S")
R = TypeVar("R")

#: Files that are asked for at once.
CONCURRENCY = 32


def open_remote(url: str) -> Manifest:
    """The folder, the glob or the file behind a URL.

    A server of http is not asked: what ends in a slash or has no extension is a folder with an index. Raises
    ManifestError where there is nothing, UsageError where the scheme cannot be read.
    """
    filesystem(url)
    if is_url_glob(url):
        return RemoteGlobManifest(url)
    if scheme_of(url).startswith("http"):
        name = without_query(url).partition("://")[2].rpartition("/")[2]
        return RemoteFileManifest(url) if extension(name) else RemoteFolderManifest(url)
    if url.endswith("/") or "/" not in url.partition("://")[2]:
        return RemoteFolderManifest(url)
    found = _asked(url, lambda: filesystem(url).info(location(url)))
    return RemoteFolderManifest(url) if found["type"] == "directory" else RemoteFileManifest(url)


def why_unreached(url: str) -> str | None:
    """Why a source's folder is not to be read from here (no package, no credentials, no such bucket); None: it is.

    A server of the web need not show its folders: of it only the package is looked for.
    """
    try:
        client = filesystem(url)
        if not scheme_of(url).startswith("http"):
            patiently(lambda: client.info(location(url)), url)
    except (UsageError, OSError) as error:
        return str(error)
    return None


def is_url_glob(url: str) -> bool:
    """Whether a URL holds a wildcard. On the web a question mark is none: what follows it is a query.

    >>> is_url_glob("s3://bucket/?.wav"), is_url_glob("https://host/m.csv?key=*"), is_url_glob("https://host/*.wav")
    (True, False, True)
    """
    return is_glob(without_query(url))


class RemoteFolderManifest:
    """Every media file below a URL, in the order of the relative paths, with what the listing says of each.

    Hidden entries and files without a known extension are counted in `ignored`, not taken.
    """

    kind = "folder"

    def __init__(self, url: str) -> None:
        self.source = self.root = url.rstrip("/")
        self.ignored: Counter[str] = Counter()

    def tracks(self) -> Iterator[Track]:
        """Tracks; a page or a folder of the listing in memory. Raises ManifestError for a folder without any."""
        self.ignored.clear()
        found = False
        for path, size, version in Listing(self.root, self._enters, self.ignored):
            if self._takes(path):
                found = True
                yield Track(check_id(path, self.source), path, size=size, version=version)
            else:
                self.ignored[extension(path) or "(no extension)"] += 1
        if not found:
            raise ManifestError(
                f"{self.source}: no media files here; {told(self.ignored)}. "
                "Give a folder with audio or video files, or a manifest that lists them"
            )

    def place(self, index: int) -> str:
        """The number of the file: its path is its id."""
        return f"{self.source}: file {index + 1}"

    def _takes(self, relative: str) -> bool:
        return is_media(relative)

    def _enters(self, relative: str) -> bool:
        return True


class RemoteGlobManifest(RemoteFolderManifest):
    """The files behind a URL that match a pattern, as `corpusdiff.manifests.folder.GlobManifest` has it."""

    kind = "glob"

    def __init__(self, pattern: str) -> None:
        scheme, _, path = pattern.partition("://")
        host, *parts = path.split("/")
        if is_glob(host) or not parts:
            raise ManifestError(f"{pattern}: a wildcard cannot stand for a bucket or a host")
        fixed, self._pattern = split_glob(parts)
        super().__init__("/".join([f"{scheme}://{host}", *fixed]))
        self.source = pattern
        suffix = extension(self._pattern[-1])
        self._any_kind = bool(suffix) and not is_glob(suffix)

    def _takes(self, relative: str) -> bool:
        return matches(relative, self._pattern) and (self._any_kind or is_media(relative))

    def _enters(self, relative: str) -> bool:
        return bool(reached(relative.split("/"), self._pattern))


class RemoteFileManifest:
    """One file behind a URL as a corpus of one track, whatever its extension."""

    kind = "file"

    def __init__(self, url: str) -> None:
        self.source = url
        self.root = posixpath.dirname(without_query(url))
        self.ignored: Counter[str] = Counter()

    def tracks(self) -> Iterator[Track]:
        """The one track; its id is the name of the file. Raises ManifestError where there is none."""
        state = _asked(self.source, lambda: state_of(self.source))
        is_web = scheme_of(self.source).startswith("http")
        name = posixpath.basename(without_query(self.source))
        track_id = check_id(unquote(name) if is_web else name, self.root)
        yield Track(track_id, self.source if is_web else name, size=state.size, version=state.version)

    def place(self, index: int) -> str:
        """The file."""
        return self.source


def with_file_states(tracks: Iterable[Track], root: str, *, again: bool = False) -> Iterator[Track]:
    """The tracks in their order with their files' size and version.

    Files behind URLs are asked for in parallel, unless the listing has told, or `again`. A track without a file stays
    as it is. Raises CorpusdiffError where a server does not answer: the plan must not depend on that.
    """

    def stated(track: Track) -> Track:
        url = absolute_path(track.path, root)
        if not scheme_of(url):
            return with_file_state(track, root)
        if track.size is not None and not again:
            return track
        try:
            state = state_of(url)
        except (FileNotFoundError, PermissionError, ManifestError):
            return track  # its row will say so
        except OSError as error:
            raise CorpusdiffError(f"{error}; nothing is planned yet: give the same command again") from error
        return replace(track, size=state.size, version=state.version)

    iterator = iter(tracks)
    for track in iterator:
        if scheme_of(absolute_path(track.path, root)):
            yield from ahead(stated, chain([track], iterator), CONCURRENCY)
        else:
            yield stated(track)


def ahead(work: Callable[[S], R], items: Iterable[S], n: int) -> Iterator[R]:
    """Results of `work` in the order of `items`, computed by `n` threads, at most `2 n` of them waiting."""
    with ThreadPoolExecutor(n) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * n:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _asked(url: str, ask: Callable[[], R]) -> R:
    try:
        return patiently(ask, url)
    except FileNotFoundError as error:
        raise ManifestError(f"{url}: there is no such file or folder") from error
    except OSError as error:
        raise ManifestError(f"{error}: look at the URL and the credentials") from error
