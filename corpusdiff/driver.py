"""A run from its request to its exit code: plan or resume, process, finalise, sum up."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from corpusdiff.cluster import connect
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.describe import estimated_bytes, nothing_in
from corpusdiff.display import Display, open_display
from corpusdiff.errands import do_errand, probe_on_workers
from corpusdiff.errors import CorpusdiffError, UsageError
from corpusdiff.isolate import close_children
from corpusdiff.job import Job
from corpusdiff.jobfile import load_job
from corpusdiff.manifests import open_manifest
from corpusdiff.manifests.base import Manifest, Track
from corpusdiff.manifests.frozen_rows import Rows
from corpusdiff.parallel import in_processes
from corpusdiff.plan import CUT_S, SHARD_S, Plan
from corpusdiff.planfile import changed_since, load_plan
from corpusdiff.prepare import (
    NothingToDo,
    add_generation,
    check_same,
    erase,
    failed_tracks,
    new_or_changed,
)
from corpusdiff.progress import Totals, format_hours, next_steps
from corpusdiff.request import RunRequest
from corpusdiff.runlog import others_running
from corpusdiff.runner import Notify, Runner, StopFlag, stop_when_most_fail
from corpusdiff.shards import ShardTask
from corpusdiff.store.commit import committed
from corpusdiff.store.finalise import finalise
from corpusdiff.store.generations import plan_key, read_plans
from corpusdiff.store.objects import Objects, is_url, open_objects
from corpusdiff.store.record import RecordHeader
from corpusdiff.survey import Probe, listed, probe_here, probed, surveyed
from corpusdiff.watch import watched

if TYPE_CHECKING:
    from corpusdiff.store.read import Corpus

#: Exit code of a run that finished with more failed tracks than allowed.
TOO_MANY_FAILED = 3


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

    >>> import tempfile, corpusdiff
    >>> from corpusdiff.examples import write_tones
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_tones(f"{folder}/recordings")
    ...     corpus = corpusdiff.run(f"{folder}/recordings", f"{folder}/corpus", job="asr", cluster="none")
    ...     [(item.id, item.status, item.audio.shape) for item in corpus]
    [('high.wav', 'ok', (1, 16000)), ('low.wav', 'ok', (1, 16000)), ('middle.wav', 'ok', (1, 24000))]
    """
    from corpusdiff.store.read import open as open_corpus  # loads zarr, which a run has no need of

    execute(
        RunRequest(
            source, out, job=job, sets=sets, cluster=cluster, cluster_options=ClusterOptions(workers=workers), mode=mode
        )
    )
    return open_corpus(out)


def execute(request: RunRequest) -> int:
    """Carry out a run; its exit code. Raises CorpusdiffError."""
    job = load_job(request.job, request.sets)
    manifest = open_manifest(request.source, request.reading, [job.source.reference_field])
    was_there = is_url(request.out) or Path(request.out).exists()
    objects = open_objects(request.out, may_overwrite=request.store_overwrites)
    if request.mode == "fresh" and objects.size(plan_key(0)) is not None:
        erase(objects)
    with open_display(as_json=request.as_json, quiet=request.quiet) as display:
        try:
            return _Run(request, job, manifest, objects, display).to_end()
        except UsageError:
            if not was_there:
                objects.remove_empty()
            raise
        finally:
            close_children()


