"""Shard functions for tests of the runners; workers import them by name.

What they should do is told by files in the folder ``task.out``, where they also note every start and end.
"""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path

from corpusdiff.errors import StoreError
from corpusdiff.shards import Progress, ShardReport


def report(task, **changes):
    """The report that every fake makes of a shard."""
    shown = {
        "shard": task.shard,
        "n_ok": 9,
        "n_failed": 1,
        "n_filtered": 0,
        "seconds": 10.0 + task.shard,
        "reasons": {"decode": 1},
        "examples": ((f"{task.shard}/a.wav", "decode", "bad header"),),
        "cpu_s": 0.0,
        "wall_s": 0.0,
        "attempt": 0,
        "duplicate": False,
        "differing": False,
    }
    return ShardReport(**{**shown, **changes})


def note(task, what):
    """Leave a mark ``<what>-<shard>-<pid>-<random>`` in the folder."""
    (Path(task.out) / f"{what}-{task.shard}-{os.getpid()}-{uuid.uuid4().hex[:8]}").touch()


def marks(folder, what, shard="*"):
    """The marks of a kind."""
    return sorted(Path(folder).glob(f"{what}-{shard}-*"))


def collect(run, into, after=0, then=None):
    """Take reports one by one, so that those before an error are kept; call `then` when so many are there."""
    for shown in run:
        into.append(shown)
        if len(into) == after:
            then()


def quick(task, on_progress):
    """Do nothing, well."""
    on_progress(Progress(task.shard, 5, 0, 5.0))
    return report(task)


def slow(task, on_progress):
    """Half a second of work."""
    note(task, "start")
    for step in range(10):
        on_progress(Progress(task.shard, step, 0, float(step)))
        time.sleep(0.05)
    note(task, "end")
    return report(task)


def very_slow(task, on_progress):
    """Longer than any test waits."""
    note(task, "start")
    time.sleep(120)
    return report(task)


def kills_worker(task, on_progress):
    """Shard 3 kills its worker, always."""
    note(task, "start")
    if task.shard == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return report(task)


def oserror_once(task, on_progress):
    """Every third shard fails with OSError the first time."""
    if task.shard % 3 == 0 and not marks(task.out, "seen", task.shard):
        note(task, "seen")
        raise OSError(5, "Input/output error")
    return report(task)


def oserror_always(task, on_progress):
    """Shard 2 never gets its data."""
    if task.shard == 2:
        raise OSError(116, "Stale file handle")
    return report(task)


def store_error(task, on_progress):
    """Shard 5 finds the disk full."""
    if task.shard == 5:
        raise StoreError("disk full: make room and run again")
    return report(task)


def bug(task, on_progress):
    """Shard 1 meets a bug."""
    if task.shard == 1:
        raise KeyError("oops")
    return report(task)


def environment(task, on_progress):
    """Say in the examples what the worker's environment is."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return report(
        task,
        examples=(
            ("OMP_NUM_THREADS", os.environ["OMP_NUM_THREADS"], ""),
            ("blocked", str(signal.SIGINT in blocked and signal.SIGTERM in blocked), ""),
            ("folder", str(Path.cwd()), ""),
        ),
    )


class UnpicklableError(Exception):
    """An error that does not survive the way to the driver."""

    def __init__(self, what, how):
        super().__init__(f"{what} {how}")


def unpicklable_bug(task, on_progress):
    """Shard 1 meets a bug with such an error."""
    if task.shard == 1:
        raise UnpicklableError("no", "way")
    return report(task)
