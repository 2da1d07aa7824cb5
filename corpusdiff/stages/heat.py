"""The heat equation along frequency."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp.law import heat_multiplier
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal, State
from corpusdiff.stages.checks import caps, finite, in_range, whole
from corpusdiff.stages.spectral import Bins, Spectral
from corpusdiff.units import db_to_amplitude

#: Power that silent bins are given, so that a ratio of powers is finite.
_FLOOR = 1e-20


@dataclass(frozen=True)
class Heat(Spectral):
    """Each frame's power spectrum moves toward (or away from) the mean of its neighbouring bins.

    The law with A0 = (A[m-1] + A[m+1])/2 and k = -2D at every bin, all `steps` at once in the cosine basis
    (`corpusdiff.dsp.law.heat_multiplier`). An effect: it blurs harmonics (or sharpens them, D < 0) and helps
    neither recognition nor size.

    Parameters
    ----------
    diffusivity_hz2 : D in Hz^2 per step; at most a quarter of the squared bin width; negative sharpens. All steps
        together blur by sqrt(2 D steps) Hz (standard deviation)
    steps : number of steps
    max_multiplier : bound of what sharpening does to a cosine of the spectrum
    max_boost_db, max_cut_db : bounds of the gain per bin
    n_fft, hop_length : frame and hop in samples
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "heat"

    diffusivity_hz2: float = 50.0
    steps: int = 40
    max_multiplier: float = 10.0
    max_boost_db: float = 12.0
    max_cut_db: float = 12.0
    n_fft: int = 512
    hop_length: int = 128
    mix: float = 1.0

    def __post_init__(self) -> None:
        self._check_frames()
        finite("diffusivity_hz2", self.diffusivity_hz2)
        whole("steps", self.steps, 0)
        in_range("max_multiplier", self.max_multiplier, 1, 1e6)
        caps(self.max_boost_db, self.max_cut_db)
        in_range("mix", self.mix, 0, 1)

    def initial_gain_state(self, sig: Signal) -> State:
        """Nothing is carried. Raises ParameterError for a diffusivity that is too high for the bins."""
        self._multiplier(sig)

    def gains(self, power: Bins, state: State, sig: Signal) -> tuple[Bins, State]:
        """Root of new power over old."""
        import scipy.fft

        before = power.astype(np.float64) + _FLOOR
        cosines = scipy.fft.dct(before, type=1, axis=-1) * self._multiplier(sig)
        after = scipy.fft.idct(cosines, type=1, axis=-1)
        ratio = np.sqrt(np.maximum(after, 0.0) / before)
        gain = np.clip(ratio, db_to_amplitude(-self.max_cut_db), db_to_amplitude(self.max_boost_db))
        return gain.astype(np.float32), state

    def _multiplier(self, sig: Signal) -> NDArray[np.float64]:
        width_hz = sig.sr / self.n_fft
        d = self.diffusivity_hz2 / width_hz**2
        if d > 0.25:
            raise ParameterError(
                "diffusivity_hz2",
                f"got {self.diffusivity_hz2:g}; over {width_hz**2 / 4:g} a step overshoots the mean of the "
                f"neighbours (bins of {width_hz:g} Hz): give less and more steps",
            )
        return _multiplier(d, self.steps, self.n_fft // 2 + 1, self.max_multiplier)


@lru_cache
def _multiplier(d: float, steps: int, n_bins: int, most: float) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return np.minimum(heat_multiplier(d, steps, n_bins), most)
