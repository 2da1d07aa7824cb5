"""Stages one after the other, as one stage."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from corpusdiff.stages.base import Audio, Signal, Stage, State
from corpusdiff.stages.spectral import Fused, Spectral, SpectralGain


@dataclass(frozen=True)
class Chain:
    """Stages one after the other; neighbouring spectral ones of equal frames are fused.

    Parameters
    ----------
    stages : in order; none at all is the identity
    """

    name: ClassVar[str] = "chain"

    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", fused(self.stages))

    def latency(self, sig: Signal) -> int:
        """The sum of the stages' latencies."""
        return sum(stage.latency(sig) for stage in self.stages)

    def initial_state(self, sig: Signal) -> State:
        """The stages' states."""
        return tuple(stage.initial_state(sig) for stage in self.stages)

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Each stage gets what the one before gave."""
        states = []
        for stage, before in zip(self.stages, state, strict=True):
            x, after = stage.step(x, before, sig)
            states.append(after)
        return x, tuple(states)

    def flush(self, state: State, sig: Signal) -> Audio:
        """What the stages still hold, each passed through those that follow."""
        rest = np.zeros((sig.n_channels, 0), np.float32)
        for stage, before in zip(self.stages, state, strict=True):
            head, after = stage.step(rest, before, sig)
            rest = np.concatenate([head, stage.flush(after, sig)], axis=1)
        return rest


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
    assert isinstance(stage, SpectralGain)
    return stage
