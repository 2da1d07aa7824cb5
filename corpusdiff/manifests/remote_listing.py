"""What lies below a URL, in the order of the whole paths, from the store's own listings.

S3 lists all that lies below a prefix in order, a page of a thousand keys at a time: nothing more is held. Elsewhere one
folder's listing is in memory at a time. No file is asked for: size and version come with the listing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import unquote

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.transport import filesystem, location, patiently, scheme_of, version_of

#: Folders in folders: a server that finds its own index below itself has no end.
_DEEPEST = 64

#: Behind every key of a folder.
_LAST = "\U0010ffff"


class Entry(NamedTuple):
    """A file of a listing: its path below the root, its bytes (None where not told), and its version."""

    path: str
    size: int | None
    version: str | None


@dataclass
class Listing:
    """The files below a URL.

    Parameters
    ----------
    root : the URL, without a slash at its end
    enters : whether a folder (its path below the root, without a slash at the end) may hold what is wanted
    ignored : where hidden entries are counted
    """

    root: str
    enters: Callable[[str], bool]
    ignored: Counter[str] = field(default_factory=Counter)
    _passing: str = field(default="", init=False)

    def __iter__(self) -> Iterator[Entry]:
        """The files, sorted by path. Raises ManifestError where they cannot be listed."""
        try:
            if scheme_of(self.root) == "s3" and not _is_unordered(self.root):
                yield from self._of_s3()
            else:
                yield from self._walk("")
        except FileNotFoundError as error:
            raise ManifestError(f"{self.root}: there is no such bucket or folder") from error
        except PermissionError as error:
            raise ManifestError(
                f"{self.root}: may not be listed; look at the credentials, or give a manifest of the files"
            ) from error
        except OSError as error:
            raise ManifestError(f"{error}; give the same command again") from error

    def _of_s3(self) -> Iterator[Entry]:
        bucket, _, prefix = location(self.root).partition("/")
        prefix = f"{prefix}/" if prefix else ""
        last = ""
        for found in self._pages(bucket, prefix):
            relative = found["Key"][len(prefix) :]
            if relative < last:
                raise ManifestError(
                    f"{self.root}: this store lists {relative!r} after {last!r}, out of order; "
                    "give a manifest of the files"
                )
            last = relative
            if self._passing and relative.startswith(self._passing):
                continue
            self._passing = self._passed(relative)
            if not self._passing and relative[-1:] not in {"", "/"}:
                yield Entry(relative, found["Size"], version_of(found))

    def _pages(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        """Every key below a prefix; a page that ends in a folder to be passed by is followed by what is behind it."""
        client = filesystem(self.root)
        ask = partial(client.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix)
        page = patiently(ask, self.root)
        while True:
            yield from page.get("Contents", ())
            if not page.get("IsTruncated"):
                return
            after = page["Contents"][-1]["Key"]
            if self._passing.endswith("/"):
                after = prefix + self._passing + _LAST
            page = patiently(partial(ask, StartAfter=after), self.root)

    def _passed(self, relative: str) -> str:
        """What to pass by of what begins like this: a folder with its slash, a hidden file, or "" for nothing."""
        parts = relative.split("/")
        if "" in parts[:-1]:
            self.ignored["(folder without a name)"] += 1
            return relative
        for i, part in enumerate(parts):
            is_folder = i < len(parts) - 1
            path = "/".join(parts[: i + 1])
            if part.startswith("."):
                self.ignored["(hidden)"] += 1
                return path + "/" * is_folder
            if is_folder and not self.enters(path):
                return path + "/"
        return ""

    def _walk(self, below: str) -> Iterator[Entry]:
        if below.count("/") > _DEEPEST:
            raise ManifestError(f"{self.root}/{below}: more than {_DEEPEST} folders deep; give a manifest of the files")
        for name, size, version in _children(f"{self.root}/{below}"):
            if name.startswith("."):
                self.ignored["(hidden)"] += 1
            elif not name.endswith("/"):
                yield Entry(below + name, size, version)
            elif self.enters(below + name[:-1]):
                yield from self._walk(below + name)


def _is_unordered(root: str) -> bool:
    """S3's directory buckets list in an order of their own."""
    return location(root).partition("/")[0].endswith("--x-s3")


def _children(url: str) -> list[tuple[str, int | None, str | None]]:
    """Name, size and version of what lies in a folder, folders with a slash at their end, sorted."""
    client = filesystem(url)
    is_web = scheme_of(url).startswith("http")
    folder = url if is_web else location(url)
    found = patiently(lambda: client.ls(folder, detail=True), url)
    start = folder.rstrip("/") + "/"
    children = []
    for item in found:
        name = item["name"].removeprefix("/") if not is_web else item["name"]
        if not name.startswith(start):
            continue
        name = name[len(start) :].rstrip("/")
        if is_web:
            name = unquote(name)
        if name and "/" not in name and not (is_web and set("?#") & set(item["name"])):
            folder_like = item["type"] == "directory"
            children.append((name + "/" * folder_like, None if folder_like else item.get("size"), version_of(item)))
    return sorted(set(children), key=lambda child: child[0])
