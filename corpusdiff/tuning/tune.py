"""From a request to a tuned job: sample, search, check, write, plot."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any

from corpusdiff.cluster import connect
from corpusdiff.cluster.options import NO_OPTIONS, ClusterOptions
from corpusdiff.errors import Interrupted, JobError, UsageError
from corpusdiff.isolate import close_children
from corpusdiff.job import Job
from corpusdiff.jobfile import load_job
from corpusdiff.manifests import USUAL, Reading
from corpusdiff.manifests.base import Track
from corpusdiff.runner import Notify, StopFlag
from corpusdiff.shards import RunOptions
from corpusdiff.tuning.asked import make_space
from corpusdiff.tuning.bench import Bench
from corpusdiff.tuning.jobtext import write_job
from corpusdiff.tuning.objectives import Objective, make_objective
from corpusdiff.tuning.sample import Sample, check_reference, take_sample
from corpusdiff.tuning.search import Trial, best_of, better, search
from corpusdiff.tuning.space import Space
from corpusdiff.tuning.trial import run_trial

#: Of a longer track only so many seconds are heard, unless the objective is about whole files.
MOST_S = 60.0


@dataclass(frozen=True)
class TuneRequest:
    """What the user asked for; the command line's options under their own names.

    Parameters
    ----------
    source : anything that `run` takes
    output : job file to write
    objective : see `corpusdiff.tuning.objectives.make_objective`
    job, sets : the job to start from
    stages, params, per_band : what to search, see `corpusdiff.tuning.asked.make_space`
    trials : how many candidates to try
    sample : how many tracks to take
    seed : of the sample and of the search
    cluster, cluster_options : where to run, and on what workers
    reference : folder or manifest field of the clean signals
    command, shell : what measures ``wer``
    reading : how to read the source, see `corpusdiff.manifests.Reading`
    """

    source: str
    output: str
    objective: str
    job: str = "asr"
    sets: Sequence[str] = ()
    stages: Sequence[str] = ()
    params: Sequence[str] = ()
    per_band: bool = False
    trials: int = 40
    sample: int = 40
    seed: int = 0
    cluster: str = "local"
    cluster_options: ClusterOptions = NO_OPTIONS
    reference: str | None = None
    command: str | None = None
    shell: bool = False
    reading: Reading = USUAL

    @property
    def spool(self) -> str | None:
        """Folder for temporary files; workers on other hosts must see it where the objective is ``wer``."""
        return self.cluster_options.spool


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    Parameters
    ----------
    objective, unit, maximise : what was searched for
    trials : all of them; the first is the job as it was
    best : the best of them
    job : what it makes of the job
    tracks : ids of those searched on, and of those checked on
    check : the objective before and after on the latter, NaN where there are none
    notes : what the user should know
    """

    objective: str
    unit: str
    maximise: bool
    trials: tuple[Trial, ...]
    best: Trial
    job: Job
    tracks: tuple[tuple[str, ...], tuple[str, ...]]
    check: tuple[float, float]
    notes: tuple[str, ...] = ()

    @property
    def before(self) -> float:
        """The objective of the job as it was."""
        return self.trials[0].score or 0.0

    @property
    def after(self) -> float:
        """That of the best trial."""
        return self.best.score or 0.0


def tune(request: TuneRequest, notify: Notify) -> Tuned:
    """Search, check and write. Raises CorpusdiffError.

    The sample is parted: the values are chosen on two thirds of it, and tried in the end on the rest.
    """
    check_folder(request.output)
    job = load_job(request.job, request.sets)
    space = make_space(job, request.stages, request.params, per_band=request.per_band)
    objective = make_objective(request.objective, request.command, shell=request.shell)
    most_s = None if objective.needs_files else MOST_S
    sample = take_sample(request.source, job, request.sample, request.seed, most_s, request.reading)
    _check_reference(request, job, objective, sample)
    stop = StopFlag()
    with tempfile.TemporaryDirectory(prefix="corpusdiff-tune-", dir=request.spool) as folder:
        source = f"{sample.root}/" if "://" in sample.root else sample.root
        must_reach = (source, *([folder] if objective.needs_files else []))
        where = connect(
            request.cluster, run_trial,
            replace(request.cluster_options, must_reach=must_reach), notify,
        )  # fmt: skip
        try:
            with stop.on_signals(), where as runner:
                bench = Bench(
                    runner, stop, objective, sample.root, sample.searched, request.reference, folder,
                    RunOptions(spool=request.spool),
                )  # fmt: skip
                tuned = _tune(request, space, bench, sample, notify)
        except Interrupted:
            raise Interrupted("stopped before the search was over: nothing is written, and it begins anew") from None
        finally:
            close_children()
    write_job(request.output, request.job, request.sets, space.changes(tuned.best.values) if tuned.best.number else {},
              tuned.job, _remark(tuned))  # fmt: skip
    return tuned


