"""Audio of several rows by as few requests as their places allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import TrackError
from corpusdiff.store.arrays import ArrayReader, Stretch

if TYPE_CHECKING:
    from corpusdiff.stages.base import Audio
    from corpusdiff.store.item import Item


class Wanted(NamedTuple):
    """Samples ``start`` up to ``stop`` (the end) of an item, as in a slice."""

    item: Item
    start: int = 0
    stop: int | None = None


def read_batch(wanted: Sequence[Wanted]) -> list[Audio]:
    """(n_channels, n) float32 of each, full scale 1.0.

    Raises TrackError for a row that has no audio, StoreError for damaged audio.
    """
    if len(wanted) == 1:
        return [read_one(wanted[0])]
    found: list[Audio] = [_NOTHING] * len(wanted)
    members: dict[str, list[tuple[int, Stretch]]] = defaultdict(list)
    for number, one in enumerate(wanted):
        name, stretch = _located(one)
        members[name].append((number, stretch))
    for name, of_array in members.items():
        array = wanted[0].item.corpus.array(name)
        parts = array.read_many([stretch for _, stretch in of_array], array.heard_dtype)
        for (number, _), part in zip(of_array, parts, strict=True):
            found[number] = _heard(wanted[number], array, part)
    return found


def read_one(wanted: Wanted) -> Audio:
    """The same of one."""
    name, stretch = _located(wanted)
    array = wanted.item.corpus.array(name)
    return _heard(wanted, array, array.read(stretch.row, stretch.start, stretch.stop, array.heard_dtype))


def _located(wanted: Wanted) -> tuple[str, Stretch]:
    """Array and stretch of it that hold what is wanted."""
    item = wanted.item
    place = item.corpus.place(item.index, item.output)
    if place is None:
        raise TrackError(item["reason"], f"{item.id} has no audio: {item.status}: {item['error']}")
    if item.corpus.array(place.array).layout.lossy:  # a stream is decoded from its start
        return place.array, Stretch(place.row, place.offset, place.offset + place.size)
    start, stop, _ = slice(wanted.start, wanted.stop).indices(place.n_samples)
    return place.array, Stretch(place.row, place.offset + start, place.offset + max(start, stop))


def _heard(wanted: Wanted, array: ArrayReader, part: NDArray[Any]) -> Audio:
    """Float samples as they are, and those of a stream decoded."""
    return wanted.item.decoded(part.tobytes())[:, wanted.start : wanted.stop] if array.layout.lossy else part


_NOTHING = np.zeros((0, 0), np.float32)
