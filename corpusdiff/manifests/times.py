"""Times in a manifest's fields, moved to where they are in what a job makes of a track.

Trimming, cutting, speed and tempo move what was said in a recording. The fields that say when are known by their names
and shape: Lhotse's ``supervisions`` with their alignments, and lists of words, segments and the like whose items have a
start and an end in seconds, counted from where the row's own audio begins. What lies outside of a row's audio is left
out of that row, what is cut in two is clipped and says so under ``clipped``, with the times it had in the track. The
manifest as it was stands in the corpus' ``plan``, under the track's id.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeGuard

from corpusdiff.manifests.base import Track

#: Fields that hold a list of items with a start and an end, or an alignment as Lhotse has it.
TIMED = (
    "alignment", "alignments", "chars", "chunks", "diarization", "phonemes", "phones", "segments", "sentences",
    "speaker_turns", "turns", "utterances", "word_segments", "word_timestamps", "words",
)  # fmt: skip

#: Of supervisions, what a row of its own would have.
SAID = ("text", "speaker", "language", "gender")

#: What is left of an item must be so long, and what is cut off it too to be told of, in seconds.
_LEAST_S = 0.001

#: Times that go so far beyond the end of a track are no seconds of it.
_BEYOND_S = 1.0

#: Digits of a moved time, in seconds: finer than a sample.
_DIGITS = 8


@dataclass(frozen=True)
class Clock:
    """What a job does to the time of its tracks.

    Parameters
    ----------
    cuts : whether a row may be less than its track
    pace : so many times as fast, by speed and by tempo
    """

    cuts: bool
    pace: float

    @classmethod
    def of_job(cls, job: Mapping[str, Any]) -> Clock:
        """Of a job as `corpusdiff.job.Job.to_dict` has it."""
        source = job.get("source") or {}
        cuts = source.get("segment_s") is not None or job.get("vad") is not None
        return cls(cuts, source.get("speed", 1.0) * source.get("tempo", 1.0))

    def fields(self, track: Track, row: Mapping[str, Any]) -> dict[str, object]:
        """The track's fields as they are for the audio of one of its rows; those that hold no times are the same."""
        fields = dict(track.fields)
        if (not self.cuts and self.pace == 1.0) or not row["sr"] or row["status"] == "failed":
            return fields
        end_s = row["n_samples"] / row["sr"] if self.cuts else math.inf
        stretch = Stretch(row["start_s"] - track.offset_s, self.pace, end_s, _length_s(track))
        return stretch.fields(fields)