def _tune(request: TuneRequest, space: Space, bench: Bench, sample: Sample, notify: Notify) -> Tuned:
    objective = bench.objective
    bench, before = bench.settled(space.job, notify)
    first = Trial(0, space.defaults(), before)
    trials: list[Trial] = []

    def hear(candidates: Sequence[dict[str, Any]], number: int) -> list[Trial]:
        return _heard(space, bench, candidates, number)

    for trial in search(space, hear, first, request.trials, request.seed, maximise=objective.maximise):
        trials.append(trial)
        best = best_of(trials, maximise=objective.maximise)
        told = trial.problem if trial.score is None else f"{trial.score:.4g} {objective.unit}".strip()
        notify(f"trial {trial.number} of {request.trials}: {told} (best {best.score:.4g}, trial {best.number})")
    best = best_of(trials, maximise=objective.maximise)
    job = space.job_with(best.values) if best.number else space.job
    check: tuple[float, float] = (nan, nan)
    heard: tuple[Track, ...] = ()
    if sample.checked:
        other, check_before = replace(bench, tracks=sample.checked).settled(space.job, notify)
        [check_after] = other.totals([job])
        check, heard = (check_before, nan if isinstance(check_after, str) else check_after), other.tracks
    names = (tuple(track.id for track in bench.tracks), tuple(track.id for track in heard))
    tuned = Tuned(request.objective, objective.unit, objective.maximise, tuple(trials), best, job, names, check)
    return replace(tuned, notes=tuple(_notes(tuned)))


def _heard(space: Space, bench: Bench, candidates: Sequence[dict[str, Any]], number: int) -> list[Trial]:
    """Trials of the candidates, in their order; values that a stage refuses make a trial that failed."""
    jobs: list[Job | str] = []
    for values in candidates:
        try:
            jobs.append(space.job_with(values))
        except (ValueError, TypeError, JobError) as error:  # the former is what a plug-in may say
            jobs.append(str(error))
    totals = iter(bench.totals([job for job in jobs if isinstance(job, Job)]))
    found = [job if isinstance(job, str) else next(totals) for job in jobs]
    return [
        Trial(number + i, values, None, total) if isinstance(total, str) else Trial(number + i, values, total)
        for i, (values, total) in enumerate(zip(candidates, found, strict=True))
    ]


def check_folder(path: str) -> None:
    """Refuse a file that could not be written in the end. Raises UsageError."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}; make it first")


def _check_reference(request: TuneRequest, job: Job, objective: Objective, sample: Sample) -> None:
    """Refuse what cannot be compared. Raises UsageError."""
    if not objective.needs_reference:
        if request.reference is not None:
            raise UsageError(f"--reference: {request.objective} compares with none; it goes with pesq and stoi")
        return
    if request.reference is None:
        raise UsageError(
            f"--objective {request.objective} compares with clean signals: give --reference FOLDER, which holds them "
            "under the names that they have in SOURCE, or the FIELD of the manifest that names them"
        )
    if job.source.speed != 1.0 or job.source.tempo != 1.0:
        raise UsageError("source.speed and source.tempo change the length: nothing can be compared sample by sample")
    check_reference(request.reference, sample)


def _notes(tuned: Tuned) -> list[str]:
    """What the user should know before believing it."""
    notes = []
    failed = [trial for trial in tuned.trials if trial.score is None]
    if failed:
        notes.append(f"{len(failed)} trials failed, e.g. trial {failed[0].number}: {failed[0].problem}")
    if len({trial.score for trial in tuned.trials if trial.score is not None}) == 1 and len(tuned.trials) > 1:
        notes.append("no value changed the objective: does any track of the sample take the chain that was searched?")
    if not tuned.best.number:
        notes.append("no trial was better than the job as it is")
    elif not tuned.tracks[1]:
        notes.append("the sample is too small to be checked on other tracks: the gain may be of this sample alone")
    elif isnan(tuned.check[1]) or not better(tuned.check[1], tuned.check[0], maximise=tuned.maximise):
        notes.append(
            "WARNING: on the tracks that were kept aside it is no better than the job as it is "
            f"({tuned.check[1]:.4g}, before {tuned.check[0]:.4g}): do not believe it"
        )
    return notes


def _remark(tuned: Tuned) -> list[str]:
    """What the written job says of its origin."""
    unit = f" {tuned.unit}" if tuned.unit else ""
    lines = [
        f"{tuned.job.name}, tuned for {tuned.objective} by trial {tuned.best.number} of {len(tuned.trials) - 1}:",
        f"{tuned.before:.4g} to {tuned.after:.4g}{unit} on {len(tuned.tracks[0])} tracks",
    ]
    if tuned.tracks[1]:
        before, after = tuned.check
        lines.append(f"checked: {before:.4g} to {after:.4g}{unit} on {len(tuned.tracks[1])} others")
    return lines
