"""Files behind URLs: the client of each scheme, requests with patience, and what an error means.

What breaks on the way is tried again with growing pauses and is an OSError in the end; what the store says of the
file itself is a FileNotFoundError or a PermissionError at once.
"""

from __future__ import annotations

import io
import os
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, BinaryIO, TypeVar

from corpusdiff.errors import CorpusdiffError, ManifestError, UsageError
from corpusdiff.manifests.remote_errors import Passing, meaning, status_of

T = TypeVar("T")

#: Schemes that can be read, with the package that reads each and the extra that installs it.
SCHEMES = {
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "az": ("adlfs", "az"),
    "abfs": ("adlfs", "az"),
    "http": ("aiohttp", "http"),
    "https": ("aiohttp", "http"),
}

#: Pauses before a request that broke is sent again, in seconds; half a minute in all.
_PAUSES_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0, 5.0)

#: What a file behind a URL is read in, in bytes.
PART_BYTES = 8 * 2**20

_NEVER = threading.Event()


@dataclass(frozen=True)
class FileState:
    """What a store says of a file.

    Parameters
    ----------
    size : bytes, None where the server does not tell
    version : etag, else time of the last change; None where neither is known
    """

    size: int | None
    version: str | None


def scheme_of(url: str) -> str:
    """The scheme in lower case, "" for a path.

    >>> scheme_of("S3://bucket/a"), scheme_of("/a://b"), scheme_of("a.wav")
    ('s3', '', '')
    """
    scheme, found, _ = url.partition("://")
    return scheme.lower() if found and scheme.isalnum() else ""


def filesystem(url: str) -> Any:
    """The client for a URL, one for each host, bucket and process: it keeps its connections.

    Raises ManifestError for another scheme, UsageError where the package that reads it is not installed.
    """
    scheme = scheme_of(url)
    if scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise ManifestError(f"{url}: files can be read from {known}; copy it here first")
    return _filesystem(scheme, url.partition("://")[2].partition("/")[0], os.getpid())


@lru_cache(maxsize=64)
def _filesystem(scheme: str, host: str, pid: int) -> Any:
    del pid  # connections are not for a forked process
    from fsspec.core import url_to_fs

    package, extra = SCHEMES[scheme]
    options = {"s3": _s3_options, "http": _http_options}.get(extra, dict)
    try:
        client, _ = url_to_fs(f"{scheme}://{host}/", skip_instance_cache=True, use_listings_cache=False, **options())
    except ImportError as error:
        raise UsageError(
            f"{scheme}://{host}: needs the package {package}: pip install 'corpusdiff[{extra}]'"
        ) from error
    except (ValueError, OSError) as error:
        raise UsageError(f"{scheme}://{host}: {error}") from error
    return client


def _s3_options() -> dict[str, Any]:
    """The region and the anonymous access that the store of OUT takes from the environment, for botocore too."""
    region = os.environ.get("AWS_REGION")
    anonymous = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in {"1", "true", "yes"}
    return {
        "anon": anonymous,
        "client_kwargs": {"region_name": region} if region else {},
        "config_kwargs": {"connect_timeout": 15, "read_timeout": 30, "retries": {"total_max_attempts": 2}},
    }


def _http_options() -> dict[str, Any]:
    import aiohttp

    # identity: the size and the ranges are those of the file itself
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=30)
    return {
        "simple_links": False,
        "headers": {"Accept-Encoding": "identity"},
        "client_kwargs": {"timeout": timeout, "trust_env": True},  # proxies, and names and passwords of ~/.netrc
    }


def location(url: str) -> str:
    """The name that the client of the URL has for it."""
    name: str = filesystem(url)._strip_protocol(url)
    return name


def patiently(ask: Callable[[], T], url: str, stop: threading.Event = _NEVER) -> T:
    """What `ask()` gives, tried again while trouble may pass and `stop` is not set.

    Raises FileNotFoundError, PermissionError, or another OSError, each naming `url`.
    """
    for pause_s in (*_PAUSES_S, None):
        try:
            return ask()
        except CorpusdiffError:
            raise
        except Exception as error:
            meant = meaning(error, url)
            if pause_s is None or not isinstance(meant, Passing):
                raise meant from error
        if stop.wait(pause_s * random.uniform(0.5, 1.0)):
            break
    raise Passing(f"{url}: given up, for the run is being stopped")


def read_range(url: str, start: int, stop: int, halt: threading.Event = _NEVER) -> bytes:
    """The bytes from `start` up to `stop`, less where the file ends before.

    More than was asked for is the whole file, from a server that knows no ranges. Raises as `patiently`.
    """
    client, name = filesystem(url), location(url)

    def ask() -> bytes:
        try:
            return bytes(client.cat_file(name, start=start, end=stop))
        except Exception as error:
            if status_of(error)[0] == 416:  # it begins behind the end
                return b""
            raise

    return patiently(ask, url, halt)


def state_of(url: str, halt: threading.Event = _NEVER) -> FileState:
    """Size and version of a file, by one request. Raises as `patiently`."""
    client, name = filesystem(url), location(url)
    found = patiently(lambda: client.info(name), url, halt)
    if found["type"] == "directory":
        raise FileNotFoundError(f"{url}: this is a folder")
    return FileState(found.get("size"), version_of(found))


def is_folder(place: str) -> bool:
    """Whether a path, or what a URL names, is a folder. Raises OSError where a server does not answer."""
    if not scheme_of(place):
        return os.path.isdir(place)
    client, name = filesystem(place), location(place)
    try:
        return bool(patiently(lambda: client.isdir(name), place))
    except (FileNotFoundError, PermissionError):
        return False


def version_of(found: dict[str, Any]) -> str | None:
    """What changes with a file's content, of what a client tells of it."""
    for key in ("ETag", "etag", "md5Hash", "Last-Modified", "LastModified", "last_modified", "updated", "mtime"):
        value = found.get(key)
        if value:
            return value.isoformat() if isinstance(value, datetime) else str(value).strip('"')
    return None


def open_file(source: str) -> BinaryIO:
    """A path, or a file behind a URL, as a seekable binary file. Raises ManifestError where there is none."""
    if not scheme_of(source):
        return open(source, "rb")
    try:
        return io.BufferedReader(_RemoteFile(source), PART_BYTES // 2)
    except FileNotFoundError as error:
        raise ManifestError(f"{source}: there is no such file") from error
    except PermissionError as error:
        raise ManifestError(f"{source}: no permission to read it: look at the credentials") from error


class _RemoteFile(io.RawIOBase):
    """A file behind a URL without a buffer; kept whole where the server knows no ranges or no size."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._position = 0
        self._whole: bytes | None = None
        self._size = self._explained(lambda: state_of(url)).size
        if self._size is None:
            client, name = filesystem(url), location(url)
            self._whole = self._explained(lambda: patiently(lambda: bytes(client.cat_file(name)), url))

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; no request is made."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """One ranged request."""
        start = self._position
        stop = min(start + len(buffer), self._end)
        if stop <= start:
            return 0
        if self._whole is None:
            data = self._explained(lambda: read_range(self._url, start, stop))
            if len(data) > stop - start:
                self._whole = data
        if self._whole is not None:
            data = self._whole[start:stop]
        if not data:
            raise CorpusdiffError(f"{self._url}: it became shorter while it was read: give the same command again")
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    @property
    def _end(self) -> int:
        return len(self._whole) if self._whole is not None else self._size or 0

    def _explained(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except (FileNotFoundError, PermissionError):
            raise
        except OSError as error:
            raise CorpusdiffError(f"{error}: give the same command again") from error