@dataclass
class _Run:
    request: RunRequest
    job: Job
    manifest: Manifest
    objects: Objects
    display: Display
    stop: StopFlag = field(default_factory=StopFlag)
    differing: int = 0
    workers: ExitStack = field(default_factory=ExitStack)
    runner: Runner | None = None

    def to_end(self) -> int:
        """Bring the corpus to where the request wants it."""
        with self.stop.on_signals(drain=False), self.workers:
            plans = self._begin()
            self._process(plans[-1])
            if self.request.mode in {"update", "retry-failed"}:
                plans = self._extend(plans)
            final = finalise(self.objects, plans, lambda work, tasks: in_processes(work, tasks, self._n_children()))
        self.display.note(
            f"{final.n_ok} ok, {final.n_failed} failed, {final.n_filtered} filtered in {self.request.out}"
        )
        for hint in next_steps(self.request.out, final.n_ok, final.n_failed):
            self.display.note(hint)
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
            self._say_planned(plans[0])
            return plans
        if self.request.mode in {"update", "retry-failed"}:
            raise UsageError(f"{self.request.out}: no corpus here to --{self.request.mode}: run without it first")
        tracks = surveyed(self.manifest, self._probe(), self.request.limit)
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
            plan = self._add(plans, probed(self.manifest, tracks, self._probe()))
        except NothingToDo:
            self.display.note("nothing to do: no track is new, changed or to be tried again")
            return plans
        self._process(plan)
        return [*plans, plan]

    def _add(self, plans: list[Plan], tracks: Iterable[Track | Rows]) -> Plan:
        request = self.request
        plan = add_generation(
            self.objects,
            plans,
            self.manifest,
            tracks,
            self.job,
            portable=request.portable,
            spool=request.spool,
            shard_s=request.shard_s or SHARD_S,
            cut_s=CUT_S if request.cut_s is None else request.cut_s,
            may_overwrite=request.store_overwrites,
        )
        self._check_space(plan)
        return plan

    def _probe(self) -> Probe:
        """How headers are read: here, or where there are many and other machines, there."""
        request, root = self.request, self.manifest.root
        if request.cluster in {"none", "local"}:
            return probe_here(self.manifest, request.options, self._n_children())
        here = (root if not is_url(root) else f"{root}/",)
        return lambda tracks: probe_on_workers(
            tracks, root, request.options, lambda: self._connected(here, self.display.note), self.stop
        )

    def _connected(self, must_reach: tuple[str, ...], notify: Notify) -> Runner:
        """The run's workers, who must see all of `must_reach`."""
        if self.runner is None:
            options = replace(self.request.cluster_options, must_reach=must_reach)
            self.runner = self.workers.enter_context(connect(self.request.cluster, do_errand, options, notify))
        else:
            self.runner.require(must_reach)
        return self.runner

    def _n_children(self) -> int:
        return 1 if self.request.cluster == "none" else min(8, os.cpu_count() or 1)

    def _say_planned(self, first: Plan) -> None:
        """Options that only a new plan heeds, where they were given for one that is there."""
        request = self.request
        if request.mode in {"update", "retry-failed"}:
            return
        given = {
            "--limit": request.limit is not None and request.limit != first.n_tracks,
            "--shard-s": request.shard_s is not None,
            "--cut-s": request.cut_s is not None,
            "--portable": request.portable and not first.portable,
        }
        names = ", ".join(name for name, differs in given.items() if differs)
        if names:
            self.display.note(f"{names}: the plan is made already, and goes on with {first.n_tracks} tracks as it is")

    def _say_ignored(self) -> None:
        if self.manifest.ignored:
            kinds = ", ".join(f"{n} {extension}" for extension, n in self.manifest.ignored.most_common(8))
            self.display.note(f"ignored in {self.manifest.source}: {kinds}")

    def _check_space(self, plan: Plan) -> None:
        estimate = estimated_bytes(plan, self.job)
        free = self.objects.free_bytes()
        room = "" if free is None else f", {free / 1e9:.0f} GB free"
        self.display.note(
            f"{plan.n_tracks} tracks, {format_hours(plan.seconds)}, {plan.n_shards} shards; "
            f"about {estimate / 1e9:.2f} GB to write{room}"
        )
        if free is not None and estimate > free:
            self.display.note("the disk will not hold it: free some space before it is full; a run can be resumed")

    def _process(self, plan: Plan) -> None:
        """Run the shards of a plan that are not committed."""
        done = committed(self.objects, plan)
        left = [shard for shard in range(plan.n_shards) if shard not in done]
        if not left:
            return
        request = self.request
        if request.cluster != "none":
            close_children()  # of those that read headers; workers have their own
        totals = _totals(plan, done)
        with watched(self.objects, self.display, request, totals) as watch, self.stop.on_signals():
            watch.event("start", {"plan": plan.digest, "shards": len(left), "cluster": request.cluster})
            others = others_running(self.objects, watch.log.run)
            if others:
                watch.note(f"at work on this corpus already: {', '.join(others)}. Both may finish")
                random.shuffle(left)  # so that the two meet late
            tasks = (
                ShardTask(self.objects.location, plan.generation, plan.digest, shard, request.options) for shard in left
            )
            try:
                with self.workers:
                    with self.stop.on_signals(drain=False):  # until there are workers nothing is lost
                        runner = self._connected(self._must_reach(plan), watch.note)
                    watch.log.say(dashboard=runner.dashboard)
                    with closing(runner.run(tasks, watch.monitor.on_progress, self.stop)) as reports:
                        for report in stop_when_most_fail(reports, plan.n_tracks):
                            watch.monitor.on_report(report)
            finally:
                self.runner = None
                self.differing += watch.tally.differing

    def _must_reach(self, plan: Plan) -> tuple[str, ...]:
        """What every worker must see: this very plan, and the recordings' folder."""
        ours = f"{self.objects.location}/{plan_key(plan.generation)}"
        return ours, f"{plan.root}/" if is_url(plan.root) else plan.root


def _totals(plan: Plan, done: Mapping[int, RecordHeader]) -> Totals:
    return Totals(
        tracks=plan.n_tracks,
        shards=plan.n_shards,
        seconds=plan.seconds,
        tracks_before=sum(header.n_rows for header in done.values()),
        failed_before=sum(header.n_failed for header in done.values()),
        seconds_before=sum(header.seconds for header in done.values()),
        shards_before=len(done),
    )
