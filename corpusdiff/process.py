"""One shard: its tracks through the child, its streams and rows into the store."""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from corpusdiff.costs import DASK, PIPE, STORE, WORKER, Costs, keep, part
from corpusdiff.errors import TrackError
from corpusdiff.fetch import Copies, Fetcher
from corpusdiff.isolate import Answer, Child, own_child
from corpusdiff.manifests.base import Track, with_file_state
from corpusdiff.manifests.clock import Clock
from corpusdiff.manifests.frozen_rows import Rows
from corpusdiff.onepiece import one_by_one
from corpusdiff.plan import Plan
from corpusdiff.shards import Progress, ShardReport, ShardTask
from corpusdiff.shardwork import PORTABLE, StreamsFile, plan_of, tracks_of, tried
from corpusdiff.spread import Spread
from corpusdiff.store.commit import CommitReport, commit_shard, is_committed
from corpusdiff.store.generations import read_record
from corpusdiff.store.objects import Objects, is_url, open_objects


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
    plan = plan_of(task)
    outcome = _Outcome(task, Clock.of_job(plan.job), on_progress)
    if is_committed(objects, plan, task.shard):
        record = read_record(objects, plan, task.shard)
        outcome.rows = list(record.rows)
        settled = CommitReport(record.row // plan.n_shards, duplicate=True, differing=False, header=record.header())
        return outcome.report(settled, time.monotonic() - started)
    with StreamsFile(task.options.spool) as streams:
        child = own_child(task.options, PORTABLE if plan.portable else {})
        child.configure(plan.job, plan.root, plan.chunk, streams.path)
        tracks = tracks_of(task, plan)
        with Fetcher(tracks, plan.root, plan.job["source"]["reference_field"], task.options.spool) as fetcher:
            spreads = _spreads(task, plan, tracks, objects, streams, outcome)
            for number, track in enumerate(tracks):
                spread = spreads.get(number)
                outcome.add(track, *_fetched_and_processed(track, fetcher, child, plan, streams, outcome, spread))
        run = {"host": platform.node(), "cpu_s": outcome.cpu_s, "wall_s": time.monotonic() - started}
        with part(STORE):
            committed = commit_shard(objects, plan, task.shard, outcome.rows, streams.path, run)
            for spread in spreads.values():
                spread.clear()
        outcome.costs = dict(sum((spread.costs for spread in spreads.values()), Counter(child.taken_costs())))
    return outcome.report(committed, time.monotonic() - started)


def _spreads(
    task: ShardTask, plan: Plan, tracks: Sequence[Track], objects: Objects, streams: StreamsFile, outcome: _Outcome
) -> dict[int, Spread]:
    """What has the pieces of long tracks processed, by their numbers in the shard."""
    if not plan.cut_s or is_url(plan.root):
        return {}
    lengths_s = Rows.of(tracks).lengths_s()
    return {
        number: Spread(task, number, objects, streams, one_by_one, partial(_tell_share, outcome, float(seconds)))
        for number, (track, seconds) in enumerate(zip(tracks, lengths_s, strict=True))
        if seconds > plan.cut_s and not is_url(track.path) and not track.inside
    }


def _tell_share(outcome: _Outcome, seconds: float, share: float) -> None:
    outcome.on_decoded(share * seconds)


def _fetched_and_processed(
    track: Track,
    fetcher: Fetcher,
    child: Child,
    plan: Plan,
    streams: StreamsFile,
    outcome: _Outcome,
    spread: Spread | None,
) -> tuple[list[dict[str, Any]], float]:
    """Rows of one track and the CPU seconds they took, after its files have come from where they are."""
    try:
        with fetcher.copies(lambda: outcome.on_decoded(0.0)) as copies:
            now = with_file_state(track, plan.root)
            if copies.changed or (now.size, now.version) != (track.size, track.version):
                outcome.changed.append(track.id)
            return _attempt(child, track, plan, copies, streams, outcome.on_decoded, spread)
    except TrackError as error:
        return [_failed(track, error.reason, str(error))], 0.0


def _attempt(
    child: Child,
    track: Track,
    plan: Plan,
    copies: Copies,
    streams: StreamsFile,
    on_decoded: Callable[[float], None],
    spread: Spread | None,
) -> tuple[list[dict[str, Any]], float]:
    """Rows of one track and the CPU seconds they took."""

    def processed() -> Answer:
        with part(PIPE):
            piece_s = 0.0 if spread is None else plan.piece_s
            return child.track(track, streams.end, on_decoded, copies.files, piece_s, spread)

    try:
        answer = tried(processed, track, plan.root)
    except TrackError as error:
        return [_failed(track, error.reason, str(error))], 0.0
    streams.end = max(streams.end, answer.end)
    return answer.rows, answer.cpu_s + (0.0 if spread is None else spread.cpu_s)


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
