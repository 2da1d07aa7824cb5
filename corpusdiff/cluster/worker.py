"""What runs on a Dask worker: one shard at a time, in the worker's only thread.

A shard that is one long track makes room, and has its pieces run by whoever is there.
"""

from __future__ import annotations

import pickle
import sys
import time
import traceback
import uuid
from collections.abc import Generator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace

from distributed import KilledWorker, Worker, WorkerPlugin, as_completed, get_client, get_worker, secede

from corpusdiff.cluster.fitness import Fitness
from corpusdiff.runner import ShardFunction, describe
from corpusdiff.shards import Progress, ShardReport, ShardTask
from corpusdiff.spread import PieceReport, PieceTask, mapped_by

#: Topic of the events in which workers say how far their shards are.
TOPIC = "corpusdiff-progress"

#: Seconds between two such events of one worker.
PROGRESS_EVERY_S = 2.0

#: How long a worker that is not fit thinks about a shard before it gives it back, in seconds.
_UNFIT_PAUSE_S = 5.0


def run_on_worker(
    run_shard: ShardFunction, task: ShardTask, key: str, run: str, every_s: float
) -> ShardReport | Exception | None:
    """Run one shard, its progress told under the key of this attempt; None if the run is draining.

    An error is returned, not raised: Dask would print each one's traceback on the worker, keep it on the
    scheduler, and lose those that do not survive pickling. The runner raises or retries it.
    """
    worker = get_worker()
    plugin = worker.plugins.get(run)
    if isinstance(plugin, RunPlugin):
        if plugin.draining:
            return None
        if plugin.problem:
            time.sleep(_UNFIT_PAUSE_S)  # else it would take all shards from those that are fit
            return OSError(f"worker {worker.address} {plugin.problem}")
    try:
        with mapped_by(PiecesOnCluster(key)):
            return run_shard(task, _Teller(worker, key, every_s))
    except Exception as error:
        return _portable(error)


class PiecesOnCluster:
    """Runs pieces as tasks of the cluster that this thread's task is of.

    Parameters
    ----------
    key : of that task
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._seceded = False

    def __call__(self, tasks: Sequence[PieceTask]) -> Generator[tuple[int, PieceReport], None, None]:
        """See `corpusdiff.spread.MapPieces`. Raises OSError where workers die, StoreError."""
        if not self._seceded:
            secede()  # so that one of the pieces may run here
            self._seceded = True
        client = get_client()
        futures = [
            client.submit(
                run_piece_on_worker,
                task,
                key=f"piece-{self._key}-{uuid.uuid4().hex}",
                pure=False,
                priority=1,
                workers=[task.where] if task.where else None,
                allow_other_workers=bool(task.where),
            )
            for task in tasks
        ]
        places = {future.key: place for place, future in enumerate(futures)}
        try:
            for future in as_completed(futures):
                outcome = future.result()
                if isinstance(outcome, Exception):
                    raise outcome
                yield places[future.key], outcome
        except (KilledWorker, CancelledError) as error:
            raise OSError(f"a worker was lost over a piece: {describe(error)}") from None
        finally:
            client.cancel(futures, reason="corpusdiff-stopped")


def run_piece_on_worker(task: PieceTask) -> PieceReport | Exception:
    """One phase over one piece; an error is returned, as `run_on_worker` does."""
    from corpusdiff.onepiece import run_piece  # loads what decodes

    try:
        return replace(run_piece(task), where=get_worker().address)
    except Exception as error:
        return _portable(error)


async def start_draining(run: str, dask_worker: Worker) -> None:
    """Run in a worker's loop: let it start no further shard of a run. Async, for so nobody waits for it."""
    plugin = dask_worker.plugins.get(run)
    if isinstance(plugin, RunPlugin):
        plugin.draining = True


def _portable(error: Exception) -> Exception:
    """The error, or a RuntimeError that says the same when it cannot be pickled; with its traceback."""
    trace = "".join(traceback.format_exception(error))
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        travels = isinstance(pickle.loads(pickle.dumps(error)), type(error))
    except Exception:  # whatever a foreign __reduce__ raises
        travels = False
    if not travels:
        error = RuntimeError(describe(error))
    error.add_note(f"On the worker:\n{trace}")
    return error


class _Teller:
    """Progress as worker events, not more often than every `every_s` seconds."""

    def __init__(self, worker: Worker, key: str, every_s: float) -> None:
        self._worker = worker
        self._key = key
        self._every_s = every_s
        self._next = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every_s
            counts = [progress.shard, progress.done, progress.failed, progress.seconds]
            self._worker.log_event(TOPIC, [self._key, *counts])


class RunPlugin(WorkerPlugin):
    """What a worker knows of a run, and how it leaves it.

    Parameters
    ----------
    run : the run's name, its own among all drivers of the cluster
    fitness : what the worker must have; None to take it as it is
    """

    def __init__(self, run: str, fitness: Fitness | None) -> None:
        self.name = run
        self.draining = False
        self.problem: str | None = None
        self._fitness = fitness

    def setup(self, worker: Worker) -> None:
        """Called as the run begins, or on a worker that comes later: looks whether it can do the work."""
        if self._fitness is not None:
            self.problem, _ = self._fitness.inspect()

    def teardown(self, worker: Worker) -> None:
        """Called as the run or the worker ends: ends the child process of an idle worker.

        A busy worker's child is left alone: the shard would take its end for a crash, and charge a track
        with it. It ends with the worker.
        """
        isolate = sys.modules.get("corpusdiff.isolate")
        if isolate is not None and not worker.state.executing_count:
            isolate.close_children()
