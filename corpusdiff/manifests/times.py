"""Times moved to where they are in a part of a track, played as fast as it is.

What lies outside of the part is left out, what is cut in two is clipped and says so under ``clipped``, with the times
it had in the track. The text of a supervision that is cut goes along with its words where they are aligned, else it
stays whole in both parts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.manifests.timed import TIMED, is_alignment, is_supervisions, is_table, loaded, span

#: What is left of an item must be so long, and what is cut off it too to be told of, in seconds.
_LEAST_S = 0.001

#: Times that go so far beyond the end of a track are no seconds of it.
_BEYOND_S = 1.0

#: Digits of a moved time, in seconds: finer than a sample.
_DIGITS = 8


@dataclass(frozen=True)
class Stretch:
    """A part of a track, as a row of its own.

    Parameters
    ----------
    start_s : where in the track it begins
    pace : how many times as fast it is played
    end_s : its length as it is played; infinite where nothing is cut off
    """

    start_s: float = 0.0
    pace: float = 1.0
    end_s: float = math.inf

    def supervision(self, item: Mapping[str, Any]) -> dict[str, Any] | None:
        """Lhotse's supervision with its alignment, None where it is not in here."""
        place = self.place(item["start"], item["start"] + item["duration"])
        if place is None:
            return None
        start_s, stop_s, clipped = place
        moved = {**item, "start": start_s, "duration": round(stop_s - start_s, _DIGITS)}
        if is_alignment(item.get("alignment")):
            moved["alignment"] = self.alignment(item["alignment"])
        if clipped:
            was = {"start": item["start"], "duration": item["duration"]}
            heard = self._words(item)
            if heard is not None:
                was["text"], moved["text"] = item["text"], heard
            custom = item.get("custom")
            moved["custom"] = {**(custom if isinstance(custom, dict) else {}), "clipped": was}
        return moved

    def _words(self, item: Mapping[str, Any]) -> str | None:
        """Of a text that is its aligned words, those whose middle is in here; None where that cannot be told."""
        alignment = item.get("alignment")
        words = alignment.get("word") if is_alignment(alignment) else None
        if not words or item.get("text") != " ".join(str(word[0]) for word in words if word[0]):
            return None
        stop_s = self.start_s + self.end_s * self.pace
        return " ".join(str(word[0]) for word in words if word[0] and self.start_s <= word[1] + word[2] / 2 < stop_s)

    def alignment(self, alignment: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, list[list[Any]]]:
        """Lhotse's lists of symbol, start, duration and score."""
        moved: dict[str, list[list[Any]]] = {}
        for name, items in alignment.items():
            moved[name] = []
            for symbol, start, duration, *score in items:
                place = self.place(start, start + duration)
                if place is not None:
                    moved[name].append([symbol, place[0], round(place[1] - place[0], _DIGITS), *score])
        return moved

    def item(self, item: Mapping[str, Any]) -> dict[str, Any] | None:
        """An item with a start and an end (or a duration, or a pair of times), and with what is timed inside it."""
        before = span(item)
        assert before is not None
        place = self.place(*before)
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
        for name in TIMED:
            if name in item and (inside := timed_value(item[name])) is not None:
                moved[name] = inside.moved(self)
        return moved | {"clipped": {"start": before[0], "end": before[1]}} if clipped else moved

    def place(self, start: float, stop: float) -> tuple[float, float, bool] | None:
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

    def may_hold(self, spans: NDArray[np.float64]) -> list[int]:
        """Which of many spans, (n, 2) in seconds of the track, are not surely outside of it."""
        if math.isinf(self.end_s):
            return list(range(len(spans)))
        stop_s = self.start_s + self.end_s * self.pace
        inside = (spans[:, 1] >= self.start_s - _LEAST_S) & (spans[:, 0] <= stop_s + _LEAST_S)
        found: list[int] = np.flatnonzero(inside).tolist()
        return found


@dataclass(frozen=True)
class TimedList:
    """A field's list of items with times, which may be moved to many stretches.

    Parameters
    ----------
    items : supervisions, or anything with a start and an end
    spans : (n, 2) start and end of each in seconds
    are_supervisions : whether they are Lhotse's
    columns : names of the field's lists side by side; None where it is a list of items
    as_text : whether the field holds all that as JSON
    """

    items: Sequence[Mapping[str, Any]]
    spans: NDArray[np.float64]
    are_supervisions: bool = False
    columns: tuple[str, ...] | None = None
    as_text: bool = False

    def left(self, stretch: Stretch) -> list[dict[str, Any]]:
        """The items that are in a stretch, moved."""
        move = stretch.supervision if self.are_supervisions else stretch.item
        chosen = (move(self.items[i]) for i in stretch.may_hold(self.spans))
        return [item for item in chosen if item is not None]

    def moved(self, stretch: Stretch) -> object:
        """The field for a stretch."""
        return self.packed(self.left(stretch))

    def packed(self, items: list[dict[str, Any]]) -> object:
        """Items in the form of the field."""
        value: object = items
        if self.columns is not None:
            clipped = ["clipped"] if any("clipped" in item for item in items) else []
            value = {name: [item.get(name) for item in items] for name in [*self.columns, *clipped]}
        return json.dumps(value, ensure_ascii=False) if self.as_text else value


@dataclass(frozen=True)
class TimedAlignment:
    """A field's alignment as Lhotse has it; `as_text` as in `TimedList`."""

    alignment: Mapping[str, Sequence[Sequence[Any]]]
    as_text: bool = False

    def moved(self, stretch: Stretch) -> object:
        """The field for a stretch."""
        value = stretch.alignment(self.alignment)
        return json.dumps(value, ensure_ascii=False) if self.as_text else value


def timed_supervisions(value: object) -> TimedList | None:
    """What a field holds where it is supervisions as Lhotse has them."""
    inner = loaded(value)
    if not is_supervisions(inner):
        return None
    spans = [(item["start"], item["start"] + item["duration"]) for item in inner]
    return TimedList(inner, _array(spans), are_supervisions=True, as_text=inner is not value)


def timed_value(value: object, track_s: float | None = None) -> TimedList | TimedAlignment | None:
    """What a field holds where that is of a known shape, with times that may be those of a track of `track_s`."""
    inner = loaded(value)
    as_text = inner is not value
    if is_alignment(inner):
        return TimedAlignment(inner, as_text)
    columns = None
    if is_table(inner):
        columns = tuple(inner)
        inner = [dict(zip(columns, row, strict=True)) for row in zip(*inner.values(), strict=True)]
    if not isinstance(inner, list) or not inner:
        return None
    spans = [span(item) for item in inner]
    latest_s = math.inf if track_s is None else track_s + _BEYOND_S
    if any(found is None or found[1] > latest_s for found in spans):
        return None
    return TimedList(inner, _array(spans), columns=columns, as_text=as_text)


def _array(spans: Sequence[tuple[float, float] | None]) -> NDArray[np.float64]:
    return np.array(spans, np.float64).reshape(-1, 2)
