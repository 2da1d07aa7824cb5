"""The law on the sides of a stereo image: wider or narrower, the middle stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from corpusdiff.dsp.law import deviation_factor
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import in_range
from corpusdiff.units import db_to_amplitude


@dataclass(frozen=True)
class Width:
    """Move left and right away from (k > 0) or toward (k < 0) their middle, the mean of the two.

    The law with A0 the middle: after `steps` steps the sides, half the difference of the two, are rho**steps of what
    they were, rho = 1 + k. A mono track has no sides and stays as it is; tracks of more than two channels are refused.

    Parameters
    ----------
    k, steps : the law's; k per step, at least -1, which is mono
    max_boost_db : the sides are raised by no more
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "width"

    k: float = 0.1
    steps: int = 4
    max_boost_db: float = 12.0
    mix: float = 1.0

    def __post_init__(self) -> None:
        deviation_factor(self.k, self.steps)
        in_range("max_boost_db", self.max_boost_db, 0, 100, "dB")
        in_range("mix", self.mix, 0, 1)

    def latency(self, sig: Signal) -> int:
        """None."""
        return 0

    def initial_state(self, sig: Signal) -> State:
        """Nothing is carried. Raises ParameterError for more than two channels."""
        if sig.n_channels > 2:
            raise ParameterError("width", f"got {sig.n_channels} channels; it is for stereo: set source.channels = 2")

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Scale the sides."""
        if len(x) == 1:
            return x, state
        factor = min(deviation_factor(self.k, self.steps), float(db_to_amplitude(self.max_boost_db)))
        change = np.float32(0.5 * self.mix * (factor - 1.0)) * (x[0] - x[1])
        return np.stack([x[0] + change, x[1] - change]), state

    def flush(self, state: State, sig: Signal) -> Audio:
        """Nothing is held."""
        return np.zeros((sig.n_channels, 0), np.float32)
