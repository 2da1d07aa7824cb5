"""Shards as Dask tasks: a bounded window, every loss noticed, every shard reported once."""

from __future__ import annotations

import queue
import time
import uuid
from collections.abc import Iterable
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any, Protocol

from distributed import Client, Future, KilledWorker

from corpusdiff.cluster.fitness import Fitness
from corpusdiff.cluster.flight import Attempt, Backlog
from corpusdiff.cluster.window import Workers
from corpusdiff.cluster.worker import PROGRESS_EVERY_S, TOPIC, RunPlugin, run_on_worker, start_draining
from corpusdiff.errors import CorpusdiffError, UsageError
from corpusdiff.runner import (
    Notify,
    OnProgress,
    Reports,
    Retry,
    ShardFunction,
    StopFlag,
    describe,
    interrupted,
    log_notice,
)
from corpusdiff.shards import Progress, ShardReport, ShardTask

#: What says nothing about the shard: its worker, the network or a disk failed.
INFRASTRUCTURE = (OSError, KilledWorker, CancelledError, MemoryError)

#: Longest wait for the next event, in seconds; so soon is a request to stop noticed.
_TICK_S = 0.1

#: How often a scheduler that went away is looked for again.
_RECONNECTIONS = 3


class Link(Protocol):
    """How to get a client, and another one when the scheduler was lost."""

    def open(self) -> Client:
        """A connected client; ends the one before. Raises CorpusdiffError."""
        ...


class DaskRunner:
    """Runs shards as tasks of a Dask cluster.

    Parameters
    ----------
    run_shard : what runs one shard; importable on the workers
    link : where the clients come from
    retry : how often a shard is tried when its worker, the network or a disk fails
    notify : takes notices for the user
    per_worker : shards in flight for each thread of the cluster
    drain_s : how long shards may go on running after the first request to stop, in seconds
    wait_workers_s : how long to go on without any worker, in seconds
    say_every_s : how often to say that there are none, in seconds
    progress_s : seconds between two progress events of one worker
    fitness : what every worker must have; None to take them as they are
    """

    def __init__(
        self,
        run_shard: ShardFunction,
        link: Link,
        *,
        retry: Retry | None = None,
        notify: Notify = log_notice,
        per_worker: int = 4,
        drain_s: float = 30.0,
        wait_workers_s: float = float("inf"),
        say_every_s: float = 60.0,
        progress_s: float = PROGRESS_EVERY_S,
        fitness: Fitness | None = None,
    ) -> None:
        self.run_shard = run_shard
        self.link = link
        self.fitness = fitness
        self.notify = notify
        self.client = self.connect()
        self.retry = retry or Retry()
        self.per_worker = per_worker
        self.drain_s = drain_s
        self.wait_workers_s = wait_workers_s
        self.say_every_s = say_every_s
        self.progress_s = progress_s
        self.n_in_flight = 0  # what a closing cluster need not wait for

    @property
    def dashboard(self) -> str | None:
        """The scheduler's."""
        link: str | None = self.client.dashboard_link
        return link

    def connect(self) -> Client:
        """A client, of workers that are fit as far as they are there. Raises CorpusdiffError."""
        client = self.link.open()
        if self.fitness is not None:
            self.fitness.check(client, self.notify)
        return client

    def require(self, must_reach: tuple[str, ...]) -> None:
        """See `Runner.require`."""
        if self.fitness is not None:
            self.fitness = replace(self.fitness, must_reach=(*self.fitness.must_reach, *must_reach))
            self.fitness.check(self.client, lambda _: None)  # what else there is to say was said

    def run(self, tasks: Iterable[ShardTask], on_progress: OnProgress, stop: StopFlag) -> Reports:
        """See `Runner.run`."""
        flight = _Flight(self, Backlog(tasks, self.retry), on_progress, stop)
        try:
            yield from flight.reports()
        finally:
            flight.drop()


