"""What shards and pieces of them are processed with: the plan, the tracks, the file for the streams, a second try."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TypeVar

from numpy._core._multiarray_umath import __cpu_dispatch__

from corpusdiff.errors import StoreError, TrackError
from corpusdiff.isolate import TRIES, ChildDied, Stalled
from corpusdiff.manifests.base import Track
from corpusdiff.manifests.reach import check_reach
from corpusdiff.plan import Plan
from corpusdiff.shards import ShardTask
from corpusdiff.store.generations import open_frozen, read_plan
from corpusdiff.store.objects import BLOCK_BYTES, open_objects

T = TypeVar("T")

#: The child's environment under ``--portable``: no instructions beyond the baseline.
PORTABLE = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__),
    "SOXR_USE_SIMD": "0",
}


def plan_of(task: ShardTask) -> Plan:
    """The plan of a shard. Raises StoreError where it is another by now."""
    plan = _read_plan(task.out, task.generation)
    if plan.digest != task.plan_digest:
        raise StoreError(f"{task.out}: generation {task.generation} was planned again: give the command again")
    return plan


@lru_cache(maxsize=4)
def _read_plan(out: str, generation: int) -> Plan:
    return read_plan(open_objects(out, write=False), generation)


def tracks_of(task: ShardTask, plan: Plan) -> list[Track]:
    """The tracks of a shard."""
    pieces = plan.shard(task.shard).pieces
    with open_frozen(open_objects(task.out, write=False), plan) as manifest:
        return manifest.rows(pieces[0].track, pieces[-1].track + 1)


class StreamsFile:
    """The unnamed file in which a shard's encoded streams wait for the commit."""

    def __init__(self, folder: str | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by `__exit__`
        self.path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        self.end = 0

    def append(self, parts: Iterator[bytes]) -> int:
        """Add to the end; where that was."""
        start = self.end
        for data in parts:
            rest = memoryview(data)
            while rest:
                n = os.pwrite(self._file.fileno(), rest, self.end)
                rest, self.end = rest[n:], self.end + n
        return start

    def read(self) -> Iterator[bytes]:
        """What is there, in blocks."""
        for start in range(0, self.end, BLOCK_BYTES):
            yield os.pread(self._file.fileno(), min(BLOCK_BYTES, self.end - start), start)

    def __enter__(self) -> StreamsFile:
        return self

    def __exit__(self, *reason: object) -> None:
        self._file.close()


def tried(ask: Callable[[], T], track: Track, root: str) -> T:
    """An answer about a track; a crash, a stall and a missing file are tried twice. Raises TrackError."""
    for attempt in range(TRIES):
        last = attempt == TRIES - 1
        try:
            return ask()
        except TrackError as error:
            if error.reason != "missing":
                raise
            check_reach(track, root)
            if last:  # else its disk may have come back since
                raise
        except ChildDied as death:
            if last:
                raise TrackError("crash", f"its decoder or a stage crashed: {death.how}, {TRIES} times") from death
        except Stalled as stall:
            if last:
                raise TrackError("stalled", f"{stall}, {TRIES} times") from stall
    raise AssertionError("not reached")
