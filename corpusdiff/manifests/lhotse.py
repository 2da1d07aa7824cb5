"""Lhotse's recordings, supervisions and cuts, as ``.jsonl`` or ``.jsonl.gz``, here or behind a URL."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.beside import recipe_path
from corpusdiff.manifests.jsonlines import json_lines, parsed
from corpusdiff.manifests.lhotse_items import cut_of_supervision, is_lhotse, is_supervision, rows_of
from corpusdiff.manifests.lookup import Lookup
from corpusdiff.manifests.rows import RowManifest


class _LhotseRows(RowManifest):
    """Rows of Lhotse's items. Paths are relative to the manifest's folder, or to the present one, as in a recipe."""

    kind: ClassVar[str] = "lhotse"

    def _rows(
        self, item: Mapping[str, Any], line: int, supervisions: Sequence[Mapping[str, Any]] = ()
    ) -> Iterator[tuple[int, dict[str, object]]]:
        for row in rows_of(item, f"{self.source}:{line}", supervisions):
            yield line, row | {"audio_filepath": recipe_path(row["audio_filepath"], self.root)}


class LhotseManifest(_LhotseRows):
    """Cuts (``MonoCut``, ``MultiCut``) or recordings; a track for each, or for each file of one of several files.

    Supervisions become the field ``supervisions``, as Lhotse has them, with times in seconds of the track; what they
    say are fields too, see `corpusdiff.manifests.timed.said`, and so is each key of ``custom``.
    """

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line (from 1) and row. Raises ManifestError."""
        for line, item, _ in json_lines(self.source):
            if is_supervision(item):
                raise ManifestError(
                    f"{self.source}:{line}: a supervision, which names no file: give its folder, where there are "
                    "recordings too (a track for each), or add --source-format lhotse-supervisions (a track for each "
                    "supervision, the recordings in a file beside it)"
                )
            yield from self._rows(item, line)


class JoinedManifest(_LhotseRows):
    """Recordings with the supervisions of a second file, a track for each recording: ``CutSet.from_manifests``.

    The files may be in any order: the supervisions wait on disk (`corpusdiff.manifests.lookup`), so that neither file
    is in memory. A supervision whose recording is not there is an error.

    Parameters
    ----------
    recordings, supervisions : paths or URLs of the files
    """

    def __init__(self, recordings: str, supervisions: str) -> None:
        super().__init__(recordings)
        self._supervisions = supervisions if "://" in supervisions else os.path.abspath(supervisions)

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line of the recordings (from 1) and row. Raises ManifestError."""
        n_left = 0
        with Lookup(_by_recording(self._supervisions)) as waiting:
            n_left = len(waiting)
            for line, item, _ in json_lines(self.source):
                texts = waiting.all(str(item.get("id")))
                n_left -= len(texts)
                yield from self._rows(item, line, [parsed(text) for text in texts])
            if n_left > 0:
                missing = waiting.other_than(str(item.get("id")) for _, item, _ in json_lines(self.source))
                raise ManifestError(
                    f"{self._supervisions}: a supervision of the recording {missing!r}, which is not in {self.source}: "
                    "`lhotse fix` leaves out what has no recording"
                )


class SupervisionManifest(_LhotseRows):
    """Supervisions, each a track of its own: a stretch of its recording, which a second file describes.

    The recordings wait on disk, as the supervisions of a `JoinedManifest` do.

    Parameters
    ----------
    supervisions, recordings : paths or URLs of the files
    """

    def __init__(self, supervisions: str, recordings: str) -> None:
        super().__init__(supervisions)
        self._recordings = recordings if "://" in recordings else os.path.abspath(recordings)

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line of the supervisions (from 1) and row. Raises ManifestError."""
        with Lookup((str(item.get("id")), text) for _, item, text in json_lines(self._recordings)) as waiting:
            if (twice := waiting.repeated()) is not None:
                raise ManifestError(f"{self._recordings}: the recording {twice!r} is there twice")
            for line, item, _ in json_lines(self.source):
                place = f"{self.source}:{line}"
                if not is_supervision(item):
                    raise ManifestError(f"{place}: expected a supervision: recording_id, start and duration in seconds")
                texts = waiting.all(str(item["recording_id"]))
                if not texts:
                    raise ManifestError(
                        f"{place}: its recording {item['recording_id']!r} is not in {self._recordings}: `lhotse fix` "
                        "leaves out what has no recording"
                    )
                yield from self._rows(cut_of_supervision(item, parsed(texts[0])), line)


def _by_recording(supervisions: str) -> Iterator[tuple[str, str]]:
    for line, item, text in json_lines(supervisions):
        if not is_supervision(item):
            raise ManifestError(
                f"{supervisions}:{line}: expected a supervision: recording_id, start and duration in seconds"
            )
        yield str(item["recording_id"]), text


def is_lhotse_file(path: str) -> bool:
    """Whether the first line of a JSON lines file is Lhotse's. False where it cannot be read."""
    return is_lhotse(_first(path))


def is_supervision_file(path: str) -> bool:
    """Whether the first line of a JSON lines file is a supervision. False where it cannot be read."""
    return is_supervision(_first(path))


def _first(path: str) -> object:
    try:
        return next(json_lines(os.fspath(path)), (0, None, ""))[1]
    except (OSError, ManifestError):
        return None
