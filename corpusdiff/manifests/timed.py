"""Fields of a manifest that say when: their names, their shapes, and what supervisions say of a whole row."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeGuard

#: Fields that hold a list of items with a start and an end, or an alignment as Lhotse has it.
TIMED = (
    "alignment", "alignments", "chars", "chunks", "diarization", "phonemes", "phones", "segments", "sentences",
    "speaker_turns", "turns", "utterances", "word_segments", "word_timestamps", "words",
)  # fmt: skip

#: Of supervisions, what a row of its own would have.
SAID = ("text", "speaker", "language", "gender")


def is_supervisions(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a field holds supervisions as Lhotse writes them."""
    return isinstance(value, list) and all(
        isinstance(item, dict) and is_time(item.get("start")) and is_length(item.get("duration")) for item in value
    )


def said(supervisions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What supervisions say of all their audio: their texts in order of time, and what all of them have in common.

    >>> said([{"start": 1, "text": "b", "speaker": "x"}, {"start": 0, "text": "a", "speaker": "x", "language": "en"}])
    {'text': 'a b', 'speaker': 'x'}
    """
    in_order = sorted(supervisions, key=itemgetter("start"))
    texts = [item["text"] for item in in_order if isinstance(item.get("text"), str) and item["text"]]
    found: dict[str, Any] = {"text": " ".join(texts)} if texts else {}
    for name in SAID[1:]:
        values = [item.get(name) for item in supervisions]
        if values and values[0] is not None and values.count(values[0]) == len(values):
            found[name] = values[0]
    return found


def loaded(value: object) -> object:
    """What a text of a CSV or Parquet manifest holds where it is JSON; anything else as it is."""
    if not isinstance(value, str) or value[:1] not in {"[", "{"}:
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def span(item: object) -> tuple[float, float] | None:
    """Start and end of an item in seconds; None where it has none."""
    if not isinstance(item, dict):
        return None
    if "start" in item:
        start, stop = item["start"], item.get("end")
        if "end" not in item and is_time(start) and is_length(item.get("duration")):
            stop = start + item["duration"]
    elif isinstance(pair := item.get("timestamp"), list) and len(pair) == 2:
        start, stop = pair
    else:
        return None
    return (start, stop) if is_length(start) and is_length(stop) and start <= stop else None  # type: ignore[return-value]


def is_alignment(value: object) -> TypeGuard[dict[str, list[list[Any]]]]:
    """Whether it is Lhotse's: lists of symbol, start, duration and score by their kind."""
    return isinstance(value, dict) and all(
        isinstance(items, list)
        and all(isinstance(item, list) and len(item) >= 3 and is_time(item[1]) and is_length(item[2]) for item in items)
        for items in value.values()
    )


def is_table(value: object) -> TypeGuard[dict[str, list[Any]]]:
    """Whether it is a list for each property of items, all of one length, with starts."""
    return (
        isinstance(value, dict)
        and ("start" in value or "timestamp" in value)
        and all(isinstance(column, list) for column in value.values())
        and len({len(column) for column in value.values()}) == 1
    )


def is_time(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_length(value: object) -> bool:
    """Whether it is a finite number, and none below 0."""
    return is_time(value) and value >= 0  # type: ignore[operator]
