"""Folders, globs and single files as manifests."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Track, check_id
from corpusdiff.manifests.globs import is_glob, matches, reached, split_glob
from corpusdiff.manifests.media import extension, is_media


class FolderManifest:
    """Every media file below a folder, in the order of the relative posix paths.

    Links are followed, but never into a folder that is being listed already. Hidden entries, special
    files and files without a known extension are counted in `ignored`, not taken.
    """

    kind = "folder"

    def __init__(self, folder: str) -> None:
        self.source = self.root = os.path.abspath(folder)
        self.ignored: Counter[str] = Counter()

    def tracks(self) -> Iterator[Track]:
        """Tracks, one folder's listing in memory at a time. Raises ManifestError for a folder without any."""
        self.ignored.clear()
        found = False
        for track in self._walk(self.root, "", ()):
            found = True
            yield track
        if not found:
            raise ManifestError(
                f"{self.source}: no media files here; {told(self.ignored)}. "
                "Give a folder with audio or video files, or a manifest that lists them"
            )

    def place(self, index: int) -> str:
        """The number of the file: its path is its id."""
        return f"{self.source}: file {index + 1}"

    def _walk(self, folder: str, below: str, above: tuple[tuple[int, int], ...]) -> Iterator[Track]:
        above = (*above, _identity(folder))
        for name, entry in _sorted_entries(folder):
            relative = below + name
            if entry.name.startswith("."):
                self.ignored["(hidden)"] += 1
            elif not name.endswith("/"):
                yield from self._file(entry, relative)
            elif not self._enters(relative):
                continue
            elif _identity(entry.path) in above:  # by a link, here or farther up
                self.ignored["(link to a folder above)"] += 1
            else:
                yield from self._walk(entry.path, relative, above)

    def _file(self, entry: os.DirEntry[str], relative: str) -> Iterator[Track]:
        if not self._takes(relative):
            self.ignored[extension(entry.name) or "(no extension)"] += 1
            return
        size, version = None, None
        try:
            status = entry.stat()
        except OSError as error:
            if error.errno not in {errno.ENOENT, errno.ELOOP}:
                raise
            # a link that leads nowhere, or to itself, stays a track: its failure is in the corpus
        else:
            if not stat.S_ISREG(status.st_mode):
                self.ignored["(not a regular file)"] += 1
                return
            size, version = status.st_size, str(status.st_mtime_ns)
        yield Track(check_id(relative, self.source), relative, size=size, version=version)

    def _takes(self, relative: str) -> bool:
        return is_media(relative)

    def _enters(self, relative: str) -> bool:
        return True


class GlobManifest(FolderManifest):
    """The files that match a pattern (``*``, ``?``, ``[...]``, and ``**`` for any number of folders).

    A pattern that ends in an extension takes whatever matches; any other takes media files only.
    """

    kind = "glob"

    def __init__(self, pattern: str) -> None:
        parts = os.path.abspath(pattern).split("/")
        fixed, self._pattern = split_glob(parts)
        super().__init__("/".join(fixed) or "/")
        if not os.path.isdir(self.root):
            raise ManifestError(f"{pattern}: there is no folder {self.root}")
        self.source = "/".join(parts)
        suffix = extension(self._pattern[-1])
        self._any_kind = bool(suffix) and not is_glob(suffix)

    def _takes(self, relative: str) -> bool:
        return matches(relative, self._pattern) and (self._any_kind or is_media(relative))

    def _enters(self, relative: str) -> bool:
        return bool(reached(relative[:-1].split("/"), self._pattern))


class FileManifest:
    """One file as a corpus of one track, whatever its extension."""

    kind = "file"

    def __init__(self, path: str) -> None:
        self.source = os.path.abspath(path)
        self.root = os.path.dirname(self.source)
        self.ignored: Counter[str] = Counter()

    def tracks(self) -> Iterator[Track]:
        """The one track; its id is the name of the file."""
        status = os.stat(self.source)
        name = check_id(os.path.basename(self.source), self.root)
        yield Track(name, name, size=status.st_size, version=str(status.st_mtime_ns))

    def place(self, index: int) -> str:
        """The file."""
        return self.source


def _sorted_entries(folder: str) -> list[tuple[str, os.DirEntry[str]]]:
    # a folder sorts as "name/", so that walking in this order gives whole paths in order
    try:
        with os.scandir(folder) as entries:
            return sorted(
                ((entry.name + "/" if _is_folder(entry) else entry.name, entry) for entry in entries),
                key=lambda pair: pair[0],
            )
    except OSError as error:
        raise ManifestError(
            f"{folder}: cannot be listed ({error.strerror}); make it readable, or give a manifest of the files"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself
            return False
        raise


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def told(ignored: Counter[str]) -> str:
    """What was ignored, for people."""
    if not ignored:
        return "it is empty"
    kinds = ", ".join(f"{count} {name}" for name, count in ignored.most_common(8))
    return f"what was found was ignored: {kinds}"
