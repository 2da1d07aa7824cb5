"""A track is one row of a manifest; a manifest is an iterator of tracks.

Nothing here opens audio. Ids are what a person would call the track: the manifest's own id, else the
path below the source, never a basename alone.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Protocol
from urllib.parse import quote

from corpusdiff.errors import ManifestError


@dataclass(frozen=True, slots=True)
class Track:
    """One recording, or a segment or a channel of one.

    Parameters
    ----------
    id : unique in the corpus, not empty, without control characters
    path : the file, relative to the manifest's root (posix) where it lies under it, else absolute
    offset_s : where the segment begins, in seconds
    duration_s : length of the segment in seconds, None for up to the end of the file
    channel : the only channel to take, counted from 0, None for all
    fields : the manifest's other columns, JSON-able
    size : bytes of the file when it was listed
    version : what changes when the file's content does (``mtime_ns``, etag)
    header_sr, header_channels, header_samples : what the file's header claims; not to be believed
    inside : where the recording lies within a larger file, see `corpusdiff.manifests.members`; its `path` is then that
        file's, two colons and the member's name, and `size` the member's. None for a file of its own
    """

    id: str
    path: str
    offset_s: float = 0.0
    duration_s: float | None = None
    channel: int | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    size: int | None = None
    version: str | None = None
    header_sr: int | None = None
    header_channels: int | None = None
    header_samples: int | None = None
    inside: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dict of JSON types."""
        return {name: getattr(self, name) for name in _NAMES} | {"fields": dict(self.fields)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Track:
        """Inverse of `to_json`."""
        return cls(*(record[name] for name in _NAMES))


_NAMES = tuple(item.name for item in fields(Track))


class Manifest(Protocol):
    """Where tracks come from.

    Parameters
    ----------
    source : normalised absolute name of the source
    kind : ``folder``, ``glob``, ``file``, ``nemo`` or ``table``
    root : the folder that relative paths of tracks are relative to
    ignored : what was not taken, counted by extension; complete once `tracks` is exhausted
    """

    source: str
    root: str
    ignored: Counter[str]

    @property
    def kind(self) -> str:
        """Which kind of source it is."""
        ...

    def tracks(self) -> Iterator[Track]:
        """All tracks, in an order that depends only on the source. Raises ManifestError."""
        ...

    def place(self, index: int) -> str:
        """Where the track with this index (from 0) stands, for messages."""
        ...


def without_query(source: str) -> str:
    """A path or URL as it is, an address of the web without what follows a question mark.

    >>> without_query("https://host/m.csv?key=1"), without_query("s3://bucket/what?.wav"), without_query("what?.wav")
    ('https://host/m.csv', 's3://bucket/what?.wav', 'what?.wav')
    """
    return source.partition("?")[0] if _is_web(source) else source


def _is_web(source: str) -> bool:
    return source.lower().startswith(("http://", "https://"))


def absolute_path(path: str, root: str | None) -> str:
    """The path or URL to open: `path` itself when it is absolute or a URL, else below `root`.

    Paths are names of files: below an address of the web they are quoted.

    >>> absolute_path("a/b.wav", "/data"), absolute_path("/x.wav", "/data")
    ('/data/a/b.wav', '/x.wav')
    >>> absolute_path("a b.wav", "s3://bucket/data"), absolute_path("a b.wav", "https://host/data")
    ('s3://bucket/data/a b.wav', 'https://host/data/a%20b.wav')
    """
    if root is None or "://" in path:
        return path
    if "://" in root and not path.startswith("/"):
        return f"{root}/{_quoted(path, root)}"
    return os.path.join(root, path)


def _quoted(path: str, root: str) -> str:
    return quote(path) if _is_web(root) else path


def with_file_state(track: Track, root: str | None) -> Track:
    """The track with its file's size and version as they are now; unchanged when there is no such file.

    Of a file behind a URL that is what its listing said, see `corpusdiff.manifests.remote.with_file_states`.
    """
    path = absolute_path(track.path, root)
    if "://" in path:
        return track
    try:
        found = os.stat(path)
    except OSError:
        return track
    return replace(track, size=found.st_size, version=str(found.st_mtime_ns))


def path_below(path: str, root: str, base: str | None = None) -> str:
    """`path` as a `Track` holds it: relative to `root` where it lies under it, else absolute; URLs as they are.

    Relative paths are taken from `base` (default `root`).

    >>> path_below("/data/a/../b.wav", "/data"), path_below("../x.wav", "/data"), path_below("b.wav", "/data")
    ('b.wav', '/x.wav', 'b.wav')
    >>> path_below("./a/../b.wav", "s3://bucket/data"), path_below("../x.wav", "s3://bucket/data")
    ('b.wav', 's3://bucket/x.wav')
    """
    if "://" in path:
        return path
    if "://" in root and not path.startswith("/"):
        return _url_below(path, root, base or root)
    full = os.path.normpath(os.path.join(base or root, path))
    prefix = root if root.endswith("/") else root + "/"
    return full[len(prefix) :] if full.startswith(prefix) else full


def _url_below(path: str, root: str, base: str) -> str:
    """As `path_below`, for a root behind a URL. Nothing lies above the bucket or the host."""
    scheme, _, rest = root.partition("://")
    host, _, folder = rest.partition("/")
    start = base.partition("://")[2].partition("/")[2]
    full = posixpath.normpath(posixpath.join("/", start, path))
    prefix = f"/{folder.rstrip('/')}/" if folder.strip("/") else "/"
    if full.startswith(prefix):
        return full[len(prefix) :]
    return f"{scheme}://{host}{_quoted(full, root)}"


def check_id(track_id: str, place: str) -> str:
    """The id itself. Raises ManifestError for an empty one, one too long, or one that does not read as it is."""
    if not track_id:
        raise ManifestError(f"{place}: empty id; give every track an id, or leave the column out")
    if len(track_id) > LONGEST_ID:
        raise ManifestError(f"{place}: an id of {len(track_id)} characters; give at most {LONGEST_ID}")
    if track_id.isprintable():
        return track_id
    bad = next((c for c in track_id if c in _TURNING or unicodedata.category(c) in _UNFIT), None)
    if bad is None:
        return track_id
    shown = ascii(track_id)[1:-1]
    what = "is not UTF-8" if unicodedata.category(bad) == "Cs" else f"holds the control character {bad!a}"
    raise ManifestError(f'{place}: the name "{shown}" {what}; rename it')


#: What turns the direction of writing: a name with it reads otherwise than it is.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

#: Longest id, in characters: it becomes the name of a file.
LONGEST_ID = 1024

#: Unicode categories that no id may hold: controls, surrogates, line and paragraph separators.
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})