@dataclass(frozen=True)
class Stretch:
    """A part of a track, as a row of its own.

    Parameters
    ----------
    start_s : where in the track it begins
    pace : how many times as fast it is played
    end_s : its length as it is played; infinite where nothing is cut off
    track_s : length of the track, where it is known
    """

    start_s: float
    pace: float
    end_s: float
    track_s: float | None = None

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """A track's fields with all times moved, and what its supervisions say as those say it that are left."""
        found = {name: self._timed(value) if name in TIMED else value for name, value in fields.items()}
        supervisions = fields.get("supervisions")
        listed = loaded(supervisions)
        if is_supervisions(listed):
            left = [moved for item in listed if (moved := self._supervision(item)) is not None]
            before, after = said(listed), said(left)
            found |= {name: after.get(name) for name in SAID if name in found and found[name] == before.get(name)}
            found["supervisions"] = left if listed is supervisions else json.dumps(left, ensure_ascii=False)
        return found

    def _timed(self, value: object) -> object:
        """A field's value with its times moved; as it is where it is not of a known shape."""
        inner = loaded(value)
        if inner is not value:
            moved = self._timed(inner)
            return value if moved is inner else json.dumps(moved, ensure_ascii=False)
        if _is_alignment(value):
            return self._alignment(value)  # type: ignore[arg-type]
        if not isinstance(value, list) or not value:
            return value
        spans = [_span(item) for item in value]
        latest_s = math.inf if self.track_s is None else self.track_s + _BEYOND_S
        if any(span is None or span[1] > latest_s for span in spans):
            return value
        return [moved for item in value if (moved := self._item(item)) is not None]

    def _supervision(self, item: Mapping[str, Any]) -> dict[str, Any] | None:
        place = self._place(item["start"], item["start"] + item["duration"])
        if place is None:
            return None
        start_s, stop_s, clipped = place
        moved = {**item, "start": start_s, "duration": round(stop_s - start_s, _DIGITS)}
        if _is_alignment(item.get("alignment")):
            moved["alignment"] = self._alignment(item["alignment"])
        if clipped:
            was = {"start": item["start"], "duration": item["duration"]}
            moved["custom"] = {**(item.get("custom") or {}), "clipped": was}
        return moved

    def _alignment(self, alignment: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, list[list[Any]]]:
        """Lhotse's lists of symbol, start, duration and score."""
        moved: dict[str, list[list[Any]]] = {}
        for name, items in alignment.items():
            moved[name] = []
            for symbol, start, duration, *score in items:
                place = self._place(start, start + duration)
                if place is not None:
                    moved[name].append([symbol, place[0], round(place[1] - place[0], _DIGITS), *score])
        return moved

    def _item(self, item: Mapping[str, Any]) -> dict[str, Any] | None:
        """An item with a start and an end (or a duration, or a pair of times), and with what is timed inside it."""
        before = _span(item)
        assert before is not None
        place = self._place(*before)
        if place is None:
            return None
        start_s, stop_s, clipped = place
        moved = dict(item)
        if "timestamp" in item and "start" not in item:
            moved["timestamp"] = [start_s, stop_s]
        else:
            moved["start"] = start_s
            moved |= {"end": stop_s} if "end" in item else {}
            moved |= {"duration": round(stop_s - start_s, _DIGITS)} if "duration" in item else {}
        moved |= {name: self._timed(item[name]) for name in TIMED if name in item}
        return moved | {"clipped": {"start": before[0], "end": before[1]}} if clipped else moved

    def _place(self, start: float, stop: float) -> tuple[float, float, bool] | None:
        """Where a stretch of the track's time is, and whether some of it is cut off; None where it is not there."""
        first, last = (start - self.start_s) / self.pace, (stop - self.start_s) / self.pace
        if math.isinf(self.end_s):
            return round(first, _DIGITS), round(last, _DIGITS), False
        inside, out = max(first, 0.0), min(last, self.end_s)
        least_s = min(_LEAST_S, (last - first) / 2)
        if out - inside < least_s or not (0.0 <= inside < self.end_s):
            return None
        clipped = inside - first > _LEAST_S or last - out > _LEAST_S
        return round(inside, _DIGITS), round(out, _DIGITS), clipped


def is_supervisions(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether a field holds supervisions as Lhotse writes them."""
    return isinstance(value, list) and all(
        isinstance(item, dict) and _is_time(item.get("start")) and _is_length(item.get("duration")) for item in value
    )


def said(supervisions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What supervisions say of all their audio: their texts in order of time, and what all of them have in common.

    >>> said([{"start": 1, "text": "b", "speaker": "x"}, {"start": 0, "text": "a", "speaker": "x", "language": "en"}])
    {'text': 'a b', 'speaker': 'x'}
    """
    texts = [
        item["text"] for item in sorted(supervisions, key=itemgetter("start")) if isinstance(item.get("text"), str)
    ]
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


def _length_s(track: Track) -> float | None:
    """Seconds of a track, as far as its row and its header say; the longer of two claims."""
    if track.duration_s is not None:
        return track.duration_s
    header = track.header_samples / track.header_sr if track.header_samples and track.header_sr else None
    claims = [value for value in (header, track.fields.get("duration")) if _is_length(value)]
    return max(claims) if claims else None  # type: ignore[type-var,return-value]


def _span(item: object) -> tuple[float, float] | None:
    """Start and end of an item in seconds; None where it has none."""
    if not isinstance(item, dict):
        return None
    if "start" in item:
        start, stop = item["start"], item.get("end")
        if "end" not in item and _is_time(start) and _is_length(item.get("duration")):
            stop = start + item["duration"]
    elif isinstance(pair := item.get("timestamp"), list) and len(pair) == 2:
        start, stop = pair
    else:
        return None
    return (start, stop) if _is_length(start) and _is_length(stop) and start <= stop else None  # type: ignore[return-value]


def _is_alignment(value: object) -> bool:
    """Whether it is Lhotse's: lists of symbol, start, duration and score by their kind."""
    return isinstance(value, dict) and all(
        isinstance(items, list)
        and all(
            isinstance(item, list) and len(item) >= 3 and _is_time(item[1]) and _is_length(item[2]) for item in items
        )
        for items in value.values()
    )


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_length(value: object) -> bool:
    return _is_time(value) and value >= 0  # type: ignore[operator]
