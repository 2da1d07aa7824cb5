"""Kaldi data folders: ``wav.scp``, with or without ``segments``, and what is known of each utterance."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import ExitStack
from typing import ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import without_query
from corpusdiff.manifests.beside import is_file, names_in, recipe_path
from corpusdiff.manifests.lookup import Lookup
from corpusdiff.manifests.rows import RowManifest
from corpusdiff.manifests.transport import open_file

#: Names of fields by the file that gives one for each utterance; any other ``utt2x`` gives the field ``x``.
_FILES = {"text": "text", "utt2spk": "speaker", "utt2dur": "duration"}

#: Names that a row has for itself, and other fields' own: a file of such an ``x`` gives the field ``utt2x``.
_TAKEN = frozenset({"id", "audio_filepath", "offset", "start", "duration", "channel", "speaker", "text"})

#: What a server that does not list its folders is asked for.
_USUAL = ("text", "utt2spk", "utt2dur", "utt2lang", "utt2gender", "utt2num_frames", "utt2uniq", "spk2gender")


class KaldiManifest(RowManifest):
    """A folder with a ``wav.scp``.

    Its files are sorted as the C locale does, as Kaldi itself wants them, and are read side by side, a line of each at
    a time; ``wav.scp`` beside ``segments``, and what is known of speakers (any ``spk2x`` but ``spk2utt``), wait on disk
    (`corpusdiff.manifests.lookup`). Paths are relative to the folder, or, where there is no such file, to the present
    one, as Kaldi's recipes have it. Lines that are commands for a shell are refused.

    Parameters
    ----------
    folder : path or URL
    """

    kind: ClassVar[str] = "kaldi"

    def __init__(self, folder: str) -> None:
        super().__init__(f"{folder.rstrip('/')}/wav.scp")
        self.source = self.root
        self._scp = f"{self.root}/wav.scp"

    def rows(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Line of ``segments`` or ``wav.scp`` (from 1), and what is known of the utterance. Raises ManifestError."""
        names = names_in(self.source, _USUAL)
        known = {field: _Column(path) for field, path in self._columns(names, "utt2")}
        segments = f"{self.source}/segments"
        with ExitStack() as stack:
            of_speakers = {
                field: stack.enter_context(Lookup((key, value) for _, key, value in _lines(path)))
                for field, path in self._columns(names, "spk2")
            }
            for line, utterance, row in self._segments(segments) if is_file(segments) else self._whole():
                for field, column in known.items():
                    value = column.get(utterance)
                    if value is not None and not (field == "duration" and "offset" in row):
                        row.setdefault(field, value)
                for field, values in of_speakers.items():
                    if found := values.all(str(row.get("speaker", utterance))):
                        row.setdefault(field, found[0])
                yield line, row

    def _columns(self, names: list[str], prefix: str) -> Iterator[tuple[str, str]]:
        """Field and file of what is known of utterances, or of speakers."""
        for name in names:
            field = _FILES.get(name) if prefix == "utt2" else None
            if field is None and name.startswith(prefix) and name != "spk2utt":
                field = name if name[4:] in _TAKEN else name[4:]
            if field:
                yield field, f"{self.source}/{name}"

    def _whole(self) -> Iterator[tuple[int, str, dict[str, object]]]:
        for line, recording, path in _lines(self._scp):
            yield line, recording, {"id": recording, "audio_filepath": self._file(path, line)}

    def _segments(self, segments: str) -> Iterator[tuple[int, str, dict[str, object]]]:
        with Lookup((recording, self._file(path, line)) for line, recording, path in _lines(self._scp)) as recordings:
            for line, utterance, rest in _lines(segments):
                parts = rest.split()
                path = recordings.all(parts[0]) if len(parts) in {3, 4} else []
                if len(path) != 1:
                    raise ManifestError(
                        f"{segments}:{line}: found {rest!r}; expected a recording that is once in wav.scp, its start "
                        "and end in seconds"
                    )
                yield line, utterance, _segment(utterance, parts, path[0], f"{segments}:{line}")

    def _file(self, path: str, line: int) -> str:
        if path.rstrip().endswith("|") or path.lstrip().startswith("|"):
            raise ManifestError(
                f"{self._scp}:{line}: {path!r} is a command for a shell, and those are not run: write its output to a "
                "file (wav-copy does so for a whole wav.scp), and name that"
            )
        return recipe_path(path, self.root)

    def place(self, index: int) -> str:
        """File and line of a track."""
        name = "segments" if is_file(f"{self.source}/segments") else "wav.scp"
        return f"{self.source}/{name}:{index + 1}"


def is_kaldi(source: str) -> bool:
    """Whether it is a data folder, or its ``wav.scp``. Raises ManifestError where a server does not answer."""
    if posixpath.basename(without_query(source)).lower() == "wav.scp":
        return True
    return is_file(f"{source.rstrip('/')}/wav.scp")


def _segment(utterance: str, parts: list[str], path: str, place: str) -> dict[str, object]:
    """The row of an utterance by its line of ``segments``."""
    try:
        start, end = float(parts[1]), float(parts[2])
    except ValueError:
        raise ManifestError(f"{place}: start and end are {parts[1]!r} and {parts[2]!r}") from None
    row: dict[str, object] = {"id": utterance, "audio_filepath": path, "offset": start, "recording": parts[0]}
    if end != -1:  # which is: to the end
        if not end > start:
            raise ManifestError(f"{place}: the segment ends at {end:g} s, before it starts")
        row["duration"] = end - start
    if len(parts) == 4:
        row["channel"] = parts[3]
    return row


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
    with open_file(path) as file:
        for line, raw in enumerate(file, 1):
            try:
                text = raw.decode().rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise ManifestError(f"{path}:{line}: not UTF-8 ({error.reason})") from error
            if not text.strip():
                continue
            parts = text.split(None, 1)
            yield line, parts[0], parts[1].strip() if len(parts) == 2 else ""
