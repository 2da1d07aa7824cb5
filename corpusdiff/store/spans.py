"""Ranges of an object that lie close together, as fewer and longer ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """One request.

    Parameters
    ----------
    start, stop : in bytes
    members : numbers of the ranges that lie in it
    """

    start: int
    stop: int
    members: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self.stop - self.start


def spans(ranges: Sequence[tuple[int, int]], gap: int) -> list[Span]:
    """Ranges ``(offset, size)``, in any order, joined where at most `gap` bytes lie between two.

    >>> spans([(0, 10), (50, 5), (10, 20)], gap=0)
    [Span(start=0, stop=30, members=(0, 2)), Span(start=50, stop=55, members=(1,))]
    """
    joined: list[Span] = []
    for number in sorted(range(len(ranges)), key=ranges.__getitem__):
        start, size = ranges[number]
        if joined and start <= joined[-1].stop + gap:
            last = joined[-1]
            joined[-1] = Span(last.start, max(last.stop, start + size), (*last.members, number))
        else:
            joined.append(Span(start, start + size, (number,)))
    return joined
