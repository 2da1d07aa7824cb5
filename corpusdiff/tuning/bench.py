"""Hearing candidates: every track of every one of them is a task; their scores come back to one number each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from corpusdiff.errors import CorpusdiffError
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track
from corpusdiff.runner import Notify, Runner, StopFlag
from corpusdiff.shards import Progress, RunOptions
from corpusdiff.tuning.objectives import NoScore, Objective
from corpusdiff.tuning.sample import reference_of
from corpusdiff.tuning.trial import TrialReport, TrialTask, trial_job


@dataclass(frozen=True)
class Bench:
    """Tracks to hear candidates on.

    Parameters
    ----------
    runner : runs `run_trial`
    stop : the user's wish to stop
    objective : what to listen for
    root : folder that paths are relative to
    tracks : what is heard of every candidate
    reference : folder or field of the clean signals, None without
    folder : for files of the objective; workers must see it
    options : limits of the children
    """

    runner: Runner
    stop: StopFlag
    objective: Objective
    root: str
    tracks: tuple[Track, ...]
    reference: str | None
    folder: str
    options: RunOptions

    def settled(self, job: Job, notify: Notify) -> tuple[Bench, float]:
        """The same without the tracks of which `job` has no score, and that job's objective.

        Raises CorpusdiffError where no track is left, or the objective cannot be had.
        """
        [reports] = self._reports([job], self.tracks)
        for track, report in zip(self.tracks, reports, strict=True):
            if report.problem:
                notify(f"left out: {track.id}: {report.problem}")
        left = tuple(track for track, report in zip(self.tracks, reports, strict=True) if not report.problem)
        if not left:
            raise CorpusdiffError(f"no track of the sample has a score, e.g. {self.tracks[0].id}: {reports[0].problem}")
        bench = replace(self, tracks=left)
        [found] = bench._totals([[report for report in reports if not report.problem]])
        if isinstance(found, str):
            raise CorpusdiffError(f"the job as it is has no {self.objective.name}: {found}")
        return bench, found

    def totals(self, jobs: Sequence[Job]) -> list[float | str]:
        """The objective of each job, or why there is none: every track that was heard before must have a score."""
        return self._totals(self._reports(jobs, self.tracks))

    def _reports(self, jobs: Sequence[Job], tracks: tuple[Track, ...]) -> list[list[TrialReport]]:
        """By job and track."""
        n = len(tracks)
        self._clear()
        tasks = [self._task(i * n + j, i, job, track) for i, job in enumerate(jobs) for j, track in enumerate(tracks)]
        found: dict[int, TrialReport] = {}
        with closing(self.runner.run(tasks, _unheard, self.stop)) as reports:
            for report in reports:
                assert isinstance(report, TrialReport)
                found[report.shard] = report
        return [[found[i * n + j] for j in range(n)] for i in range(len(jobs))]

    def _task(self, number: int, candidate: int, job: Job, track: Track) -> TrialTask:
        reference = None
        if self.objective.needs_reference and self.reference is not None:
            reference = reference_of(track, self.reference)
        return TrialTask(
            out="", generation=0, plan_digest="", shard=number, options=self.options,
            job=trial_job(job).to_dict(), root=self.root, track=track.to_json(), objective=self.objective,
            reference=None if reference is None else reference.to_json(),
            wav=str(self._place(candidate) / wav_name(track)) if self.objective.needs_files else None,
        )  # fmt: skip

    def _totals(self, reports: Sequence[Sequence[TrialReport]]) -> list[float | str]:
        totals: list[float | str] = []
        for i, of_job in enumerate(reports):
            problem = next((report.problem for report in of_job if report.problem), "")
            if problem:
                totals.append(problem)
                continue
            try:
                if self.objective.needs_files:
                    self._write_manifest(self._place(i))
                totals.append(self.objective.total([report.score for report in of_job], str(self._place(i))))
            except NoScore as error:
                totals.append(str(error))
        return totals

    def _place(self, candidate: int) -> Path:
        return Path(self.folder) / f"{candidate:02d}"

    def _clear(self) -> None:
        for place in Path(self.folder).iterdir():
            shutil.rmtree(place)

    def _write_manifest(self, place: Path) -> None:
        """What the files are, as NeMo has it, and nothing but them."""
        rows = [{"audio_filepath": wav_name(track), "id": track.id, **track.fields} for track in self.tracks]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (place / "manifest.jsonl").write_text(lines, encoding="utf-8")


def wav_name(track: Track) -> str:
    """The file of a track below its folder: its id, with ``.wav`` for an ending.

    >>> wav_name(Track("a/b.flac", "")), wav_name(Track("/x/../y", "")), wav_name(Track("1.5 s", ""))
    ('a/b.flac.wav', 'x/y.wav', '1.5 s.wav')
    >>> wav_name(Track("a/b.wav", ""))
    'a/b.wav'
    """
    parts = [part for part in PurePosixPath(track.id).parts if part not in {"/", ".."}]
    name = "/".join(parts) or "track"
    return name if name.lower().endswith(".wav") else f"{name}.wav"


def _unheard(_progress: Progress) -> None:
    """Trials are what is reported."""
