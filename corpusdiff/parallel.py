"""Work in processes of this machine, for what is left to do when the cluster has gone."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: Fewer tasks than this for each process are done sooner than processes start.
WORTH_A_PROCESS = 4

_PR_SET_PDEATHSIG = 1


def in_processes(work: Callable[[T], R], tasks: Sequence[T], n_processes: int) -> Iterator[R]:
    """Results of `work` in the order of `tasks`; in this process where there are few tasks.

    `work` and the tasks are pickled. What a task raises ends the work, as does closing the iterator.
    """
    n = min(n_processes, len(tasks) // WORTH_A_PROCESS)
    if n < 2:
        yield from map(work, tasks)
        return
    pool = ProcessPoolExecutor(n, get_context("spawn"), initializer=_begin)
    try:
        yield from pool.map(work, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In a process of ours: leave the terminal's signals to the one that started it, and go with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
