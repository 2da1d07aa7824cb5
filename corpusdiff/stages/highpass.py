"""A Butterworth high-pass, of minimum or linear phase."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp import linear_phase
from corpusdiff.dsp.filters import butterworth_highpass, filter_sections
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import finite, in_range, whole

PHASES = ("minimum", "linear")

#: A filter of linear phase has its cut-off this far under the rate at least.
_LINEAR_PARTS = 8


@dataclass(frozen=True)
class Highpass:
    """Take away what lies below speech: DC, rumble, hum.

    Parameters
    ----------
    cutoff_hz : over 0 and under half the rate (an eighth for linear phase). The gain there is -3 dB, and -6 dB for
        linear phase
    order : 1 to 8; 6 dB per octave each, and twice that for linear phase
    phase : ``minimum``: no latency, low frequencies come later than high ones. ``linear``: the same filter run
        forward and back, cut to 2.4 periods of the cut-off either way, which is its latency (30 ms at 80 Hz); the
        waveform above the cut-off stays as it is. At order 2 the cut changes the response by -90 dB, at 4 by
        -53 dB, at 8 by -29 dB
    """

    name: ClassVar[str] = "highpass"

    cutoff_hz: float = 60.0
    order: int = 2
    phase: str = "minimum"

    def __post_init__(self) -> None:
        finite("cutoff_hz", self.cutoff_hz)
        if self.cutoff_hz <= 0:
            raise ParameterError("cutoff_hz", f"got {self.cutoff_hz:g}; give a frequency over 0 Hz")
        whole("order", self.order, 1)
        in_range("order", self.order, 1, 8)
        if self.phase not in PHASES:
            raise ParameterError("phase", f"got {self.phase!r}; give one of {', '.join(PHASES)}")

    def latency(self, sig: Signal) -> int:
        """None for minimum phase; half the filter's length for linear phase."""
        return self._design(sig).latency if self.phase == "linear" else 0

    def initial_state(self, sig: Signal) -> State:
        """Silence before the start."""
        if self.phase == "linear":
            return linear_phase.initial(self._design(sig), sig.n_channels)
        return np.zeros((sig.n_channels, len(self._sections(sig)), 2))

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Filter in float64."""
        if self.phase == "linear":
            return linear_phase.filter_linear_phase(x, self._design(sig), state)
        state = state.copy()
        return filter_sections(np.ascontiguousarray(x), self._sections(sig), state), state

    def flush(self, state: State, sig: Signal) -> Audio:
        """What silence after the end pushes out."""
        return self.step(np.zeros((sig.n_channels, self.latency(sig)), np.float32), state, sig)[0]

    def _design(self, sig: Signal) -> linear_phase.LinearPhase:
        if self.cutoff_hz > sig.sr / _LINEAR_PARTS:
            raise ParameterError(
                "cutoff_hz", f"{self.cutoff_hz:g} Hz is over an eighth of {sig.sr} Hz; lower it for linear phase"
            )
        return linear_phase.design_highpass(self.cutoff_hz, self.order, sig.sr)

    def _sections(self, sig: Signal) -> NDArray[np.float64]:
        return _sections(self.cutoff_hz, self.order, sig.sr)


@lru_cache
def _sections(cutoff_hz: float, order: int, sr: int) -> NDArray[np.float64]:
    if cutoff_hz >= sr / 2:
        raise ParameterError("cutoff_hz", f"{cutoff_hz:g} Hz is not under half of {sr} Hz; lower it")
    return butterworth_highpass(cutoff_hz, order, sr)
