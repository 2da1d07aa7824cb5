"""What is searched: parameters of stages of a job, each with a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from corpusdiff.job import Job

#: Where a stage stands in a job's document: ``("chain", 0)`` or ``("rule", 1, "chain", 0)``.
Place: TypeAlias = tuple[str | int, ...]

#: New values of stages' parameters.
Changes: TypeAlias = dict[Place, dict[str, Any]]

#: Digits of what is searched: more say nothing, and make a job file hard to read.
_DIGITS = 4


@dataclass(frozen=True)
class Dimension:
    """One parameter of one stage, and where to look for its best value.

    Parameters
    ----------
    key : what people call it: ``level.k``, ``noisy.level.k`` of the rule ``noisy``, ``timbre.125hz`` for a band
    place : the stage
    name : the parameter
    low, high : its range, if it is a number
    log : whether to search it by factors
    whole : whether it is a whole number
    choices : its values, where it has no range
    band_hz : of a reference spectrum, the frequency at which `low` to `high` dB are added to it
    """

    key: str
    place: Place
    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()
    band_hz: float | None = None

    def holds(self, value: Any) -> bool:
        """Whether the search could come upon the value."""
        if self.choices:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Space:
    """The dimensions, and the job that they belong to.

    Parameters
    ----------
    job : as it is without a search
    dimensions : at least one
    """

    job: Job
    dimensions: tuple[Dimension, ...]

    def defaults(self) -> dict[str, Any]:
        """The job's own values by key."""
        tables = self.job.to_dict()
        return {d.key: 0.0 if d.band_hz is not None else _table(tables, d.place)[d.name] for d in self.dimensions}

    def changes(self, values: Mapping[str, Any]) -> Changes:
        """What the values by key mean for the stages' parameters. A longer frame keeps its overlap."""
        changes: Changes = {}
        tables = self.job.to_dict()
        for d in self.dimensions:
            change, value = changes.setdefault(d.place, {}), values[d.key]
            own = _table(tables, d.place)
            if d.band_hz is not None:
                pairs = change.setdefault("profile", [])
                pairs.append([d.band_hz, _rounded(_reference_db(own, d.band_hz) + value)])
                change["mode"] = "profile"
                continue
            change[d.name] = _rounded(value) if isinstance(value, float) else value
            if d.name == "n_fft":
                change["hop_length"] = max(1, value * own["hop_length"] // own["n_fft"])
        return changes

    def job_with(self, values: Mapping[str, Any]) -> Job:
        """The job with these values. Raises ParameterError for a stage that refuses them."""
        document = self.job.to_dict()
        for place, change in self.changes(values).items():
            _table(document, place).update(change)
        return Job.from_dict(document)


def _table(document: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """The stage at that place of a job's document."""
    table: Any = document
    for step in place:
        table = table[step]
    return table


def _reference_db(stage: Mapping[str, Any], hz: float) -> float:
    """The reference spectrum of a `timbre` stage, which is constant without a profile."""
    if stage["profile"] is None:
        return 0.0
    pairs = np.array(stage["profile"], np.float64)
    return float(np.interp(hz, pairs[:, 0], pairs[:, 1]))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
