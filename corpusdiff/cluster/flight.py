"""Which shard to try next: those that failed, then new ones, and at the end the suspects one at a time.

Pure bookkeeping, without Dask and without clocks other than the one given.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from corpusdiff.runner import MOST_LOST, Retry, ShardLost
from corpusdiff.shards import ShardTask


@dataclass(frozen=True)
class Attempt:
    """A shard to try.

    Parameters
    ----------
    task : the shard
    failures : attempts that were lost before
    not_before : time before which not to try, in seconds of the backlog's clock
    """

    task: ShardTask
    failures: int = 0
    not_before: float = 0.0


class Backlog:
    """Shards that are not in flight. Holds those that failed; the new ones come from the iterator.

    Parameters
    ----------
    tasks : the new ones
    retry : how often to try
    clock : seconds
    """

    def __init__(self, tasks: Iterable[ShardTask], retry: Retry, clock: Callable[[], float] = time.monotonic) -> None:
        self._tasks: Iterator[ShardTask] = iter(tasks)
        self._retry = retry
        self._clock = clock
        self._again: deque[Attempt] = deque()
        self._suspects: deque[Attempt] = deque()
        self._lost: dict[int, str] = {}
        self._exhausted = False

    @property
    def empty(self) -> bool:
        """Nothing is left to try. True only once `take` has found the iterator at its end."""
        return self._exhausted and not self._again and not self._suspects

    def take(self, n: int, n_in_flight: int) -> list[Attempt]:
        """At most `n` attempts to start now, given how many are in flight."""
        taken: list[Attempt] = []
        while len(taken) < n and (attempt := self._next()) is not None:
            taken.append(attempt)
        alone = not taken and not n_in_flight and self._exhausted and not self._again
        if alone and self._suspects and self._suspects[0].not_before <= self._clock():
            taken.append(self._suspects.popleft())
        return taken

    def put_back(self, attempt: Attempt) -> None:
        """An attempt that never ran, or whose end nobody could hear."""
        self._again.append(Attempt(attempt.task, attempt.failures))

    def put_failed(self, attempt: Attempt, cause: str, *, pause: bool) -> str:
        """An attempt that was lost. Returns a line for the user.

        Raises ShardLost when too many shards are lost for good.
        """
        failures = attempt.failures + 1
        shard, tries = attempt.task.shard, self._retry.tries + self._retry.alone
        if failures >= tries:
            self._lost[shard] = cause
            if len(self._lost) >= MOST_LOST:
                self.raise_lost()
            return f"shard {shard}: {cause}; given up after {failures} tries"
        not_before = self._clock() + self._retry.pause_s(failures) if pause else 0.0
        again = Attempt(attempt.task, failures, not_before)
        if failures >= self._retry.tries:
            self._suspects.append(again)
            return f"shard {shard}: {cause}; after {failures} tries it will run alone, when the others are done"
        self._again.append(again)
        return f"shard {shard}: {cause}; try {failures} of {tries}"

    def raise_lost(self) -> None:
        """Raise ShardLost if any shard was given up."""
        if self._lost:
            raise ShardLost(self._lost, self._retry.tries + self._retry.alone)

    def count_left(self) -> int:
        """Take everything away, and say how much it was, the shards given up included."""
        left = len(self._again) + len(self._suspects) + len(self._lost) + sum(1 for _ in self._tasks)
        self._again.clear()
        self._suspects.clear()
        self._exhausted = True
        return left

    def _next(self) -> Attempt | None:
        """One that failed and whose pause is over, else a new one."""
        now = self._clock()
        for _ in range(len(self._again)):
            if self._again[0].not_before <= now:
                return self._again.popleft()
            self._again.rotate(-1)
        task = next(self._tasks, None)
        if task is None:
            self._exhausted = True
            return None
        return Attempt(task)
