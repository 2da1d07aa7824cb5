"""A Butterworth high-pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp.filters import butterworth_highpass, filter_sections
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import finite, in_range, whole


@dataclass(frozen=True)
class Highpass:
    """Take away what lies below speech: DC, rumble, hum.

    Parameters
    ----------
    cutoff_hz : -3 dB point, over 0 and under half the rate
    order : 1 to 8; 6 dB per octave each
    """

    name: ClassVar[str] = "highpass"

    cutoff_hz: float = 60.0
    order: int = 2

    def __post_init__(self) -> None:
        finite("cutoff_hz", self.cutoff_hz)
        if self.cutoff_hz <= 0:
            raise ParameterError("cutoff_hz", f"got {self.cutoff_hz:g}; give a frequency over 0 Hz")
        whole("order", self.order, 1)
        in_range("order", self.order, 1, 8)

    def latency(self, sig: Signal) -> int:
        """None: the phase is minimal."""
        return 0

    def initial_state(self, sig: Signal) -> State:
        """(n_channels, n_sections, 2) float64 zeros."""
        return np.zeros((sig.n_channels, len(self._sections(sig)), 2))

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Filter in float64."""
        state = state.copy()
        return filter_sections(np.ascontiguousarray(x), self._sections(sig), state), state

    def flush(self, state: State, sig: Signal) -> Audio:
        """Nothing is left."""
        return np.zeros((sig.n_channels, 0), np.float32)

    def _sections(self, sig: Signal) -> NDArray[np.float64]:
        return _sections(self.cutoff_hz, self.order, sig.sr)


@lru_cache
def _sections(cutoff_hz: float, order: int, sr: int) -> NDArray[np.float64]:
    if cutoff_hz >= sr / 2:
        raise ParameterError("cutoff_hz", f"{cutoff_hz:g} Hz is not under half of {sr} Hz; lower it")
    return butterworth_highpass(cutoff_hz, order, sr)
