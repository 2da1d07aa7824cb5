"""A Dask cluster of this machine's cores, with its scheduler in this process."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
import time

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster, Status

from corpusdiff.cluster.settings import ONE_THREAD, signals_blocked
from corpusdiff.errors import CorpusdiffError
from corpusdiff.runner import Notify

#: Longest wait for a worker that is starting when the cluster ends, in seconds.
_START_S = 5.0

#: How often the start of the workers is tried.
_STARTS = 3


class OwnCluster:
    """Clients of a cluster of worker processes with one thread each, which ends with the last of them.

    Parameters
    ----------
    workers : number of processes; None for one per core
    spool : folder for their temporary files; None for the system's own
    notify : takes notices for the user
    """

    #: Dead workers are started again: without any for so long, they cannot be.
    wait_workers_s = 300.0

    def __init__(self, workers: int | None, spool: str | None, notify: Notify) -> None:
        self._n_workers = workers or CPU_COUNT
        self._notify = notify
        self._folder = tempfile.mkdtemp(prefix="corpusdiff-dask-", dir=spool)
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None

    def open(self) -> Client:
        """A client of a new cluster; the one before is ended."""
        self._end(kill=True)
        # The loop's thread starts the workers, and they inherit what it blocks: the terminal's Ctrl-C goes
        # to every process in the foreground, and a batch system's SIGTERM too, but the driver alone decides.
        # Folders of the workers, and of the scheduler too.
        with signals_blocked(), dask.config.set({"temporary-directory": self._folder}):
            self._cluster = self._started()
            self._client = Client(self._cluster, set_as_default=False)
        self._notify(f"{self._n_workers} workers on this machine, dashboard at {self._cluster.dashboard_link}")
        return self._client

    def _started(self) -> LocalCluster:
        """A new cluster with all its workers. One that dies while it starts takes the others with it."""
        for tries_left in reversed(range(_STARTS)):
            try:
                return LocalCluster(
                    n_workers=self._n_workers,
                    threads_per_worker=1,
                    processes=True,
                    # None would still serve pages, at port 8787; ":0" would do so on every interface.
                    dashboard_address="127.0.0.1:0",
                    memory_limit=0,  # nothing to spill, and a paused worker would look like a hang
                    # An idle worker complains of the scheduler that goes before it at the end. What goes wrong in
                    # a shard comes back as its result.
                    silence_logs=logging.CRITICAL,
                    env=ONE_THREAD,
                )
            except (RuntimeError, OSError) as error:
                if not tries_left:
                    raise CorpusdiffError(
                        f"the workers did not start, {_STARTS} times: {error.__cause__ or error}. Look at the memory "
                        "and the limits of this machine, try fewer --workers, or --cluster none"
                    ) from error
                self._notify("a worker died as it started: starting the workers again")
        raise AssertionError("not reached")

    def close(self, *, kill: bool) -> None:
        """End the workers; with `kill` at once, whatever they do."""
        self._end(kill=kill)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self, *, kill: bool) -> None:
        if self._cluster is not None:
            _await_starts(self._cluster)
            if kill:
                _kill_workers(self._cluster)
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()
        self._client = self._cluster = None


def _await_starts(cluster: LocalCluster) -> None:
    """Let workers that are just starting do so: at the cluster's end they would leave tracebacks."""
    until = time.monotonic() + _START_S
    while time.monotonic() < until and not _all_up(cluster):
        time.sleep(0.02)


def _all_up(cluster: LocalCluster) -> bool:
    """Both know of each worker: the scheduler hears of a death first, the nanny of a start."""
    started = [
        nanny.process is not None and nanny.process.status == Status.running for nanny in cluster.workers.values()
    ]
    return all(started) and len(cluster.scheduler_info["workers"]) >= len(started)


def _kill_workers(cluster: LocalCluster) -> None:
    """End workers that are busy. Their nannies would wait for them."""
    for nanny in cluster.workers.values():
        nanny.close_gracefully()  # so that it starts no other
        if nanny.pid:
            os.kill(nanny.pid, signal.SIGKILL)
