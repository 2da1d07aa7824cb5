"""Lhotse's recordings and cuts, as ``.jsonl`` or ``.jsonl.gz``."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.rows import RowManifest

#: Keys of a cut or recording that say where its audio is; all others are kept as fields.
_PLACES = frozenset(
    {"id", "start", "duration", "channel", "recording", "sources", "sampling_rate", "num_samples", "channel_ids",
     "type", "features", "supervisions", "custom"}
)  # fmt: skip

#: Of a supervision, what a row of its own would have.
_SAID = ("text", "speaker", "language", "gender")


class LhotseManifest(RowManifest):
    """Cuts (``MonoCut``, ``MultiCut``) or recordings.

    The supervisions of a cut become the field ``supervisions``, as Lhotse has them, with times in seconds of the cut;
    text, speaker, language and gender of a single one are fields too, and so is each key of ``custom``.
    """

    kind: ClassVar[str] = "lhotse"

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line (from 1) and row. Raises ManifestError."""
        with open_text(self.source) as file:
            for line, text in enumerate(self._lines(file), 1):
                if not text.strip():
                    continue
                try:
                    item = json.loads(text, parse_constant=lambda _: None)
                except (ValueError, RecursionError) as error:
                    raise ManifestError(f"{self.source}:{line}: not a JSON object ({error})") from error
                if not isinstance(item, dict):
                    raise ManifestError(f"{self.source}:{line}: found {type(item).__name__}, expected an object")
                yield line, self._row(item, f"{self.source}:{line}")

    def _lines(self, file: Iterable[str]) -> Iterator[str]:
        line = 0
        try:
            for line, text in enumerate(file, 1):  # noqa: B007  # the error wants it
                yield text
        except UnicodeDecodeError as error:
            raise ManifestError(f"{self.source}:{line + 1}: not UTF-8 ({error.reason})") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ManifestError(f"{self.source}: damaged after line {line}: {error}") from error

    def _row(self, item: Mapping[str, Any], place: str) -> dict[str, object]:
        is_cut = "sources" not in item
        recording = item.get("recording") if is_cut else item
        kind = item.get("type", "MonoCut")
        if not isinstance(recording, dict) or kind not in _TAKEN:
            raise ManifestError(
                f"{place}: found {kind if kind not in _TAKEN else 'no recording'}; expected a "
                "recording, or a MonoCut or MultiCut that holds its recording (CutSet.from_manifests makes such)"
            )
        row: dict[str, object] = {"id": item.get("id"), "audio_filepath": _source(recording, place)}
        row |= _fields(item)
        if is_cut:
            row |= {"offset": item.get("start", 0.0), "duration": item.get("duration")}
            channel = _channel(item.get("channel"), recording, place)
            if channel is not None:
                row["channel"] = channel
        elif "duration" in recording:
            row["duration"] = recording["duration"]
        return row


def is_lhotse(row: object) -> bool:
    """Whether an object is a line of a Lhotse manifest of recordings or cuts."""
    return isinstance(row, dict) and ("sources" in row or "recording" in row or row.get("type") in _CUTS)


_TAKEN = ("MonoCut", "MultiCut")
_CUTS = (*_TAKEN, "MixedCut", "PaddingCut")


def open_text(path: str) -> Any:
    """A text file, decompressed where its name says so."""
    if path.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def _source(recording: Mapping[str, Any], place: str) -> str:
    sources = recording.get("sources") or []
    if len(sources) != 1 or not isinstance(sources[0], dict):
        raise ManifestError(f"{place}: {len(sources)} sources of one recording; expected one file with all channels")
    kind, source = sources[0].get("type"), sources[0].get("source")
    if kind not in {"file", "url"} or not isinstance(source, str) or not source:
        remedy = {
            "command": "commands are not run: write their output to files",
            "memory": "audio inside a manifest is not read: write it to files (Recording.move_to_memory's inverse)",
            "shar": "give the Shar folder itself",
        }.get(str(kind), "expected file or url")
        raise ManifestError(f"{place}: a source of type {kind!r}: {remedy}")
    return source


def _channel(channel: object, recording: Mapping[str, Any], place: str) -> int | None:
    """The one channel that a cut takes, None for all."""
    there = recording.get("channel_ids") or recording["sources"][0].get("channels") or [0]
    wanted: list[Any] = channel if isinstance(channel, list) else there if channel is None else [channel]
    if sorted(wanted) == sorted(there):
        return None
    if len(wanted) == 1:
        return there.index(wanted[0]) if wanted[0] in there else int(wanted[0])
    raise ManifestError(
        f"{place}: channels {wanted} of a recording with {there}; give a cut for each channel, or one of all of them"
    )


def _fields(item: Mapping[str, Any]) -> dict[str, object]:
    fields = {name: value for name, value in item.items() if name not in _PLACES}
    fields |= item.get("custom") or {}
    supervisions = item.get("supervisions") or []
    if supervisions:
        fields["supervisions"] = supervisions
        if len(supervisions) == 1:
            fields |= {name: supervisions[0][name] for name in _SAID if supervisions[0].get(name) is not None}
    return fields


def is_lhotse_file(path: str) -> bool:
    """Whether the first line of a JSON lines file is Lhotse's. False where it cannot be read."""
    try:
        with open_text(os.fspath(path)) as file:
            return is_lhotse(json.loads(next(iter(file), "null")))
    except (OSError, ValueError, RecursionError):
        return False
