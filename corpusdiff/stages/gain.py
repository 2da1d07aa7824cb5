"""A constant gain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import in_range
from corpusdiff.units import db_to_amplitude


@dataclass(frozen=True)
class Gain:
    """Multiply by a constant.

    Parameters
    ----------
    gain_db : -200 to 200
    """

    name: ClassVar[str] = "gain"

    gain_db: float = 0.0

    def __post_init__(self) -> None:
        in_range("gain_db", self.gain_db, -200, 200, "dB")

    def latency(self, sig: Signal) -> int:
        """None."""
        return 0

    def initial_state(self, sig: Signal) -> State:
        """Nothing is carried."""
        return None

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """x times the gain."""
        return x * np.float32(db_to_amplitude(self.gain_db)), state

    def flush(self, state: State, sig: Signal) -> Audio:
        """Nothing is left."""
        return np.zeros((sig.n_channels, 0), np.float32)
