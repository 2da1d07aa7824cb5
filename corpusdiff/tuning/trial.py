"""What runs on a worker: one track through one candidate of the job, and its score.

The tasks are shards to the runners, so that losses, retries and stops are theirs: the serial runner is the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from corpusdiff.encode.audiofile import write_audio
from corpusdiff.errors import TrackError
from corpusdiff.isolate import own_child
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track
from corpusdiff.onetrack import OUTPUT, through
from corpusdiff.shards import Progress, ShardReport, ShardTask
from corpusdiff.specs import SourceSpec
from corpusdiff.tuning.objectives import Heard, NoScore, Objective


@dataclass(frozen=True)
class TrialTask(ShardTask):
    """One track of one trial.

    Parameters
    ----------
    job : the candidate, as `trial_job` makes it
    root : folder that the track's path is relative to
    track : as JSON
    objective : what to listen for
    reference : the clean counterpart as JSON, None without one
    wav : file to write the audio to, None for none
    """

    job: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""
    track: Mapping[str, Any] = field(default_factory=dict)
    objective: Objective | None = None
    reference: Mapping[str, Any] | None = None
    wav: str | None = None


@dataclass(frozen=True)
class TrialReport(ShardReport):
    """What came of it.

    Parameters
    ----------
    score : the objective's, None where there is none
    problem : why
    """

    score: Any = None
    problem: str = ""


def trial_job(job: Job) -> Job:
    """The job as trials run it: tracks stay whole, and come out as samples."""
    source = replace(job.source, segment_s=None, overlap_s=0.0)
    return replace(job, source=source, vad=None, outputs=(OUTPUT,))


def run_trial(task: ShardTask, on_progress: Callable[[Progress], None]) -> TrialReport:
    """Process and score one track. Raises OSError for trouble that it is not to blame for."""
    assert isinstance(task, TrialTask)
    score, problem = None, ""
    try:
        score = _score(task)
    except (TrackError, NoScore) as error:
        problem = str(error)
    on_progress(Progress(task.shard, 1, int(bool(problem)), 0.0))
    return TrialReport(
        shard=task.shard, n_ok=int(not problem), n_failed=int(bool(problem)), n_filtered=0, seconds=0.0, reasons={},
        examples=(), cpu_s=0.0, wall_s=0.0, attempt=0, duplicate=False, differing=False, score=score, problem=problem,
    )  # fmt: skip


def _score(task: TrialTask) -> Any:
    assert task.objective is not None
    child = own_child(task.options, {})
    row, audio = through(child, task.job, task.root, Track.from_json(task.track), task.options.spool)
    heard = Heard(audio, row["sr"], row["metrics"])
    if task.reference is not None:
        clean_sr = 8000 if row["sr"] == 8000 else 16000
        job = Job("clean", source=SourceSpec(sr=clean_sr, channels=1), outputs=(OUTPUT,))
        _, clean = through(child, job.to_dict(), task.root, Track.from_json(task.reference), task.options.spool)
        heard = replace(heard, clean=clean, clean_sr=clean_sr)
    if task.wav is not None:
        Path(task.wav).parent.mkdir(parents=True, exist_ok=True)
        write_audio(task.wav, [audio], row["sr"], len(audio), bits=16)
    return task.objective.score(heard)
