"""What all manifests that are files of rows share: from a row to a track."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import LONGEST_ID, Track, check_id, path_below, without_query
from corpusdiff.manifests.transport import SCHEMES, scheme_of

#: Rows that are looked at for a folder that holds them all, before one outside is refused.
_LOOKED_AT = 1000

#: Names of the path column, the first that is there counts.
PATH_COLUMNS = ("audio_filepath", "path", "file_name", "file", "wav")


class RowManifest:
    """A file whose rows name audio files, relative to the manifest's own folder.

    A manifest is data, and may come from anywhere: what lies outside its folder is read only below `allow`.

    Parameters
    ----------
    path : path or URL of the file

    Attributes
    ----------
    allow : further folders and URLs, absolute, in which files may lie
    file_fields : fields that name files too, such as the far end of an echo
    """

    kind: ClassVar[str]
    allow: tuple[str, ...] = ()
    file_fields: tuple[str, ...] = ()

    def __init__(self, path: str) -> None:
        self.source = path if "://" in path else os.path.abspath(path)
        self.root = self.base = os.path.dirname(without_query(self.source))
        self.ignored: Counter[str] = Counter()

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line (or row) number, counted as an editor does, and the row."""
        raise NotImplementedError

    def path_column(self, row: Mapping[str, object], line: int) -> str:
        """The name of the column with the path. Raises ManifestError."""
        for name in PATH_COLUMNS:
            if name in row:
                return name
        raise ManifestError(
            f"{self.source}:{line}: no path; expected one of {', '.join(PATH_COLUMNS)}, found {', '.join(row)}"
        )

    def tracks(self) -> Iterator[Track]:
        """Tracks in the order of the rows."""
        empty = True
        for line, row in self.rows():
            empty = False
            yield self._track(row, line)
        if empty:
            raise ManifestError(f"{self.source}: no rows; a manifest needs at least one track")

    def place(self, index: int) -> str:
        """File and line of a track."""
        line, _ = next(islice(self.rows(), index, None))
        return f"{self.source}:{line}"

    def _track(self, row: dict[str, object], line: int) -> Track:
        listed = row.pop(self.path_column(row, line))
        if not isinstance(listed, str) or not listed:
            raise ManifestError(f"{self.source}:{line}: the path is {listed!r}; expected the name of an audio file")
        if listed[0] in "/." or "/." in listed or "//" in listed or self.base is not self.root:
            listed = path_below(listed, self.root, self.base)
            self.check_allowed(listed, line)
        for name in self.file_fields:
            if isinstance(value := row.get(name), str):
                self.check_allowed(path_below(value, self.root), line)
        offset, duration = self._segment(row, line)
        channel = None
        if _given(row.get("channel")):
            channel = self._channel(row.pop("channel"), line)
        given = row.pop("id", None)
        track_id = str(given) if _given(given) else _segment_id(listed, offset, duration, channel)
        if not track_id.isprintable() or not 0 < len(track_id) <= LONGEST_ID:
            check_id(track_id, f"{self.source}:{line}")
        return Track(track_id, listed, offset or 0.0, duration, channel, row)

    def check_allowed(self, path: str, line: int) -> None:
        """Refuse a path, as a `Track` has it, outside of the manifest's folder and of `allow`. Raises ManifestError."""
        if (path[:1] != "/" and "://" not in path) or self._is_allowed(path):
            return
        if "://" in path and scheme_of(path) not in SCHEMES:
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise ManifestError(f"{self.source}:{line}: {path}: files can be read from {known}, and from folders")
        raise ManifestError(
            f"{self.source}:{line}: {path} lies outside of the manifest's own folder ({self.root}). Where you trust "
            f"the manifest, allow it: --allow-root {self._common_root(path)}"
        )

    def _is_allowed(self, path: str) -> bool:
        return any(path.startswith(f"{root.rstrip('/')}/") for root in (self.root, *self.allow))

    def _common_root(self, path: str) -> str:
        """A folder that holds this file, and those outside that the first rows name with it."""
        start, _, rest = path.partition("://") if "://" in path else ("", "", path)
        found = [rest]
        for row_number, (_, row) in enumerate(self.rows()):
            listed = next((row[name] for name in PATH_COLUMNS if name in row), None)
            if row_number == _LOOKED_AT:
                break
            if isinstance(listed, str) and listed:
                place = path_below(listed, self.root, self.base)
                if place.startswith(f"{start}://" if start else "/"):
                    found.append(place.partition("://")[2] if start else place)
        common = os.path.commonpath([os.path.dirname(name) for name in found])
        return f"{start}://{common}" if start else common

    def _segment(self, row: dict[str, object], line: int) -> tuple[float | None, float | None]:
        # without an offset the duration is the whole file's: a claim, kept among the fields, not a cut
        name = "offset" if "offset" in row else "start"
        if not _given(row.get(name)):
            return None, None
        offset = self._seconds(name, row.pop(name), line)
        if not _given(row.get("duration")):
            return offset, None
        duration = self._seconds("duration", row.pop("duration"), line)
        if duration == 0:
            raise ManifestError(f"{self.source}:{line}: duration is 0; leave such segments out")
        return offset, duration

    def _seconds(self, name: str, value: object, line: int) -> float:
        try:
            seconds = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            seconds = math.nan
        if not 0 <= seconds < math.inf or isinstance(value, bool):
            raise ManifestError(f"{self.source}:{line}: {name} is {value!r}; expected seconds, at least 0")
        return seconds

    def _channel(self, value: object, line: int) -> int:
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = -1.0
        if number < 0 or not number.is_integer() or isinstance(value, bool):
            raise ManifestError(
                f"{self.source}:{line}: channel is {value!r}; expected one whole number, counted from 0"
            )
        return int(number)


def _segment_id(path: str, offset: float | None, duration: float | None, channel: int | None) -> str:
    segment = "" if offset is None else f"@{offset}+{'' if duration is None else duration}"
    return f"{path}{segment}{'' if channel is None else f'#{channel}'}"


def _given(value: object) -> bool:
    return value is not None and value != ""
