"""What a run's CPU goes to, part by part: for ``run --profile``.

Code says which part it is in by ``with part("decode"):``. Parts may lie in one another; each is charged what its thread
computes in it and in none of those within. Nobody reads a clock unless somebody asked for the costs.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

T = TypeVar("T")

#: What parts are called that are not the stages of a job.
DECODE, RESAMPLE, ENCODE = "decode", "resample", "encode"
MEASURE_BEFORE, MEASURE_CHANGE, MEASURE_AFTER = "measure before", "measure change", "measure after"
SPEECH, LOUDNESS, TRANSFORM = "speech detection", "loudness and limiter", "transform of spectral stages"
CHILD, START = "rest of the child", "start of the child"
PIPE, STORE, WORKER, DASK, DRIVER = "pipe", "store", "rest of the worker", "Dask on the workers", "driver"


class Costs:
    """CPU seconds of one thread by part."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = {}
        self._within: list[str] = []
        self._since = time.thread_time()

    def taken(self) -> dict[str, float]:
        """The seconds since the last call, by part."""
        self._charge()
        spent, self._spent = self._spent, {}
        return spent

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Charge what the block computes to a part."""
        self._charge()
        self._within.append(name)
        try:
            yield
        finally:
            self._charge()
            self._within.pop()

    def _charge(self) -> None:
        now = time.thread_time()
        if self._within:
            name = self._within[-1]
            self._spent[name] = self._spent.get(name, 0.0) + now - self._since
        self._since = now


#: The costs that this process keeps, where somebody has asked for them: see `keep`.
_kept: list[Costs] = []
_NOTHING = nullcontext()


@contextmanager
def keep(costs: Costs | None) -> Iterator[None]:
    """Let `part` charge `costs` while the block runs, which one thread at a time may; None for nobody."""
    if costs is None:
        yield
        return
    _kept.append(costs)
    try:
        yield
    finally:
        _kept.remove(costs)


def part(name: str) -> AbstractContextManager[None]:
    """The block that follows belongs to a part.

    >>> costs = Costs()
    >>> with keep(costs), part("encode"), part("decode"):
    ...     pass
    >>> sorted(costs.taken())
    ['decode', 'encode']
    """
    return _kept[-1].part(name) if _kept else _NOTHING


def made_in(name: str, items: Iterable[T]) -> Iterable[T]:
    """The items, the making of each a part."""
    return _charged(name, iter(items)) if _kept else items


def _charged(name: str, items: Iterator[T]) -> Iterator[T]:
    while True:
        with part(name):
            try:
                item = next(items)
            except StopIteration:
                return
        yield item


def cost_shares(costs: Mapping[str, float]) -> list[dict[str, object]]:
    """Parts with their CPU seconds and their share of all, the dearest first; JSON-able.

    >>> cost_shares({"encode": 1.0, "decode": 3.0})[0]
    {'part': 'decode', 'cpu_s': 3.0, 'share': 0.75}
    """
    total = sum(costs.values()) or 1.0
    dearest = sorted(costs.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"part": name, "cpu_s": round(s, 3), "share": round(s / total, 4)} for name, s in dearest]


def cost_lines(costs: Mapping[str, float], seconds: float) -> list[str]:
    """The same as a table for people.

    Parameters
    ----------
    costs : CPU seconds by part
    seconds : of audio that they were spent on
    """
    total = sum(costs.values())
    speed = f", {seconds / total:.0f} x real time per core" if total > 0 and seconds > 0 else ""
    width = max([len(name) for name in costs], default=0)
    lines = [f"{total:.1f} s of CPU{speed}:"]
    for name, s in sorted(costs.items(), key=lambda pair: (-pair[1], pair[0])):
        lines.append(f"  {name:<{width}}  {s:9.2f} s  {100 * s / (total or 1.0):5.1f} %")
    return lines
