"""Dask's settings on every scheduler that we start, and what it says."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Any

import dask

#: Dask's settings that exactly-once accounting and child processes need.
SETTINGS: dict[str, Any] = {
    # With one task per worker, a worker's death is blamed on that task alone.
    "distributed.scheduler.worker-saturation": 1.0,
    # Deadlocks (dask/distributed 8787, 7523), and a shard is only placed when a worker is free anyway.
    "distributed.scheduler.work-stealing": False,
    # A death is reported at once; the runner counts the tries.
    "distributed.scheduler.allowed-failures": 0,
    # A worker that stands still is noticed in two minutes rather than five.
    "distributed.scheduler.worker-ttl": "120s",
    # Daemonic processes may not have children, and every worker has one.
    "distributed.worker.daemon": False,
    # For each worker a scheduler keeps this many of the last messages to it, tasks among them: 1000, the default, are
    # gigabytes with 1000 workers.
    "distributed.admin.low-level-log-length": 20,
}

#: Of a scheduler in this process alone.
_HERE: dict[str, Any] = {
    # It serves its pages to this machine only.
    "distributed.dashboard.link": "http://127.0.0.1:{port}/status",
}

#: One thread for each library that would start its own: there is a worker per core.
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "BLIS", "NUMEXPR", "NUMBA")}

#: What Dask logs about a worker's death; the runner says it in one line, with the shard's number.
_TOLD_BY_US = ("marked as failed because", "Restarting worker", "be recomputed elsewhere", "Couldn't gather")


@contextmanager
def settings() -> Iterator[None]:
    """Dask's settings for the cluster's lifetime, and less of its logging."""
    import distributed  # noqa: F401  # now: what it adds to Dask's settings would go with ours at the end

    everything = logging.getLogger("distributed")
    level = everything.level
    talkative = [logging.getLogger(f"distributed.{part}") for part in ("scheduler", "nanny", "client")]
    with dask.config.set(SETTINGS | _HERE):
        everything.setLevel(logging.WARNING)  # Dask would chat about each connection that closes at the end
        for logger in talkative:
            logger.addFilter(_is_news)
        try:
            yield
        finally:
            for logger in talkative:
                logger.removeFilter(_is_news)
            everything.setLevel(level)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(phrase in str(record.msg) for phrase in _TOLD_BY_US)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Threads started in the block, and all processes that they start, are deaf to SIGINT and SIGTERM."""
    resource_tracker.ensure_running()  # it would unblock both in the thread that happens to start it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
