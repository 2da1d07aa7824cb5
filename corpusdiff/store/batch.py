"""Audio of several rows by as few requests as their places allow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from corpusdiff.errors import TrackError
from corpusdiff.store.arrays import Stretch

if TYPE_CHECKING:
    from corpusdiff.stages.base import Audio
    from corpusdiff.store.item import Item


@dataclass(frozen=True)
class Wanted:
    """Samples ``start`` up to ``stop`` (the end) of an item, as in a slice."""

    item: Item
    start: int = 0
    stop: int | None = None


def read_batch(wanted: Sequence[Wanted]) -> list[Audio]:
    """(n_channels, n) float32 of each, full scale 1.0.

    Raises TrackError for a row that has no audio, StoreError for damaged audio.
    """
    found: list[Audio] = [_NOTHING] * len(wanted)
    places: dict[str, list[tuple[int, Stretch, tuple[int, int]]]] = defaultdict(list)
    for number, one in enumerate(wanted):
        item = one.item
        if item.status != "ok":
            raise TrackError(item["reason"], f"{item.id} has no audio: {item.status}: {item['error']}")
        start, stop, _ = slice(one.start, one.stop).indices(item.n_samples)
        name, row, offset = item.place("array"), item["row"], item.place("offset")
        if item.corpus.array(name).layout.lossy:
            stretch = Stretch(row, offset, offset + item.place("size"))  # a stream is decoded from its start
        else:
            stretch = Stretch(row, offset + start, offset + max(start, stop))
        places[name].append((number, stretch, (start, stop)))
    for name, members in places.items():
        array = wanted[0].item.corpus.array(name)
        lossy = array.layout.lossy
        parts = array.read_many([stretch for _, stretch, _ in members], None if lossy else np.float32)
        for (number, _, (start, stop)), part in zip(members, parts, strict=True):
            found[number] = wanted[number].item.decoded(part.tobytes())[:, start:stop] if lossy else part
    return found


_NOTHING = np.zeros((0, 0), np.float32)
