"""The second pass: run the chain under its guard.

A chain that does more to a track than its guard allows is run again with half of its steps, at most four times;
where even that is too much, the track stays as it was. A stage without steps is mixed in by half instead, and one
that has neither (a filter, a gain) stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from corpusdiff.costs import MEASURE_CHANGE, part
from corpusdiff.dsp.loudness import LoudnessMeter
from corpusdiff.metrics import Change, ChangeMeter, VolumeMeter
from corpusdiff.specs import GuardSpec
from corpusdiff.spool import AudioQueue, AudioSpool
from corpusdiff.stages.base import Audio, Signal, Stage, run_blocks
from corpusdiff.stages.chain import Chain

#: How often a chain is weakened before it is given up.
MAX_HALVINGS = 4


@dataclass(frozen=True)
class Shaped:
    """A track after its chain, before its loudness is set.

    Parameters
    ----------
    audio : the samples; whoever gets this closes it
    volume, change : how loud it is, and what the chain did
    meter : holds the spectrum
    guard : what the guard made of the chain: "", "halved-1" ... "halved-4", or "source"
    guard_by : which of its bounds the whole chain passed, with commas
    """

    audio: AudioSpool
    volume: VolumeMeter
    change: Change
    meter: ChangeMeter
    guard: str = ""
    guard_by: str = ""


def shape(
    audio: AudioSpool,
    references: AudioSpool | None,
    stages: tuple[Stage, ...],
    guard: GuardSpec | None,
    signal: Signal,
    spool: str | None,
) -> Shaped:
    """Run `stages` over a track, weaker where the guard wants it.

    Parameters
    ----------
    audio, references : the track, and the far-end signals that come along
    stages : the chain
    guard : None for no bounds
    signal : rate, channels, references and what the first pass found
    spool : folder for audio that does not fit into memory

    Raises
    ------
    ParameterError : the chain does not fit the signal
    """
    shaped = _run(audio, references, stages, signal, spool)
    bounds = _Bounds(guard, audio, signal)
    passed = bounds.passed(shaped)
    if not passed:
        return shaped
    for halvings in range(1, MAX_HALVINGS + 1):
        shaped.audio.close()
        shaped = _run(audio, references, weakened(stages, halvings), signal, spool)
        if not bounds.passed(shaped):
            return replace(shaped, guard=f"halved-{halvings}", guard_by=",".join(passed))
    shaped.audio.close()
    untouched = _run(audio, references, (), signal, spool)
    return replace(untouched, guard="source", guard_by=",".join(passed))


def weakened(stages: tuple[Stage, ...], halvings: int) -> tuple[Stage, ...]:
    """The stages with their steps halved so many times; where a stage has none, with its mix halved.

    >>> from corpusdiff.stages.level import Level
    >>> weakened((Level(k=-0.1, steps=10),), 2)[0].steps
    2
    """
    return tuple(_weakened(stage, halvings) for stage in stages)


def _weakened(stage: Any, halvings: int) -> Any:
    names = {item.name for item in fields(stage)}
    if "steps" in names:
        return replace(stage, steps=stage.steps >> halvings)
    if "mix" in names:
        return replace(stage, mix=stage.mix / 2**halvings)
    return stage


class _Bounds:
    """The guard's bounds, beside what the track was before."""

    def __init__(self, guard: GuardSpec | None, audio: AudioSpool, signal: Signal) -> None:
        self._guard = guard or GuardSpec()
        self._loudness_lufs = np.nan
        if self._guard.max_loudness_change_lu is not None:
            meter = LoudnessMeter(signal.sr, signal.n_channels)
            for x in audio.blocks():
                meter.update(x)
            self._loudness_lufs = meter.finish().integrated_lufs

    def passed(self, shaped: Shaped) -> list[str]:
        """Names of what is over its bound; what cannot be measured is not."""
        guard = self._guard
        found = {"lsd_db": (shaped.change.lsd_db, guard.max_lsd_db)}
        found["clip_rate"] = (shaped.change.clip_rate, guard.max_clip_rate)
        if guard.max_loudness_change_lu is not None:
            change_lu = abs(shaped.volume.finish().loudness_lufs - self._loudness_lufs)
            found["loudness_change_lu"] = (change_lu, guard.max_loudness_change_lu)
        return [name for name, (value, most) in found.items() if most is not None and value > most]


def _run(
    audio: AudioSpool, references: AudioSpool | None, stages: tuple[Stage, ...], signal: Signal, spool: str | None
) -> Shaped:
    """One pass of a chain, measured."""
    shaped = AudioSpool(signal.n_channels, spool)
    try:
        volume = VolumeMeter(signal.sr, signal.n_channels)
        change = ChangeMeter(signal.sr, signal.n_channels)
        blocks = run_blocks(Chain(stages), with_references(audio, references), signal)
        before = _Reader(audio)
        for y in blocks:
            with part(MEASURE_CHANGE):
                volume.update(y)
                change.update(before.take(y.shape[1]), y)
            shaped.write(y)
        with part(MEASURE_CHANGE):
            return Shaped(shaped, volume, change.finish(), change)
    except BaseException:
        shaped.close()
        raise


def with_references(audio: AudioSpool, references: AudioSpool | None) -> Iterator[Audio]:
    """Blocks of the audio with the references as further rows; these are silent where they have ended."""
    if references is None:
        yield from audio.blocks()
        return
    far = references.blocks()
    for x in audio.blocks():
        y = next(far, np.zeros((references.n_channels, 0), np.float32))[:, : x.shape[1]]
        yield np.concatenate([x, np.pad(y, ((0, 0), (0, x.shape[1] - y.shape[1])))])


class _Reader:
    """Takes from a spool as many samples at a time as are asked for."""

    def __init__(self, audio: AudioSpool) -> None:
        self._blocks = audio.blocks()
        self._read = AudioQueue(audio.n_channels)

    def take(self, n: int) -> Audio:
        while self._read.n_samples < n:
            self._read.push(next(self._blocks))
        return self._read.take(n)
