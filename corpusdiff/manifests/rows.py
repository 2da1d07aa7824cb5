"""What all manifests that are files of rows share: from a row to a track."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Track, check_id, path_below, without_query

#: Names of the path column, the first that is there counts.
PATH_COLUMNS = ("audio_filepath", "path", "file_name", "file", "wav")


class RowManifest:
    """A file whose rows name audio files, relative to the manifest's own folder."""

    kind: ClassVar[str]

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
        offset, duration = self._segment(row, line)
        channel = None
        if _given(row.get("channel")):
            channel = self._channel(row.pop("channel"), line)
        given = row.pop("id", None)
        track_id = str(given) if _given(given) else _segment_id(listed, offset, duration, channel)
        if not track_id.isprintable() or not track_id:
            check_id(track_id, f"{self.source}:{line}")
        return Track(track_id, listed, offset or 0.0, duration, channel, row)

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
