"""Stages one after the other, as one stage."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np

from corpusdiff.costs import TRANSFORM, part
from corpusdiff.stages.base import Audio, Signal, Stage, State, period, takes_references
from corpusdiff.stages.spectral import Fused, Spectral, SpectralGain


@dataclass(frozen=True)
class Chain:
    """Stages one after the other; neighbouring spectral ones of equal frames are fused.

    Parameters
    ----------
    stages : in order; none at all is the identity
    """

    name: ClassVar[str] = "chain"
    takes_references: ClassVar[bool] = True

    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", fused(self.stages))

    def latency(self, sig: Signal) -> int:
        """The sum of the stages' latencies."""
        return sum(stage.latency(sig) for stage in self.stages)

    def period(self, sig: Signal) -> int:
        """The least common multiple of the stages'."""
        return math.lcm(*(period(stage, sig) for stage in self.stages))

    def initial_state(self, sig: Signal) -> State:
        """The stages' states, and the references that wait for the audio in the stage before each."""
        latencies = [0, *(stage.latency(sig) for stage in self.stages[:-1])]
        lines = tuple(np.zeros((sig.n_references, n), np.float32) for n in latencies[: len(self.stages)])
        return tuple(stage.initial_state(sig) for stage in self.stages), lines

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Each stage gets what the one before gave, beside the references of the same time."""
        x, references = x[: sig.n_channels], x[sig.n_channels :]
        states, lines = [], []
        for stage, before, line in zip(self.stages, *state, strict=True):
            if sig.n_references:
                waiting = np.concatenate([line, references], axis=1)
                references, line = waiting[:, : x.shape[1]], waiting[:, x.shape[1] :]  # noqa: PLW2901
            with part(_cost(stage)):
                x, after = stage.step(_rows(stage, x, references), before, sig)
            states.append(after)
            lines.append(line)
        return x, (tuple(states), tuple(lines))

    def flush(self, state: State, sig: Signal) -> Audio:
        """What the stages still hold, each passed through those that follow."""
        x = np.zeros((sig.n_channels, 0), np.float32)
        references = np.zeros((sig.n_references, 0), np.float32)
        for stage, before, line in zip(self.stages, *state, strict=True):
            references = np.concatenate([line, references], axis=1)
            with part(_cost(stage)):
                head, after = stage.step(_rows(stage, x, references), before, sig)
                x = np.concatenate([head, stage.flush(after, sig)], axis=1)
        return x


def _cost(stage: Stage) -> str:
    """What the stage's work is charged to; fused stages charge their own parts of it to themselves."""
    return TRANSFORM if isinstance(stage, Fused) else f"stage {stage.name}"


def _rows(stage: Stage, x: Audio, references: Audio) -> Audio:
    return np.concatenate([x, references]) if len(references) and takes_references(stage) else x


def fused(stages: Iterable[Stage]) -> tuple[Stage, ...]:
    """The stages with runs of neighbouring spectral ones of equal n_fft and hop_length made one."""
    result: list[Stage] = []
    for stage in stages:
        last = result[-1] if result else None
        if not isinstance(stage, Spectral):
            result.append(stage)
        elif isinstance(last, Fused) and (last.n_fft, last.hop_length) == (stage.n_fft, stage.hop_length):
            result[-1] = Fused((*last.parts, _gain(stage)))
        else:
            result.append(Fused((_gain(stage),)))
    return tuple(result)


def _gain(stage: Spectral) -> SpectralGain:
    return cast("SpectralGain", stage)  # asking a runtime protocol takes longer than a short track's frames
