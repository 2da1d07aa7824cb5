"""Audio of pieces that a process has made and will want again: what another phase would have to decode anew.

Nothing depends on it: whoever does not have it makes it, and gets the same samples.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from corpusdiff.pieces.share import Stretch
from corpusdiff.spool import AudioSpool
from corpusdiff.stages.base import Audio

#: Bytes of audio at most, in unnamed files for the most part: about ten hours at 16 kHz, twice.
MOST_BYTES = 5 * 10**9


@dataclass(frozen=True)
class Part:
    """Some of a track.

    Parameters
    ----------
    start : place of the first sample
    audio : the samples
    made_from : what they were made from besides the track
    """

    start: int
    audio: AudioSpool
    made_from: Any = None

    @property
    def stop(self) -> int:
        """Place after the last sample."""
        return self.start + self.audio.n_samples

    def blocks(self, stretch: Stretch) -> Iterator[tuple[int, Audio]]:
        """Places and blocks of what is there of a stretch."""
        at = self.start
        for x in self.audio.blocks():
            kept = stretch.of(x, at)
            if kept.shape[1]:
                yield max(at, stretch.start), kept
            at += x.shape[1]


class Kept:
    """Parts by name, of one track at a time."""

    def __init__(self) -> None:
        self._track: Hashable = None
        self._parts: dict[Hashable, Part] = {}

    def of(self, track: Hashable) -> Kept:
        """Itself, emptied if it was of another track."""
        if track != self._track:
            self.clear()
            self._track = track
        return self

    def put(self, name: Hashable, part: Part) -> None:
        """Keep a part, and let go of the oldest where there are too many."""
        self.drop(name)
        self._parts[name] = part
        while sum(4 * each.audio.n_samples * each.audio.n_channels for each in self._parts.values()) > MOST_BYTES:
            self.drop(next(iter(self._parts)))

    def get(self, name: Hashable) -> Part | None:
        """The part, if it is there."""
        return self._parts.get(name)

    def drop(self, name: Hashable) -> None:
        """Let go of a part."""
        part = self._parts.pop(name, None)
        if part is not None:
            part.audio.close()

    def clear(self) -> None:
        """Let go of all."""
        for name in [*self._parts]:
            self.drop(name)
