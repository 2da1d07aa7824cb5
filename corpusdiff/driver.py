"""A run from its request to its exit code: plan or resume, process, finalise, sum up."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from corpusdiff.cluster import connect
from corpusdiff.describe import estimated_bytes, nothing_in
from corpusdiff.display import Display, Monitor, open_display, report_json
from corpusdiff.errors import CorpusdiffError, UsageError
from corpusdiff.events import EventLog
from corpusdiff.isolate import close_children
from corpusdiff.job import Job
from corpusdiff.jobfile import load_job
from corpusdiff.manifests import open_manifest
from corpusdiff.manifests.base import Manifest, Track
from corpusdiff.plan import SHARD_S, Plan
from corpusdiff.planfile import changed_since, load_plan
from corpusdiff.prepare import (
    NothingToDo,
    add_generation,
    check_same,
    erase,
    failed_tracks,
    leave_nothing,
    listed,
    new_or_changed,
    probed,
)
from corpusdiff.process import run_shard
from corpusdiff.progress import Tally, Totals, format_hours, summary_lines
from corpusdiff.runner import StopFlag, stop_when_most_fail
from corpusdiff.shards import STALL_S, RunOptions, ShardTask
from corpusdiff.store.commit import committed
from corpusdiff.store.finalise import finalise
from corpusdiff.store.generations import plan_key, read_plans
from corpusdiff.store.objects import LocalObjects, open_objects
from corpusdiff.store.record import RecordHeader

if TYPE_CHECKING:
    from corpusdiff.store.read import Corpus

#: Exit code of a run that finished with more failed tracks than allowed.
TOO_MANY_FAILED = 3

#: Longest time that an option may give, in seconds: eleven days.
LONGEST_S = 1e6


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for; the command line's options under their own names.

    Parameters
    ----------
    source : folder, glob, file or manifest
    out : folder of the corpus
    job, sets : the job and the changes to it
    cluster, workers : where to run, on how many workers
    mode : None (begin or resume), ``fresh``, ``update`` or ``retry-failed``
    limit : the first so many tracks of the source
    max_failed : so many failed tracks are no failure of the run
    strict : other rows from a second worker are an error
    portable : baseline instructions everywhere
    shard_s : seconds of audio in a shard of what is planned from now on; None for `SHARD_S`
    stall_s : seconds without progress after which a track has failed
    spool : folder for temporary files
    memory_limit : GiB that one track may take
    as_json : events as JSON lines on standard output

    Raises UsageError for lengths of time that are none.
    """

    source: str
    out: str
    job: str = "asr"
    sets: Sequence[str] = ()
    cluster: str = "local"
    workers: int | None = None
    mode: str | None = None
    limit: int | None = None
    max_failed: int = 0
    strict: bool = False
    portable: bool = False
    shard_s: float | None = None
    stall_s: float = STALL_S
    spool: str | None = None
    memory_limit: float = 4.0
    as_json: bool = False

    def __post_init__(self) -> None:
        for option, seconds in (("--shard-s", self.shard_s), ("--stall", self.stall_s)):
            if seconds is not None and not 0.0 < seconds <= LONGEST_S:
                raise UsageError(f"{option} {seconds:g}: expected seconds, above 0 and at most {LONGEST_S:g}")

    @property
    def options(self) -> RunOptions:
        """What the workers need of it."""
        return RunOptions(spool=self.spool, memory_limit=round(self.memory_limit * 2**30), stall_s=self.stall_s)


def run(
    source: str,
    out: str,
    *,
    job: str = "asr",
    sets: Sequence[str] = (),
    cluster: str = "local",
    workers: int | None = None,
    mode: str | None = None,
) -> Corpus:
    """Process `source` into the corpus `out`, or resume it, and open it. Parameters as in `RunRequest`.

    Raises CorpusdiffError where the run fails; failed tracks are rows of the corpus.
    """
    from corpusdiff.store.read import open as open_corpus  # loads zarr, which a run has no need of

    execute(RunRequest(source, out, job=job, sets=sets, cluster=cluster, workers=workers, mode=mode))
    return open_corpus(out)


def execute(request: RunRequest) -> int:
    """Carry out a run; its exit code. Raises CorpusdiffError."""
    job = load_job(request.job, request.sets)
    manifest = open_manifest(request.source)
    was_there = Path(request.out).exists()
    objects = open_objects(request.out)
    if request.mode == "fresh" and objects.size(plan_key(0)) is not None:
        erase(objects)
    with open_display(as_json=request.as_json) as display:
        try:
            return _Run(request, job, manifest, objects, display).to_end()
        except UsageError:
            if not was_there:
                leave_nothing(objects)
            raise
        finally:
            close_children()


