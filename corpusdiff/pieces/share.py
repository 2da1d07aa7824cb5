"""What of a piece each meter counts: meters count in steps of their own, and a piece ends in the middle of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from corpusdiff.stages.base import Audio

#: A meter of `corpusdiff.dsp` or `corpusdiff.metrics`, with ``update`` and ``merge``.
M = TypeVar("M")


@dataclass(frozen=True)
class Stretch:
    """Consecutive samples of a track.

    Parameters
    ----------
    start : first sample
    stop : the one after the last; None for up to the track's end
    """

    start: int
    stop: int | None = None

    def on_grid(self, grid: int) -> Stretch:
        """What a meter counts that takes `grid` samples at a time: the steps that begin in the stretch.

        >>> Stretch(100, 200).on_grid(64), Stretch(200).on_grid(64)
        (Stretch(start=128, stop=256), Stretch(start=256, stop=None))
        """
        return Stretch(_up(self.start, grid), None if self.stop is None else _up(self.stop, grid))

    def of(self, x: Audio, at: int) -> Audio:
        """The part of a block that lies in the stretch; `at` is the place of the block's first sample.

        Parameters
        ----------
        x : (n_channels, n)
        at : samples of the track before it

        Returns
        -------
        (n_channels, 0 to n), a view
        """
        n = x.shape[1]
        stop = n if self.stop is None else min(max(self.stop - at, 0), n)
        return x[:, min(max(self.start - at, 0), stop) : stop]


def _up(place: int, grid: int) -> int:
    return -(-place // grid) * grid


class Shared(Generic[M]):
    """A meter that counts its own part of one piece.

    Parameters
    ----------
    meter : new, for the piece's place in the track
    piece : which samples of the track
    grid : samples that the meter takes at a time
    lead : samples before its part that the meter is primed with, 0 for one that is not
    """

    def __init__(self, meter: M, piece: Stretch, grid: int, lead: int = 0) -> None:
        self.meter = meter
        self._part = piece.on_grid(grid)
        self._before = Stretch(max(0, self._part.start - lead), self._part.start)
        self._n_heard = 0

    @property
    def needs(self) -> Stretch:
        """What of the track it has to hear."""
        return Stretch(self._before.start, self._part.stop)

    def update(self, at: int, *blocks: Audio) -> None:
        """Blocks (n_channels, n) float32, of which the meter's method takes so many; `at` is their place."""
        before = self._before.of(blocks[0], at)
        if before.shape[1]:
            _any(self.meter).prime(before)
        counted = [self._part.of(x, at) for x in blocks]
        if counted[0].shape[1]:
            _any(self.meter).update(*counted)
        self._n_heard += counted[0].shape[1]

    def merge(self, later: Shared[M]) -> None:
        """Go on with the findings of the piece that follows."""
        if later._n_heard:
            _any(self.meter).merge(later.meter)
            self._n_heard += later._n_heard


def _any(meter: Any) -> Any:
    """Meters differ in how many blocks they take, and few are primed."""
    return meter


def union(stretches: Iterable[Stretch]) -> Stretch:
    """The shortest stretch that holds all of them.

    >>> union([Stretch(3, 5), Stretch(4, 9)]), union([Stretch(3, 5), Stretch(4)])
    (Stretch(start=3, stop=9), Stretch(start=3, stop=None))
    """
    all_of_them = list(stretches)
    stops = [each.stop for each in all_of_them if each.stop is not None]
    return Stretch(min(each.start for each in all_of_them), max(stops) if len(stops) == len(all_of_them) else None)
