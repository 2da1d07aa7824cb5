"""One shard: its tracks through the child, its streams and rows into the store."""

from __future__ import annotations

import os
import platform
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from numpy._core._multiarray_umath import __cpu_dispatch__

from corpusdiff.costs import DASK, PIPE, STORE, WORKER, Costs, keep, part
from corpusdiff.errors import StoreError, TrackError
from corpusdiff.fetch import Copies, Fetcher
from corpusdiff.isolate import TRIES, Child, ChildDied, Stalled, own_child
from corpusdiff.manifests.base import Track, with_file_state
from corpusdiff.manifests.clock import Clock
from corpusdiff.manifests.reach import check_reach
from corpusdiff.plan import Plan
from corpusdiff.shards import Progress, ShardReport, ShardTask
from corpusdiff.store.commit import CommitReport, commit_shard, is_committed
from corpusdiff.store.generations import open_frozen, read_plan, read_record
from corpusdiff.store.objects import open_objects

#: The child's environment under ``--portable``: no instructions beyond the baseline.
PORTABLE = {
    "NUMBA_CPU_NAME": "generic",
    "NUMBA_CPU_FEATURES": "",
    "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__),
    "SOXR_USE_SIMD": "0",
}


def run_shard(task: ShardTask, on_progress: Callable[[Progress], None]) -> ShardReport:
    """Process and commit one shard, or find it committed.

    Raises StoreError or OSError for trouble that no track is to blame for.
    """
    if not task.options.profile:
        return _run_shard(task, on_progress)
    costs, process_s = Costs(), time.process_time()
    with keep(costs), part(WORKER):
        report = _run_shard(task, on_progress)
    spent = costs.taken()
    if threading.current_thread() is not threading.main_thread():  # the others are Dask's
        spent[DASK] = max(0.0, time.process_time() - process_s - sum(spent.values()))
    return replace(report, costs={**report.costs, **spent})


