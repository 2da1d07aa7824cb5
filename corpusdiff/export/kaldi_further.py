"""What Kaldi has no file for: each field of the manifest as a ``utt2<field>``, which Kaldi's own tools carry along."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from corpusdiff.export.sample import SPEAKER, TEXT

#: Of a row, what the other files say, or what is true of its file alone.
_SAID = frozenset(
    {"id", "audio_filepath", "duration", "sampling_rate", "num_samples", "num_channels", *TEXT[:1],
     *SPEAKER[:1]}
)  # fmt: skip

#: Names that may stand in a file's.
_NAME = re.compile(r"[\w.-]{1,200}", re.ASCII)


def further_files(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, Iterable[bytes]]]:
    """Names and lines of the files, each sorted as the C locale does.

    Parameters
    ----------
    rows : utterance and row; an id that is no longer the utterance's goes to ``utt2id``
    """
    files: dict[str, list[tuple[str, str]]] = {}
    for utterance, row in rows:
        if utterance != row["id"]:
            files.setdefault("id", []).append((utterance, row["id"]))
        for name, value in row.items():
            if name not in _SAID and value is not None and _NAME.fullmatch(name):
                files.setdefault(name, []).append((utterance, _one_line(value)))
    for name in sorted(files):
        lines = sorted(files[name], key=lambda pair: pair[0].encode())
        yield f"utt2{name.removeprefix('utt2')}", (f"{utterance} {value}\n".encode() for utterance, value in lines)


def _one_line(value: object) -> str:
    """A text as it is where a line can hold it, else as JSON."""
    if isinstance(value, str) and value == value.strip() and len(value.splitlines()) == 1:
        return value
    return json.dumps(value, ensure_ascii=False)
