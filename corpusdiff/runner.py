"""Runners take shards and yield reports. The serial one is the reference; Dask's must equal it.

A consumer closes the iterator that it leaves early (``contextlib.closing``), so that what is in flight
is dropped at once.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Protocol, TypeAlias

from corpusdiff.errors import CorpusdiffError, Interrupted
from corpusdiff.shards import Progress, ShardReport, ShardTask

OnProgress: TypeAlias = Callable[[Progress], None]
ShardFunction: TypeAlias = Callable[[ShardTask, OnProgress], ShardReport]
Notify: TypeAlias = Callable[[str], None]
Reports: TypeAlias = Generator[ShardReport, None, None]

#: Default of every `notify`: a warning of this logger.
log_notice: Notify = logging.getLogger("corpusdiff").warning

#: So many shards lost for good end a run: the trouble is not in the shards.
MOST_LOST = 3


class ShardLost(CorpusdiffError):
    """Shards that could not be run for reasons outside them, though everything else was.

    Parameters
    ----------
    causes : what happened last, by shard
    tries : how often each was tried
    """

    def __init__(self, causes: Mapping[int, str], tries: int) -> None:
        what = "; ".join(f"shard {shard} ({cause})" for shard, cause in sorted(causes.items()))
        super().__init__(
            f"lost after {tries} tries: {what}. No track was charged with it. Look at the memory, the disks "
            "and the logs of the workers, then give the same command again: it runs what is missing"
        )
        self.shards = tuple(sorted(causes))


class StopFlag:
    """The user's wish to stop: the first request drains, the second aborts.

    >>> stop = StopFlag()
    >>> stop.request()
    >>> stop.draining, stop.aborting
    (True, False)
    """

    def __init__(self) -> None:
        self._requests = 0

    def request(self) -> None:
        """Ask once more."""
        self._requests += 1

    @property
    def draining(self) -> bool:
        """Finish what runs, start nothing."""
        return self._requests >= 1

    @property
    def aborting(self) -> bool:
        """Leave at once."""
        return self._requests >= 2

    @contextmanager
    def on_signals(self, *, drain: bool = True) -> Iterator[StopFlag]:
        """Let SIGINT and SIGTERM make the requests while the block runs; only the main thread hears of them.

        The first only sets the flag. From the second on, or from the first if there is nothing to `drain`,
        the block is left with `Interrupted`, wherever it is; the handler prints nothing, for it may have
        interrupted a print. Blocks may be nested.
        """

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.request()
            if self.aborting or not drain:
                raise KeyboardInterrupt

        heard = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        before = {number: signal.signal(number, handle) for number in heard}
        try:
            yield self
        except KeyboardInterrupt:
            raise Interrupted("stopped at once: give the same command again to go on") from None
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@dataclass(frozen=True)
class Retry:
    """How often a shard is tried when the trouble is not its own.

    Parameters
    ----------
    tries : together with other shards
    alone : then so many more, with nothing else in flight
    backoff_s : pause after the first I/O error, in seconds; doubles each time
    longest_s : longest such pause
    """

    tries: int = 5
    alone: int = 3
    backoff_s: float = 1.0
    longest_s: float = 60.0

    def pause_s(self, failures: int) -> float:
        """Pause after so many failures, in seconds.

        >>> [Retry().pause_s(n) for n in (1, 2, 3, 9)]
        [1.0, 2.0, 4.0, 60.0]
        """
        return float(min(self.longest_s, self.backoff_s * 2.0 ** (failures - 1)))


class Runner(Protocol):
    """What runs shards."""

    @property
    def dashboard(self) -> str | None:
        """Where to watch the workers in a browser."""
        ...

    def require(self, must_reach: tuple[str, ...]) -> None:
        """From now on workers must see these paths and URLs too. Raises UsageError where one does not."""
        ...

    def run(self, tasks: Iterable[ShardTask], on_progress: OnProgress, stop: StopFlag) -> Reports:
        """Run every task, and yield each one's report once, in the order in which they end.

        Neither tasks nor reports are kept. `on_progress` is called in the caller's thread. Raises ShardLost
        when everything else is done, StoreError and UsageError as soon as a shard raises one, Interrupted
        when `stop` was requested and something is left.
        """
        ...


class SerialRunner:
    """One shard after the other, here.

    Parameters
    ----------
    run_shard : what runs one shard
    retry : I/O errors are tried again `retry.tries + retry.alone` times in all
    notify : takes notices for the user
    """

    def __init__(self, run_shard: ShardFunction, *, retry: Retry | None = None, notify: Notify = log_notice) -> None:
        self._run_shard = run_shard
        self._retry = retry or Retry()
        self._tries = self._retry.tries + self._retry.alone
        self._notify = notify

    @property
    def dashboard(self) -> None:
        """There is none."""

    def require(self, must_reach: tuple[str, ...]) -> None:
        """It sees what the driver sees."""

    def run(self, tasks: Iterable[ShardTask], on_progress: OnProgress, stop: StopFlag) -> Reports:
        """See `Runner.run`."""
        left = iter(tasks)
        lost: dict[int, str] = {}
        for task in left:
            if stop.draining:
                raise interrupted(1 + sum(1 for _ in left))
            try:
                report = self._run_one(task, on_progress, stop)
            except OSError as error:
                lost[task.shard] = describe(error)
                if len(lost) == MOST_LOST:
                    break
            else:
                yield report
        if lost:
            raise ShardLost(lost, self._tries)

    def _run_one(self, task: ShardTask, on_progress: OnProgress, stop: StopFlag) -> ShardReport:
        for failures in range(1, self._tries):
            try:
                return self._run_shard(task, on_progress)
            except OSError as error:
                self._notify(f"shard {task.shard}: {describe(error)}; try {failures} of {self._tries}")
            if stop.draining:
                break
            time.sleep(self._retry.pause_s(failures))
        return self._run_shard(task, on_progress)


def describe(error: BaseException) -> str:
    """One line that names an error's type."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def interrupted(n_left: int) -> Interrupted:
    """The error of a run that was asked to stop with so many shards to go."""
    return Interrupted(f"stopped with {n_left} shards to go: give the same command again to go on")


def stop_when_most_fail(reports: Iterable[ShardReport], n_tracks: int, first: int = 500) -> Iterator[ShardReport]:
    """Pass reports on, and raise CorpusdiffError if most of the first tracks failed.

    Parameters
    ----------
    n_tracks : tracks that the run has; with no more than `first` it always goes to its end
    first : tracks after which to judge, once
    """
    seen: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    judged = n_tracks <= first
    for report in reports:
        yield report
        if judged:
            continue
        seen.update(all=report.n_ok + report.n_failed + report.n_filtered, failed=report.n_failed)
        reasons.update(report.reasons)
        examples |= {reason: f"{track}: {error}" for track, reason, error in report.examples}
        if seen["all"] >= first:
            judged = True
            if 2 * seen["failed"] > seen["all"]:
                why = "; ".join(
                    f"{reason} {n} (e.g. {examples.get(reason, 'none kept')})" for reason, n in reasons.most_common(3)
                )
                raise CorpusdiffError(
                    f"stopped: {seen['failed']} of the first {seen['all']} tracks failed: {why}. Try one of "
                    "them with --cluster none --limit 1; the same command goes on from here"
                )
