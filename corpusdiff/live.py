"""The causal form of a job: what can be done to a signal whose end nobody has heard.

Whatever a run takes from the whole track comes from a measured document, from constants of the job, or from running
estimates. A stage that can have none of these is refused by name. The guard needs the whole track and is not there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from corpusdiff.dsp.resample import downmix
from corpusdiff.dsp.spectrum import bandwidth_hz, centroid_hz
from corpusdiff.errors import JobError, ParameterError, UsageError
from corpusdiff.job import DEFAULT_RULE, Job
from corpusdiff.specs import LoudnessSpec, SourceSpec
from corpusdiff.stages.base import Audio, Measured, Signal, Stage, needs_measured, run_blocks
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.gain import Gain
from corpusdiff.stages.limiter import Limiter
from corpusdiff.stages.running_loudness import RunningLoudness
from corpusdiff.stages.spectral import Fused
from corpusdiff.units import db_to_power

#: Look-ahead of the limiter in seconds, a quarter of a run's: it holds the ceiling as well, and is heard sooner.
LOOKAHEAD_S = 0.00125

#: Bins over which the bandwidth is looked for, at least: a profile may have fewer, and any distance.
_MIN_BINS = 257


@dataclass(frozen=True)
class Live:
    """A causal chain and what it works on.

    Parameters
    ----------
    stages : in order: the job's chain, what sets the loudness, the limiter
    signal : what they are given
    n_inputs : channels of what comes in, the far-end signal's among them
    reference_channel : which of these is the far-end signal, None where there is none
    rule : whose chain it is
    notes : what differs from a run of the job, for people
    """

    stages: tuple[Stage, ...]
    signal: Signal
    n_inputs: int
    reference_channel: int | None = None
    rule: str = DEFAULT_RULE
    notes: tuple[str, ...] = ()

    @cached_property
    def chain(self) -> Chain:
        """The stages as one."""
        return Chain(self.stages)

    @property
    def latency(self) -> int:
        """Of the whole chain, in samples."""
        return self.chain.latency(self.signal)

    def latencies(self) -> list[tuple[str, int]]:
        """Name and latency in samples of every stage; those that share a transform are one, joined by a plus."""
        return [(_name(stage), stage.latency(self.signal)) for stage in self.chain.stages]

    def rows(self, x: Audio) -> Audio:
        """What the chain is given for a block of input: (n_inputs, n) in, (n_channels + n_references, n) out."""
        if self.reference_channel is None:
            return downmix(x, self.signal.n_channels)
        heard = downmix(np.delete(x, self.reference_channel, axis=0), self.signal.n_channels)
        return np.concatenate([heard, x[self.reference_channel][None]])

    def run(self, rows: Iterable[Audio]) -> Iterator[Audio]:
        """Blocks of `rows` through the chain, its latency taken out: (n_channels, n) float32."""
        return run_blocks(self.chain, rows, self.signal)

    def warm_up(self) -> None:
        """Compile or load the kernels, on a second of noise: what is heard first shall not wait for them."""
        n_rows = self.signal.n_channels + self.signal.n_references
        noise = np.random.default_rng(0).standard_normal((n_rows, self.signal.sr)).astype(np.float32)
        for _ in self.run([0.1 * noise]):
            pass


def causal_chain(
    job: Job, sr: int, n_inputs: int, measured: Measured | None = None, fields: Mapping[str, object] | None = None
) -> Live:
    """The causal form of a job for a signal.

    Parameters
    ----------
    job : its outputs and its guard have no say here
    sr : rate in Hz of what comes in, which is the job's where it has one
    n_inputs : channels of what comes in
    measured : what is known of the signal beforehand. The rules are asked about it, and without it the job's own chain
        is taken; the loudness is set by one gain from it, and without it by `RunningLoudness`
    fields : what else the rules may ask for

    Raises
    ------
    UsageError : the rate or the channels are not those of the job
    JobError : something in the job needs the whole track
    """
    source = job.source
    if source.sr not in {None, sr}:
        raise UsageError(
            f"job {job.name} works at {source.sr} Hz, and the signal has {sr} Hz: give --sr {source.sr} and resample "
            f"it before, or --set source.sr={sr}"
        )
    _check_source(job)
    n_channels = _n_channels(source, n_inputs)
    signal = Signal(sr, n_channels, measured, n_references=int(source.has_reference))
    rule = DEFAULT_RULE if measured is None else job.rule_for({**(fields or {}), **_known(measured)})
    stages = (*job.chains()[rule], *_loudness_stages(job.loudness, measured))
    _check_stages(stages, signal, job)
    return Live(stages, signal, n_inputs, source.reference_channel, rule, tuple(_notes(job, measured, rule)))


def _check_source(job: Job) -> None:
    source = job.source
    if (source.speed, source.tempo) != (1.0, 1.0):
        raise JobError(f"job {job.name}: source.speed and source.tempo change the length: set both to 1")
    if source.reference_field is not None:
        raise JobError(
            f"job {job.name}: source.reference_field names a file in a manifest, and there is none: give the far-end "
            "signal as a channel, with source.reference_channel"
        )


def _n_channels(source: SourceSpec, n_inputs: int) -> int:
    """Channels of what the stages get."""
    n_heard = n_inputs
    if source.reference_channel is not None:
        n_heard -= 1
        if source.reference_channel >= n_inputs or n_heard < 1:
            raise UsageError(
                f"source.reference_channel is {source.reference_channel} (counted from 0), and there are {n_inputs} "
                "channels: give the channel of the far-end signal too, and one more to process"
            )
    n_channels = source.channels or n_heard
    if 1 < n_heard < n_channels:
        raise UsageError(f"{n_heard} channels cannot become {n_channels}: set source.channels to 1 or {n_heard}")
    return n_channels


def _known(measured: Measured) -> dict[str, Any]:
    """What rules may ask for, by the names of the table's columns."""
    known_hz = measured.spectrum.freqs_hz
    freqs_hz = np.linspace(0.0, known_hz[-1], max(len(known_hz), _MIN_BINS))
    power = db_to_power(measured.spectrum.at(freqs_hz))
    return {
        "loudness_lufs": measured.loudness_lufs,
        "snr_db": measured.snr_db,
        "bandwidth_hz": bandwidth_hz(freqs_hz, power),
        "centroid_hz": centroid_hz(freqs_hz, power),
    }


