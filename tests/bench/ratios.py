"""What must hold, as ratios within one session, and what holds today."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.measure import Results

#: The short form runs small loads on a busy machine: it may not fail there, and a regression should.
LOOSER = 1.5

DENOISED = "A: corpusdiff, denoised"
FLOOR = "A: floor"

MB = 1e6


@dataclass(frozen=True)
class Bound:
    """One figure and its limit.

    Parameters
    ----------
    name : what is bounded
    figure : of a session; None where a side of it could not run
    limit : what must hold
    today : what was measured when it did not hold; None where it does
    at_least : whether the limit is the least, and not the most
    short : whether the short form measures it
    wall : whether it is of wall time, which says nothing on a busy machine
    """

    name: str
    figure: Callable[[Results], float | None]
    limit: float
    today: float | None = None
    at_least: bool = False
    short: bool = False
    wall: bool = False

    def holds(self, figure: float) -> bool:
        """Whether it does."""
        return figure >= self.limit if self.at_least else figure <= self.limit

    def short_limit(self) -> float:
        """What the short form asks for: LOOSER than what must hold, or than what holds today where that is less."""
        if self.at_least:
            return min(self.limit, self.limit if self.today is None else self.today) / LOOSER
        return max(self.limit, self.limit if self.today is None else self.today) * LOOSER


def _cpu(over: str, under: str) -> Callable[[Results], float | None]:
    return lambda found: found.cpu_ratio(over, under)


def _figure(name: str) -> Callable[[Results], float | None]:
    return lambda found: found.figures.get(name)


def _marginal(found: Results) -> float | None:
    return found.marginal_ratio("B: corpusdiff, converted", "B: floor")


def _speed_up(found: Results) -> float | None:
    floor, ours = (found.figures.get(f"speed-up of 4: {name}") for name in ("floor", "corpusdiff"))
    return None if floor is None or ours is None else ours / floor


def _peak_mb(found: Results) -> float | None:
    peaks = [result.cost.peak_bytes for result in found.sides.values() if result.side.ours]
    return max(peaks) / MB if peaks else None


_C = "C: corpusdiff, denoised"

BOUNDS = (
    Bound("A, denoised: CPU over the floor's", _cpu(DENOISED, FLOOR), 2.5, short=True),
    Bound(
        "A: sox with noisered, CPU over ours",
        _cpu("A: sox noisered", DENOISED),
        2.5,
        at_least=True,
        today=1.7,
        short=True,
    ),
    Bound(
        "A: ffmpeg's full chain, CPU over ours",
        _cpu("A: ffmpeg full", DENOISED),
        12.0,
        at_least=True,
        today=8.9,
        short=True,
    ),
    Bound(
        "A: the same without loudnorm",
        _cpu("A: ffmpeg no loudnorm", DENOISED),
        4.0,
        at_least=True,
        today=3.9,
        short=True,
    ),
    Bound(
        "A: the Python script, CPU over ours",
        _cpu("A: Python script", DENOISED),
        8.0,
        at_least=True,
        today=2.6,
        short=True,
    ),
    Bound(
        "C: ffmpeg's full chain, CPU over ours", _cpu("C: ffmpeg full", _C), 6.0, at_least=True, today=5.4, short=True
    ),
    Bound("C: the same without loudnorm", _cpu("C: ffmpeg no loudnorm", _C), 1.1, at_least=True, today=1.0, short=True),
    Bound(
        "job `codec`: CPU over libopus alone",
        _cpu("A16: corpusdiff, codec", "A16: libopus alone, 5"),
        1.3,
        today=1.7,
        short=True,
    ),
    # a tenth of B takes the pool a fifth of a second: too little to be measured apart from its start
    Bound("B, converted: CPU over the bare pool's, starting apart", _marginal, 2.0, today=3.2),
    Bound("start of `run` to the first committed shard, s", _figure("first shard, s"), 5.0, wall=True),
    Bound("speed-up by 4 workers, of the floor pool's own", _speed_up, 0.95, at_least=True, wall=True),
    Bound(
        "10 hours in pieces: time on 4 workers over one",
        _figure("10 hours on 4 workers over one"),
        0.3,
        today=0.46,
        wall=True,
    ),
    Bound("peak memory of a process on A to D, MB", _peak_mb, 350.0, short=True),
    Bound("10 million rows with durations: planned, s", _figure("planned, s"), 60.0, wall=True),
    Bound("10 million rows with durations: peak, MB", _figure("planned, MB"), 2000.0),
)