@dataclass
class _Run:
    request: RunRequest
    job: Job
    manifest: Manifest
    objects: LocalObjects
    display: Display
    stop: StopFlag = field(default_factory=StopFlag)
    differing: int = 0

    def __post_init__(self) -> None:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.jsonl"
        self.events = EventLog(self.objects.root / "events" / name)

    def to_end(self) -> int:
        """Bring the corpus to where the request wants it."""
        with self.stop.on_signals(drain=False):
            plans = self._begin()
            self._process(plans[-1])
            if self.request.mode in {"update", "retry-failed"}:
                plans = self._extend(plans)
            final = finalise(self.objects, plans)
        self.display.note(
            f"{final.n_ok} ok, {final.n_failed} failed, {final.n_filtered} filtered in {self.request.out}"
        )
        self.display.event("end", {"ok": final.n_ok, "failed": final.n_failed, "filtered": final.n_filtered})
        if self.differing and self.request.strict:
            raise CorpusdiffError(f"{self.differing} shards differed between workers, and --strict was given")
        return TOO_MANY_FAILED if final.n_failed > self.request.max_failed else 0

    def _begin(self) -> list[Plan]:
        """The plans on disk, or the first one."""
        if self.objects.size(plan_key(0)) is not None:
            plans = read_plans(self.objects)
            check_same(plans[-1], self.manifest, self.job, self.request.out)
            _, made = load_plan(self.objects.read(plan_key(len(plans) - 1)))
            for line in changed_since(made):
                self.display.note(f"since the plan was made: {line}")
            return plans
        if self.request.mode in {"update", "retry-failed"}:
            raise UsageError(f"{self.request.out}: no corpus here to --{self.request.mode}: run without it first")
        tracks = listed(self.manifest, self.request.limit)
        try:
            plan = self._add([], tracks)
        except NothingToDo:
            raise UsageError(nothing_in(self.manifest)) from None
        self._say_ignored()
        return [plan]

    def _extend(self, plans: list[Plan]) -> list[Plan]:
        """Add and process the generation that --update or --retry-failed asks for, if it has any track."""
        tracks: Iterator[Track]
        if self.request.mode == "update":
            tracks = new_or_changed(self.objects, plans, listed(self.manifest, self.request.limit))
        else:
            tracks = failed_tracks(self.objects, plans, self.manifest)
        try:
            plan = self._add(plans, tracks)
        except NothingToDo:
            self.display.note("nothing to do: no track is new, changed or to be tried again")
            return plans
        self._process(plan)
        return [*plans, plan]

    def _add(self, plans: list[Plan], tracks: Iterator[Track]) -> Plan:
        known = probed(self.manifest, tracks, self.request.options, self._n_children())
        request = self.request
        plan = add_generation(
            self.objects,
            plans,
            self.manifest,
            known,
            self.job,
            portable=request.portable,
            spool=request.spool,
            shard_s=request.shard_s or SHARD_S,
        )
        self._check_space(plan)
        return plan

    def _n_children(self) -> int:
        return 1 if self.request.cluster == "none" else min(8, os.cpu_count() or 1)

    def _say_ignored(self) -> None:
        if self.manifest.ignored:
            kinds = ", ".join(f"{n} {extension}" for extension, n in self.manifest.ignored.most_common(8))
            self.display.note(f"ignored in {self.manifest.source}: {kinds}")

    def _check_space(self, plan: Plan) -> None:
        estimate = estimated_bytes(plan, self.job)
        free = shutil.disk_usage(self.objects.root).free
        self.display.note(
            f"{plan.n_tracks} tracks, {format_hours(plan.seconds)}, {plan.n_shards} shards; "
            f"about {estimate / 1e9:.2f} GB to write, {free / 1e9:.0f} GB free"
        )
        if estimate > free:
            self.display.note("the disk will not hold it: free some space before it is full; a run can be resumed")

    def _process(self, plan: Plan) -> None:
        """Run the shards of a plan that are not committed."""
        done = committed(self.objects, plan)
        left = [shard for shard in range(plan.n_shards) if shard not in done]
        if not left:
            return
        request = self.request
        started = time.monotonic()
        tally = Tally(_totals(plan, done), started)
        monitor = Monitor(tally, self.display)
        self.events.write("start", plan=plan.digest, shards=len(left), cluster=request.cluster)
        tasks = (
            ShardTask(str(self.objects.root), plan.generation, plan.digest, shard, request.options) for shard in left
        )
        if request.cluster != "none":
            close_children()  # of those that read headers; workers have their own
        where = connect(
            request.cluster,
            run_shard,
            workers=request.workers,
            spool=request.spool,
            must_reach=(str(self.objects.root), plan.root),
            notify=self.display.note,
        )
        try:
            with (
                self.stop.on_signals(),
                where as runner,
                closing(runner.run(tasks, monitor.on_progress, self.stop)) as reports,
            ):
                for report in stop_when_most_fail(reports, plan.n_tracks):
                    monitor.on_report(report)
                    self.events.write("shard", **report_json(report))
        finally:
            monitor.finish()
            self.differing += tally.differing
            for line in summary_lines(tally, time.monotonic() - started):
                self.display.note(line)


def _totals(plan: Plan, done: Mapping[int, RecordHeader]) -> Totals:
    return Totals(
        tracks=plan.n_tracks,
        shards=plan.n_shards,
        seconds=plan.seconds,
        tracks_before=sum(header.n_rows for header in done.values()),
        failed_before=sum(header.n_failed for header in done.values()),
        seconds_before=sum(header.seconds for header in done.values()),
    )