def _run_shard(task: ShardTask, on_progress: Callable[[Progress], None]) -> ShardReport:
    started = time.monotonic()
    objects = open_objects(task.out, write=False)
    plan = _plan(task)
    outcome = _Outcome(task, Clock.of_job(plan.job), on_progress)
    if is_committed(objects, plan, task.shard):
        record = read_record(objects, plan, task.shard)
        outcome.rows = list(record.rows)
        settled = CommitReport(record.row // plan.n_shards, duplicate=True, differing=False, header=record.header())
        return outcome.report(settled, time.monotonic() - started)
    with _StreamsFile(task.options.spool) as streams:
        child = own_child(task.options, PORTABLE if plan.portable else {})
        child.configure(plan.job, plan.root, plan.chunk, streams.path)
        tracks = _tracks(task, plan)
        with Fetcher(tracks, plan.root, plan.job["source"]["reference_field"], task.options.spool) as fetcher:
            for track in tracks:
                outcome.add(track, *_fetched_and_processed(track, fetcher, child, plan.root, streams, outcome))
        run = {"host": platform.node(), "cpu_s": outcome.cpu_s, "wall_s": time.monotonic() - started}
        with part(STORE):
            committed = commit_shard(objects, plan, task.shard, outcome.rows, streams.path, run)
        outcome.costs = dict(child.taken_costs())
    return outcome.report(committed, time.monotonic() - started)


def _plan(task: ShardTask) -> Plan:
    plan = _read_plan(task.out, task.generation)
    if plan.digest != task.plan_digest:
        raise StoreError(f"{task.out}: generation {task.generation} was planned again: give the command again")
    return plan


@lru_cache(maxsize=4)
def _read_plan(out: str, generation: int) -> Plan:
    return read_plan(open_objects(out, write=False), generation)


def _tracks(task: ShardTask, plan: Plan) -> list[Track]:
    pieces = plan.shard(task.shard).pieces
    with open_frozen(open_objects(task.out, write=False), plan) as manifest:
        return manifest.rows(pieces[0].track, pieces[-1].track + 1)


class _StreamsFile:
    """The unnamed file in which a shard's encoded streams wait for the commit."""

    def __init__(self, folder: str | None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by `__exit__`
        self.path = f"/proc/{os.getpid()}/fd/{self._file.fileno()}"
        self.end = 0

    def __enter__(self) -> _StreamsFile:
        return self

    def __exit__(self, *reason: object) -> None:
        self._file.close()


def _fetched_and_processed(
    track: Track, fetcher: Fetcher, child: Child, root: str, streams: _StreamsFile, outcome: _Outcome
) -> tuple[list[dict[str, Any]], float]:
    """Rows of one track and the CPU seconds they took, after its files have come from where they are."""
    try:
        with fetcher.copies(lambda: outcome.on_decoded(0.0)) as copies:
            now = with_file_state(track, root)
            if copies.changed or (now.size, now.version) != (track.size, track.version):
                outcome.changed.append(track.id)
            return _attempt(child, track, root, copies, streams, outcome.on_decoded)
    except TrackError as error:
        return [_failed(track, error.reason, str(error))], 0.0


def _attempt(
    child: Child,
    track: Track,
    root: str,
    copies: Copies,
    streams: _StreamsFile,
    on_decoded: Callable[[float], None],
) -> tuple[list[dict[str, Any]], float]:
    """Rows of one track and the CPU seconds they took; a crash, a stall and a missing file are tried twice."""
    for attempt in range(TRIES):
        last = attempt == TRIES - 1
        try:
            with part(PIPE):
                answer = child.track(track, streams.end, on_decoded, copies.files)
        except TrackError as error:
            if error.reason == "missing":
                check_reach(track, root)
                if not last:
                    continue  # its disk may have come back since
            return [_failed(track, error.reason, str(error))], 0.0
        except ChildDied as death:
            if last:
                return [_failed(track, "crash", f"its decoder or a stage crashed: {death.how}, {TRIES} times")], 0.0
        except Stalled as stall:
            if last:
                return [_failed(track, "stalled", f"{stall}, {TRIES} times")], 0.0
        else:
            streams.end = answer.end
            return answer.rows, answer.cpu_s
    raise AssertionError("not reached")


def _failed(track: Track, reason: str, error: str) -> dict[str, Any]:
    return {
        "id": track.id,
        "parent": None,
        "status": "failed",
        "error": error,
        "reason": reason,
        "rule": "",
        "sr": track.header_sr or 0,
        "n_channels": track.header_channels or 0,
        "n_samples": 0,
        "start_s": track.offset_s,
        "metrics": {},
        "texts": {},
        "outputs": [],
    }


class _Outcome:
    """Rows of a shard as they come, and the counts that go to the driver."""

    def __init__(self, task: ShardTask, clock: Clock, on_progress: Callable[[Progress], None]) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.cpu_s = 0.0
        self.changed: list[str] = []
        self.costs: dict[str, float] = {}
        self._shard = task.shard
        self._clock = clock
        self._on_progress = on_progress
        self._done = 0
        self._failed = 0
        self._seconds = 0.0

    def add(self, track: Track, rows: list[dict[str, Any]], cpu_s: float) -> None:
        """One track has its outcome."""
        for row, fields in zip(rows, self._clock.fields(track, rows), strict=True):
            self.rows.append({**row, "path": track.path, "fields": fields})
        self.cpu_s += cpu_s
        self._done += 1
        self._failed += sum(row["status"] == "failed" for row in rows)
        self._seconds += sum(row["metrics"].get("duration_s", 0.0) for row in rows)
        self.on_decoded(0.0)

    def on_decoded(self, seconds: float) -> None:
        """So many seconds of the present track are decoded."""
        self._on_progress(Progress(self._shard, self._done, self._failed, self._seconds + seconds))

    def report(self, committed: CommitReport, wall_s: float) -> ShardReport:
        """What the driver gets."""
        statuses = Counter(row["status"] for row in self.rows)
        failures = [(row["id"], row["reason"], row["error"]) for row in self.rows if row["status"] == "failed"]
        return ShardReport(
            shard=self._shard,
            n_ok=statuses["ok"],
            n_failed=statuses["failed"],
            n_filtered=statuses["filtered"],
            seconds=self._seconds,
            reasons=dict(Counter(reason for _, reason, _ in failures)),
            examples=tuple(_varied(failures, 5)),
            cpu_s=self.cpu_s,
            wall_s=wall_s,
            attempt=committed.attempt,
            duplicate=committed.duplicate,
            differing=committed.differing,
            n_changed=len(self.changed),
            changed=tuple(self.changed[:5]),
            costs=self.costs,
        )


def _varied(failures: list[tuple[str, str, str]], n: int) -> list[tuple[str, str, str]]:
    """At most n failures, one of each reason before a second of any."""
    seen: Counter[str] = Counter()
    ranked = []
    for failure in failures:
        ranked.append((seen[failure[1]], failure))
        seen[failure[1]] += 1
    return [failure for _, failure in sorted(ranked, key=lambda pair: pair[0])[:n]]
