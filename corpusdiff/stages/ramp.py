"""The law on the gain itself: the article's time diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from corpusdiff.dsp.law import closed_form, rho
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import caps, finite, in_range, whole
from corpusdiff.units import db_to_amplitude


@dataclass(frozen=True)
class Ramp:
    """Gain A[n]/A[0], where A moves away from or toward A0 at every sample; held after `steps`.

    With A0 = 0 the gain is rho**n: k = 0.01 at 8 kHz doubles after 554 518.09 samples. From A[0] = A0 nothing
    ever moves. The one stage that may raise what lies under the noise floor.

    Parameters
    ----------
    k : 1/s; at least minus the sampling rate
    a_ref : A0
    a_init : A[0], over 0; equal to A0 it never moves
    steps : samples after which the gain is held; None for never
    max_boost_db, max_cut_db : bounds of the gain
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "ramp"

    k: float = 0.01
    a_ref: float = 0.0
    a_init: float = 1.0
    steps: int | None = None
    max_boost_db: float = 20.0
    max_cut_db: float = 20.0
    mix: float = 1.0

    def __post_init__(self) -> None:
        finite("k", self.k)
        finite("a_ref", self.a_ref)
        finite("a_init", self.a_init)
        if self.a_init <= 0:
            raise ParameterError("a_init", f"got {self.a_init:g}; the gain is A[n]/A[0]: give more than 0")
        if self.steps is not None:
            whole("steps", self.steps, 0)
        caps(self.max_boost_db, self.max_cut_db)
        in_range("mix", self.mix, 0, 1)

    def latency(self, sig: Signal) -> int:
        """None."""
        return 0

    def initial_state(self, sig: Signal) -> State:
        """Number of samples so far."""
        rho(self.k, 1.0 / sig.sr)
        return 0

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Closed form at every sample, so that no error builds up and splits are exact."""
        n = np.arange(state, state + x.shape[1])
        if self.steps is not None:
            n = np.minimum(n, self.steps)
        ratio = closed_form(n, self.a_init, self.a_ref, rho(self.k, 1.0 / sig.sr)) / self.a_init
        gain = np.clip(ratio, db_to_amplitude(-self.max_cut_db), db_to_amplitude(self.max_boost_db))
        return x * (1.0 + self.mix * (gain - 1.0)).astype(np.float32), state + x.shape[1]

    def flush(self, state: State, sig: Signal) -> Audio:
        """Nothing is left."""
        return np.zeros((sig.n_channels, 0), np.float32)
