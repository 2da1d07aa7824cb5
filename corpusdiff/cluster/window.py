"""How many shards to have in flight, and what to do about a cluster without workers."""

from __future__ import annotations

import time

from distributed import Client

from corpusdiff.errors import CorpusdiffError
from corpusdiff.runner import Notify

#: Seconds between two looks at the workers.
_LOOK_EVERY_S = 2.0


class Workers:
    """The threads that a cluster has, looked at now and then: it may grow, shrink or be empty.

    Parameters
    ----------
    per_worker : shards in flight for each thread
    wait_s : how long to go on without any worker, in seconds
    say_every_s : how often to say that there are none, in seconds
    notify : takes notices for the user
    """

    def __init__(self, per_worker: int, wait_s: float, say_every_s: float, notify: Notify) -> None:
        self._per_worker = per_worker
        self._wait_s = wait_s
        self._say_every_s = say_every_s
        self._notify = notify
        self._n_threads = 1
        self._next_look = 0.0
        self._seen = self._said = time.monotonic()

    def window(self, client: Client) -> int:
        """Shards to have in flight. Raises CorpusdiffError when there were no workers for too long."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_S
            self._look(client, now)
        return self._n_threads * self._per_worker

    def _look(self, client: Client, now: float) -> None:
        n_threads = _count_threads(client)
        if n_threads:
            self._n_threads = n_threads
            self._seen = self._said = now
            return
        if now - self._seen >= self._wait_s:
            raise CorpusdiffError(
                f"no workers for {now - self._seen:.0f} s: start some, then give the same command again"
            )
        if now - self._said >= self._say_every_s:
            self._said = now
            self._notify(f"no workers for {now - self._seen:.0f} s: waiting for some to connect")


def _count_threads(client: Client) -> int:
    """Threads of all workers; 0 when the scheduler does not answer."""
    try:
        return sum(client.nthreads().values())
    except OSError:
        return 0
