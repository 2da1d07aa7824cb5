"""What of a piece each meter counts: meters count in steps of their own, and a piece ends in the middle of them."""

from __future__ import annotations

from dataclasses import dataclass

from corpusdiff.stages.base import Audio


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
