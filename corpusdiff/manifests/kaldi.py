"""Kaldi data folders: ``wav.scp``, with or without ``segments``, and what is known of each utterance."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.rows import RowManifest

#: Names of fields by the file that gives one for each utterance; any other ``utt2x`` gives the field ``x``.
_FILES = {"text": "text", "utt2spk": "speaker", "utt2dur": "duration"}

#: Files of a data folder that are no property of an utterance.
_OTHERS = frozenset({"utt2spk", "utt2dur", "utt2num_frames", "utt2uniq"})


class KaldiManifest(RowManifest):
    """A folder with a ``wav.scp``.

    Its files are sorted as the C locale does, as Kaldi itself wants them, and are read side by side; of ``wav.scp``
    beside ``segments`` one line for each recording is in memory. Paths are relative to the folder, or, where there is
    no such file, to the present one, as Kaldi's recipes have it. Lines that are commands for a shell are refused.
    """

    kind: ClassVar[str] = "kaldi"

    def __init__(self, folder: str) -> None:
        super().__init__(os.path.join(folder, "wav.scp"))
        self.source = os.path.abspath(folder)
        self._scp = os.path.join(self.source, "wav.scp")

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line of ``segments`` or ``wav.scp`` (from 1), and what is known of the utterance. Raises ManifestError."""
        known = {field: _Column(path) for field, path in self._columns()}
        segments = os.path.join(self.source, "segments")
        utterances = self._segments(segments) if os.path.isfile(segments) else self._whole()
        for line, utterance, row in utterances:
            for field, column in known.items():
                value = column.get(utterance)
                if value is not None and not (field == "duration" and "offset" in row):
                    row.setdefault(field, value)
            yield line, row

    def _columns(self) -> Iterator[tuple[str, str]]:
        for name in sorted(os.listdir(self.source)):
            field = _FILES.get(name) or (name[4:] if name.startswith("utt2") and name not in _OTHERS else None)
            if field:
                yield field, os.path.join(self.source, name)

    def _whole(self) -> Iterator[tuple[int, str, dict[str, object]]]:
        for line, recording, path in _lines(self._scp):
            yield line, recording, {"id": recording, "audio_filepath": self._file(path, line)}

    def _segments(self, segments: str) -> Iterator[tuple[int, str, dict[str, object]]]:
        recordings = {recording: self._file(path, line) for line, recording, path in _lines(self._scp)}
        for line, utterance, rest in _lines(segments):
            parts = rest.split()
            if len(parts) not in {3, 4} or parts[0] not in recordings:
                raise ManifestError(
                    f"{segments}:{line}: found {rest!r}; expected a recording of wav.scp, its start and end in seconds"
                )
            try:
                start, end = float(parts[1]), float(parts[2])
            except ValueError:
                raise ManifestError(f"{segments}:{line}: start and end are {parts[1]!r} and {parts[2]!r}") from None
            row: dict[str, object] = {"id": utterance, "audio_filepath": recordings[parts[0]], "offset": start}
            if end != -1:  # which is: to the end
                if not end > start:
                    raise ManifestError(f"{segments}:{line}: the segment ends at {end:g} s, before it starts")
                row["duration"] = end - start
            if len(parts) == 4:
                row["channel"] = parts[3]
            yield line, utterance, row | {"recording": parts[0]}

    def _file(self, path: str, line: int) -> str:
        if path.rstrip().endswith("|") or path.lstrip().startswith("|"):
            raise ManifestError(
                f"{self._scp}:{line}: {path!r} is a command for a shell, and those are not run: write its output to a "
                "file (wav-copy does so for a whole wav.scp), and name that"
            )
        if os.path.isabs(path) or "://" in path or os.path.exists(os.path.join(self.root, path)):
            return path
        there = os.path.abspath(path)
        return there if os.path.exists(there) else path

    def place(self, index: int) -> str:
        """File and line of a track."""
        name = "segments" if os.path.isfile(os.path.join(self.source, "segments")) else "wav.scp"
        return f"{self.source}/{name}:{index + 1}"


class _Column:
    """One file of values by utterance, read forwards as they are asked for."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines = _lines(path)
        self._key: bytes | None = b""
        self._value = ""

    def get(self, utterance: str) -> str | None:
        """The utterance's value, None without one. Utterances are asked for in their order."""
        wanted = utterance.encode()
        while self._key is not None and self._key < wanted:
            self._next()
        return self._value if self._key == wanted else None

    def _next(self) -> None:
        found = next(self._lines, None)
        if found is None:
            self._key = None
            return
        line, utterance, self._value = found
        key = utterance.encode()
        if self._key is not None and key <= self._key:
            raise ManifestError(
                f"{self._path}:{line}: {utterance!r} does not come after the line before it: sort the files by "
                "`LC_ALL=C sort` (Kaldi's utils/fix_data_dir.sh does)"
            )
        self._key = key


def _lines(path: str) -> Iterator[tuple[int, str, str]]:
    """Line number, what comes before the first white space, and the rest. Raises ManifestError."""
    with open(path, "rb") as file:
        for line, raw in enumerate(file, 1):
            try:
                text = raw.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ManifestError(f"{path}:{line}: not UTF-8 ({error.reason})") from error
            if not text.strip():
                continue
            parts = text.split(None, 1)
            yield line, parts[0], parts[1].strip() if len(parts) == 2 else ""
