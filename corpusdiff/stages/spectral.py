"""Stages that multiply short-time spectra. Neighbours with one window and hop share one transform.

Fusion defines the result: one analysis, each stage sees the spectrum as the one before left it, one
synthesis. With G the product of the stages' mixed gains, y = x delayed + ISTFT((G - 1) X), so that G = 1 is
the exact identity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff import costs
from corpusdiff.dsp import stft
from corpusdiff.dsp.spectrum import mean_power
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import whole

#: (n_frames, n_bins) float32.
Bins = NDArray[np.float32]


@runtime_checkable
class SpectralGain(Protocol):
    """What a spectral stage adds to `Spectral`: gains for power spectra."""

    name: ClassVar[str]
    n_fft: int
    hop_length: int
    mix: float

    def is_fixed(self, sig: Signal) -> bool:
        """Whether the gains depend on neither the frame nor the state."""
        ...

    def initial_gain_state(self, sig: Signal) -> State:
        """State before the first frame."""
        ...

    def gains(self, power: Bins, state: State, sig: Signal) -> tuple[Bins, State]:
        """Amplitude gains of frames.

        `power` is (n_frames, n_bins) float32, the channels' mean power. The gains have its shape, or are
        (1, n_bins) where they are the same for all frames.
        """
        ...


@dataclass(frozen=True)
class Fused:
    """Spectral stages over one transform.

    Parameters
    ----------
    parts : at least one, all of one n_fft and hop_length
    """

    name: ClassVar[str] = "fused"

    parts: tuple[SpectralGain, ...]

    @property
    def n_fft(self) -> int:
        """Length of a frame."""
        return self.parts[0].n_fft

    @property
    def hop_length(self) -> int:
        """Distance of two frames."""
        return self.parts[0].hop_length

    def latency(self, sig: Signal) -> int:
        """A frame less one sample."""
        return self.n_fft - 1

    def period(self, sig: Signal) -> int:
        """A hop, or as many of them as its parts count."""
        counts = (getattr(part, "frame_period", None) for part in self.parts)
        return self.hop_length * math.lcm(*(count(sig) for count in counts if count is not None))

    def initial_state(self, sig: Signal) -> State:
        """The transform's state, the parts', and what is added to every frame where the gains are fixed."""
        gains = tuple(part.initial_gain_state(sig) for part in self.parts)
        fixed = None
        if all(part.is_fixed(sig) for part in self.parts):
            fixed, _ = _change(self.parts, np.zeros((1, self.n_fft // 2 + 1), np.float32), gains, sig)
        return stft.initial(sig.n_channels, self.n_fft), gains, fixed

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Transform, multiply, transform back."""
        change = _Change(self.parts, state[1], state[2], sig)
        y, transform = stft.process(x, state[0], self.n_fft, self.hop_length, change)
        return y, (transform, change.states, state[2])

    def flush(self, state: State, sig: Signal) -> Audio:
        """What silence after the end pushes out."""
        return stft.flush(state[0], self.n_fft, self.hop_length, _Change(self.parts, state[1], state[2], sig))


class Spectral:
    """Base of spectral stages: alone, each is a fusion of one."""

    n_fft: int
    hop_length: int

    def latency(self, sig: Signal) -> int:
        """A frame less one sample."""
        return self._alone().latency(sig)

    def period(self, sig: Signal) -> int:
        """See `Fused`."""
        return self._alone().period(sig)

    def initial_state(self, sig: Signal) -> State:
        """See `Fused`."""
        return self._alone().initial_state(sig)

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """See `Fused`."""
        return self._alone().step(x, state, sig)

    def flush(self, state: State, sig: Signal) -> Audio:
        """See `Fused`."""
        return self._alone().flush(state, sig)

    def is_fixed(self, sig: Signal) -> bool:
        """Whether the gains depend on neither the frame nor the state; a stage that knows so may say so."""
        return False

    def _alone(self) -> Fused:
        return Fused((self,))  # type: ignore[arg-type]  # a subclass has the gains

    def _check_frames(self) -> None:
        whole("n_fft", self.n_fft, 8)
        if self.n_fft % 2:
            raise ParameterError("n_fft", f"got {self.n_fft}; give an even number of samples")
        whole("hop_length", self.hop_length, 1)
        if self.n_fft % self.hop_length or self.n_fft // self.hop_length < 2:
            raise ParameterError(
                "hop_length", f"got {self.hop_length}; give a half, a third, a quarter ... of n_fft = {self.n_fft}"
            )


class _Change:
    """The parts' gains on the frames of one block; their states move along."""

    def __init__(
        self, parts: tuple[SpectralGain, ...], states: tuple[Any, ...], fixed: Bins | None, sig: Signal
    ) -> None:
        self._parts = parts
        self.states = states
        self._fixed = fixed
        self._sig = sig

    def __call__(self, spectra: stft.Frames) -> stft.Frames | None:
        change = self._fixed
        if change is None:
            change, self.states = _change(self._parts, mean_power(spectra), self.states, self._sig)
        return _scaled(spectra, change) if change.any() else None


def _change(
    parts: tuple[SpectralGain, ...], power: Bins, states: tuple[Any, ...], sig: Signal
) -> tuple[Bins, tuple[Any, ...]]:
    """Product of the parts' mixed gains less one, each part hearing what the one before left; the next states."""
    factors: list[Bins] = []
    following = []
    for part, before in zip(parts, states, strict=True):
        with costs.part(f"stage {part.name}"):
            gain, after = part.gains(power, before, sig)
        following.append(after)
        factor = gain - 1
        factor *= np.float32(part.mix)
        factor += 1
        factors.append(factor)
        if len(factors) < len(parts):
            power = power * np.square(factor)
    change = reduce(np.multiply, factors)
    change -= 1
    return change, tuple(following)


def _scaled(spectra: stft.Frames, change: Bins) -> stft.Frames:
    """Spectra times (n_frames or 1, n_bins) factors, in place."""
    _scale(spectra.view(np.float32), change)
    return spectra


@njit(cache=True, nogil=True, error_model="numpy")
def _scale(parts: NDArray[np.float32], change: Bins) -> None:
    """`parts` (n_channels, n_frames, 2 n_bins) holds real and imaginary parts in turn."""
    for c in range(len(parts)):
        for i in range(parts.shape[1]):
            frame, factors = parts[c, i], change[i if len(change) > 1 else 0]
            for j in range(factors.size):
                frame[2 * j] *= factors[j]
                frame[2 * j + 1] *= factors[j]


def bin_frequencies(n_fft: int, sr: int) -> NDArray[np.float64]:
    """(n_fft // 2 + 1,) Hz."""
    return np.arange(n_fft // 2 + 1, dtype=np.float64) * (sr / n_fft)