def _loudness_stages(spec: LoudnessSpec | None, measured: Measured | None) -> tuple[Stage, ...]:
    if spec is None:
        return ()
    limiter = Limiter(ceiling_dbtp=spec.ceiling_dbtp, lookahead_s=LOOKAHEAD_S)
    if measured is not None and math.isfinite(measured.loudness_lufs):
        return Gain(min(spec.target_lufs - measured.loudness_lufs, spec.max_gain_db)), limiter
    return RunningLoudness(spec.target_lufs, max_boost_db=spec.max_gain_db), limiter


def _check_stages(stages: tuple[Stage, ...], signal: Signal, job: Job) -> None:
    for stage in stages:
        if signal.measured is None and needs_measured(stage):
            raise JobError(
                f"job {job.name}: {stage.name} needs to know the whole recording: give --measured FILE, as "
                f"`corpusdiff profile SOURCE FILE` writes it, or take a job without {stage.name}"
            )
        try:
            stage.initial_state(signal)
        except ParameterError as error:
            raise JobError(f"job {job.name}: chain.{stage.name}.{error}") from error


def _notes(job: Job, measured: Measured | None, rule: str) -> Iterator[str]:
    if job.rules and measured is None:
        yield "the rules ask about the whole recording: the default chain runs; --measured FILE lets them choose"
    elif job.rules:
        yield f"the chain is that of rule {rule}, by what was measured before"
    if job.guard is not None:
        yield "the guard compares whole recordings: it is off"
    if job.vad is not None or job.source.segment_s is not None:
        yield "nothing is cut or trimmed: what comes in goes out as one"


def _name(stage: Stage) -> str:
    if isinstance(stage, Fused):
        return "+".join(str(getattr(part, "name", "spectral")) for part in stage.parts)
    return stage.name