class _Flight:
    """One run: what is in flight, and what comes back from it."""

    def __init__(self, runner: DaskRunner, backlog: Backlog, on_progress: OnProgress, stop: StopFlag) -> None:
        self._runner = runner
        self._backlog = backlog
        self._on_progress = on_progress
        self._stop = stop
        self._attempts: dict[str, Attempt] = {}
        self._futures: dict[str, Future[Any]] = {}
        self._events: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._workers = Workers(runner.per_worker, runner.wait_workers_s, runner.say_every_s, runner.notify)
        self._reconnections = 0
        self._name = f"corpusdiff-{uuid.uuid4().hex}"
        self._joined = False

    def reports(self) -> Reports:
        while not self._stop.draining:
            self._ensure_connected()
            if not self._joined:
                continue
            room = self._workers.window(self._runner.client) - len(self._attempts)
            self._submit(self._backlog.take(room, len(self._attempts)))
            if not self._attempts and self._backlog.empty:
                self._backlog.raise_lost()
                return
            yield from self._settle_next()
        yield from self._drain()

    def drop(self) -> None:
        """Forget what is in flight; workers that stay may go on with it, to no harm."""
        client = self._runner.client
        if self._joined and client.status == "running":
            client.cancel(list(self._futures.values()), reason="corpusdiff-stopped")
            client.unsubscribe_topic(TOPIC)
            if not self._stop.aborting:  # it waits for the workers' answers
                client.unregister_worker_plugin(self._name)
        self._attempts.clear()
        self._futures.clear()

    def _drain(self) -> Reports:
        """Let what runs end; workers hand back unrun what they would start from now on."""
        runner = self._runner
        if self._attempts and runner.client.status == "running":
            runner.notify(
                f"finishing the shards that run, for at most {runner.drain_s:.0f} s; a second time stops at once"
            )
            runner.client.run(start_draining, self._name, wait=False)
        until = time.monotonic() + runner.drain_s
        while self._attempts and not self._stop.aborting and time.monotonic() < until:
            yield from self._settle_next()
        n_left = len(self._attempts) + self._backlog.count_left()
        if n_left:
            raise interrupted(n_left)

    def _submit(self, attempts: list[Attempt]) -> None:
        """Send attempts in one batch, under new keys: so the scheduler queues them from the first on."""
        if not attempts:
            return
        runner = self._runner
        keys = [f"shard-{attempt.task.shard}-{uuid.uuid4().hex}" for attempt in attempts]
        n = len(keys)
        loop = runner.client.loop
        assert loop is not None  # of a client that has been connected
        futures = runner.client.map(
            run_on_worker,
            [runner.run_shard] * n,
            [attempt.task for attempt in attempts],
            keys,
            [self._name] * n,
            [runner.progress_s] * n,
            key=keys,
            pure=False,
        )
        for key, attempt, future in zip(keys, attempts, futures, strict=True):
            self._attempts[key] = attempt
            self._futures[key] = future
            loop.add_callback(self._await, key, future)
        runner.n_in_flight = len(self._attempts)

    async def _await(self, key: str, future: Future[Any]) -> None:
        """In the client's loop: whatever becomes of a future becomes an event."""
        try:
            outcome = await future
        except Exception as error:  # handed to the consumer's thread, which tells them apart
            outcome = error
        self._events.put((key, outcome))

    def _settle_next(self) -> Reports:
        """Wait a moment for events, and settle all that are there."""
        try:
            event = self._events.get(timeout=_TICK_S)
            while True:
                yield from self._settle(*event)
                event = self._events.get_nowait()
        except queue.Empty:
            return

    def _settle(self, key: str, outcome: Any) -> Reports:
        attempt = self._attempts.get(key)
        if attempt is None:
            return  # an attempt that was given up
        if isinstance(outcome, Progress):
            self._on_progress(outcome)
            return
        del self._attempts[key], self._futures[key]
        self._runner.n_in_flight = len(self._attempts)
        if isinstance(outcome, ShardReport):
            yield outcome
        elif outcome is None:
            self._backlog.put_back(attempt)
        elif getattr(outcome, "reason", None) == "scheduler-connection-lost":
            self._backlog.put_back(attempt)
            self._joined = False
        elif isinstance(outcome, INFRASTRUCTURE):
            self._runner.notify(self._backlog.put_failed(attempt, _cause(outcome), pause=isinstance(outcome, OSError)))
        elif isinstance(outcome, CorpusdiffError):
            raise outcome
        else:
            raise CorpusdiffError(
                f"shard {attempt.task.shard}: {describe(outcome)}. This is a bug of corpusdiff or of a "
                "plug-in, not of a track; --cluster none shows where"
            ) from outcome

    def _hear(self, event: tuple[float, list[Any]]) -> None:
        """In the client's loop: progress of a shard, of this run or of another driver's."""
        key, *counts = event[1]
        self._events.put((key, Progress(*counts)))

    def _ensure_connected(self) -> None:
        """Wait for a scheduler that is out of reach, and look for another when it is gone."""
        runner = self._runner
        while runner.client.status == "connecting" and not self._stop.draining:
            time.sleep(_TICK_S)
        if self._stop.draining:
            return
        if runner.client.status != "running":
            runner.notify("the scheduler went away: connecting again")
            runner.client = self._reopen()
            for attempt in self._attempts.values():
                self._backlog.put_back(attempt)
            self._attempts.clear()
            self._futures.clear()
            self._joined = False
        if not self._joined:
            try:
                self._join()
            except OSError:  # it went away meanwhile: the next look will find that
                time.sleep(_TICK_S)

    def _join(self) -> None:
        """Tell a scheduler and its workers of this run; one that was replaced knows nothing of it."""
        self._runner.client.register_plugin(RunPlugin(self._name, self._runner.fitness))
        self._runner.client.subscribe_topic(TOPIC, self._hear)
        self._joined = True

    def _reopen(self) -> Client:
        while self._reconnections < _RECONNECTIONS:
            self._reconnections += 1
            try:
                return self._runner.connect()
            except (UsageError, OSError) as error:
                self._runner.notify(str(error))
        raise CorpusdiffError(
            f"the scheduler went away, and looking for it {_RECONNECTIONS} times did not help: "
            "give the same command again to go on"
        )


def _cause(outcome: BaseException) -> str:
    """Why an attempt was lost, in a line. Dask's own message about a death is a paragraph."""
    return "its worker died" if isinstance(outcome, KilledWorker) else describe(outcome)
