"""From ``--stage`` and ``--param`` to what is searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from corpusdiff.errors import UsageError
from corpusdiff.job import Job
from corpusdiff.jobset import value_of
from corpusdiff.tuning.space import Dimension, Place, Space

#: Ranges of the parameters that are searched unless the user says otherwise: low, high, by factors.
_RANGES: dict[str, tuple[float, float, bool]] = {
    "k": (-0.5, 0.0, False),
    "steps": (0, 20, False),
    "tau_s": (0.05, 5.0, True),
    "reference_dbfs": (-40.0, -10.0, False),
    "reference_lufs": (-40.0, -10.0, False),
}

#: By how much the reference of a band may differ from that of the job, in dB.
_BAND_DB = 12.0

#: Centres of octave bands.
_OCTAVES_HZ = 125.0 * 2.0 ** np.arange(10)

#: Rate for a job that keeps each file's own.
_USUAL_SR = 48000


@dataclass(frozen=True)
class _Site:
    """A stage of a job; `rule` is empty for the job's own chain."""

    rule: str
    place: Place
    stage: Any

    @property
    def address(self) -> str:
        """What people call it."""
        return f"{self.rule}.{self.stage.name}" if self.rule else str(self.stage.name)

    @property
    def names(self) -> list[str]:
        """Of its parameters."""
        return [item.name for item in fields(self.stage)]


def make_space(job: Job, stages: Sequence[str], params: Sequence[str], *, per_band: bool) -> Space:
    """The space that the user asked for.

    Parameters
    ----------
    job : the job to be tuned
    stages : ``STAGE`` or ``RULE.STAGE``, by name or number; of each, k, steps, the reference and the window
    params : ``STAGE.PARAMETER:LOW:HIGH``, the same with ``:log``, or ``STAGE.PARAMETER=VALUE,VALUE...``
    per_band : search the reference spectrum of the named `timbre` stages too, octave by octave

    Raises
    ------
    UsageError : a stage or parameter that is not there, a range that is none, or nothing to search

    >>> from corpusdiff.stages.level import Level
    >>> space = make_space(Job("x", chain=(Level(),)), ["level"], ["level.k:-0.3:0"], per_band=False)
    >>> [dimension.key for dimension in space.dimensions]
    ['level.k', 'level.steps', 'level.tau_s']
    """
    sites = _sites(job)
    named = [(address, _find(sites, address)) for address in stages]
    found = [dimension for address, site in named for dimension in _usual(address, site, job, per_band)]
    if per_band and not any(dimension.band_hz is not None for dimension in found):
        raise UsageError("--per-band: name a timbre stage by --stage: it has the reference spectrum")
    found += [_asked(text, sites) for text in params]
    if not found:
        raise UsageError("nothing to search: name a stage by --stage, or a parameter by --param STAGE.k:-0.5:0")
    last = {(dimension.place, dimension.name, dimension.band_hz): dimension for dimension in found}
    return Space(job, tuple(last.values()))


def _usual(address: str, site: _Site, job: Job, per_band: bool) -> list[Dimension]:
    """What is searched of a stage that was named."""
    stage, found = site.stage, []
    for name, (low, high, log) in _RANGES.items():
        value = getattr(stage, name, None)
        idle = name == "tau_s" and getattr(stage, "mode", "running") != "running"  # the first pass knows the spectrum
        if name in site.names and value is not None and not idle:
            bounds = (-high, -low) if name == "k" and value > 0 else (low, high)
            found.append(Dimension(f"{address}.{name}", site.place, name, *bounds, log=log, whole=name == "steps"))
    if "n_fft" in site.names:
        lengths = (stage.n_fft // 2, stage.n_fft, 2 * stage.n_fft)
        found.append(Dimension(f"{address}.n_fft", site.place, "n_fft", choices=lengths))
    if "mix" in site.names and "steps" not in site.names:
        found.append(Dimension(f"{address}.mix", site.place, "mix", 0.0, 1.0))
    if per_band and stage.name == "timbre":
        found += _bands(address, site, job)
    return found


def _bands(address: str, site: _Site, job: Job) -> list[Dimension]:
    stage = site.stage
    if stage.mode not in {"flat", "profile"}:
        raise UsageError(
            f"--per-band: {address} has mode {stage.mode!r}: a reference spectrum goes with flat or profile"
        )
    top_hz = min(stage.high_hz or np.inf, 0.5 * (job.source.sr or _USUAL_SR))
    return [
        Dimension(f"{address}.{hz:.0f}hz", site.place, "profile", -_BAND_DB, _BAND_DB, band_hz=float(hz))
        for hz in _OCTAVES_HZ[top_hz >= _OCTAVES_HZ]
    ]


def _asked(text: str, sites: Sequence[_Site]) -> Dimension:
    """The dimension of one ``--param``."""
    remedy = f"--param {text}: expected STAGE.PARAMETER:LOW:HIGH, the same with :log, or STAGE.PARAMETER=VALUE,VALUE"
    key, listed, values = text.partition("=")
    key, *bounds = [key] if listed else text.split(":")
    address, _, name = key.rpartition(".")
    if not address:
        raise UsageError(remedy)
    site = _find(sites, address)
    if name not in site.names:
        raise UsageError(f"--param {text}: {address} has no {name}; it has {', '.join(site.names)}")
    own = getattr(site.stage, name)
    if listed:
        choices = [value_of(value.strip()) for value in values.split(",")]
        as_own = [float(value) if type(own) is float and type(value) is int else value for value in choices]
        return Dimension(key, site.place, name, choices=tuple(as_own))
    log = bounds[2:] == ["log"]
    numbers = [value_of(bound) for bound in bounds[:2]]
    if len(bounds) != 2 + log or not all(type(number) in {int, float} for number in numbers):
        raise UsageError(remedy)
    low, high = numbers
    if not low < high or (log and low <= 0):
        raise UsageError(f"--param {text}: give LOW under HIGH, and over 0 with :log")
    return Dimension(key, site.place, name, low, high, log, whole=type(own) is int)


def _sites(job: Job) -> list[_Site]:
    """All stages of a job, those of its own chain first."""
    own = [_Site("", ("chain", i), stage) for i, stage in enumerate(job.chain)]
    return own + [
        _Site(rule.name, ("rule", n, "chain", i), stage)
        for n, rule in enumerate(job.rules)
        for i, stage in enumerate(rule.chain)
    ]


def _find(sites: Sequence[_Site], address: str) -> _Site:
    """The one stage that is meant: without a rule that of the job's own chain, or of the only rule that has it."""
    rule, _, name = address.rpartition(".")
    found = [site for site in sites if name in {site.stage.name, str(site.place[-1])}]
    own = [site for site in found if site.rule == rule]
    found = own if own or rule else [site for site in found if not name.isdecimal()]
    if len(found) != 1:
        problem = (
            f"{len(found)} stages are called so: give RULE.STAGE, or a number from 0" if found else "no such stage"
        )
        raise UsageError(f"{address}: {problem}; there are {', '.join(site.address for site in sites) or 'none'}")
    return found[0]
