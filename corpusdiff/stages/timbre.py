"""The law on the spectrum: timbre moves toward (or away from) a reference, loudness stays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.law import rho, rho_for_tau
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal, Spectrum, State
from corpusdiff.stages.checks import at_least, in_range
from corpusdiff.stages.spectral import Bins, Spectral, bin_frequencies
from corpusdiff.units import power_to_db

MODES = ("flat", "frame", "running", "profile")

#: Over this many dB the boost of nearly empty bins fades out.
_FADE_DB = 12.0


class _State(NamedTuple):
    """The running long-term power, (n_bins,) float64, not yet corrected for its start, and its weight."""

    power: NDArray[np.float64]
    weight: float


@dataclass(frozen=True)
class Timbre(Spectral):
    """Scale the deviation of the smoothed log spectrum from a reference by rho**steps, rho = 1 + k.

    The gain per bin is clip((rho**steps - 1) (L - R)) in dB, R shifted so that R - L has no mean over the band.

    Parameters
    ----------
    mode : what L and R are. ``frame``: the frame's spectrum and its mean. ``running``: the frame's spectrum and
        the running long-term one. ``flat`` and ``profile``: the track's long-term spectrum (from the first pass,
        else running), and a constant or `profile`
    k, steps : the law's; k per step, at least -1
    profile : [hz, db] pairs of a reference spectrum, rising in frequency; only for mode ``profile``
    low_hz, high_hz : band that is changed; None for up to half the rate
    smooth_hz : width of the smoothing along frequency
    floor_db : bins so far under the strongest are empty (a rate that was raised, say) and get no boost
    tau_s : time constant of the running long-term spectrum
    max_boost_db, max_cut_db : bounds of the gain
    n_fft, hop_length : frame and hop in samples
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "timbre"

    mode: str = "flat"
    k: float = -0.1
    steps: int = 5
    profile: list[list[float]] | None = None
    low_hz: float = 80.0
    high_hz: float | None = None
    smooth_hz: float = 300.0
    floor_db: float = 80.0
    tau_s: float = 5.0
    max_boost_db: float = 12.0
    max_cut_db: float = 12.0
    n_fft: int = 512
    hop_length: int = 128
    mix: float = 1.0

    def __post_init__(self) -> None:
        self._check_frames()
        rho(self.k)
        if self.mode not in MODES:
            raise ParameterError("mode", f"got {self.mode!r}; give one of {', '.join(MODES)}")
        self._check_profile()
        at_least("steps", self.steps, 0)
        at_least("low_hz", self.low_hz, 0)
        at_least("high_hz", self.high_hz or self.low_hz, self.low_hz)
        at_least("smooth_hz", self.smooth_hz, 0)
        at_least("floor_db", self.floor_db, 0)
        at_least("tau_s", self.tau_s, 0)
        at_least("max_boost_db", self.max_boost_db, 0)
        at_least("max_cut_db", self.max_cut_db, 0)
        in_range("mix", self.mix, 0, 1)

    def _check_profile(self) -> None:
        if (self.mode == "profile") != (self.profile is not None):
            raise ParameterError("profile", 'goes with mode = "profile": give both or neither')
        if self.profile is not None:
            pairs = np.asarray(self.profile, np.float64)
            if pairs.ndim != 2 or pairs.shape[1] != 2 or not (np.diff(pairs[:, 0]) > 0).all():
                raise ParameterError("profile", "expected [[hz, db], ...] with rising frequencies")

    def initial_gain_state(self, sig: Signal) -> State:
        """No spectrum yet."""
        self._band(sig)
        return _State(np.zeros(self.n_fft // 2 + 1), 0.0)

    def gains(self, power: Bins, state: State, sig: Signal) -> tuple[Bins, State]:
        """See the class."""
        if self.mode == "frame":
            return self._moved(self._smooth(power_to_db(power), sig), None, sig), state
        if self.mode == "running":
            long_term, state = self._running(power, state, sig)
            return self._moved(self._smooth(power_to_db(power), sig), long_term, sig), state
        reference = self._profile_at(sig) if self.profile is not None else None
        if sig.measured is not None:
            measured = sig.measured.spectrum.at(bin_frequencies(self.n_fft, sig.sr))[None]
            gain = self._moved(self._smooth(measured, sig), reference, sig)
            return np.broadcast_to(gain, power.shape), state
        long_term, state = self._running(power, state, sig)
        return self._moved(long_term, reference, sig), state

    def _moved(self, L: NDArray[np.float64], R: NDArray[np.float64] | None, sig: Signal) -> Bins:
        """Gains of smoothed levels `L` (n_frames, n_bins) dB toward `R` dB, None for a constant."""
        low, high = self._band(sig)
        deviation = L[:, low:high] if R is None else L[:, low:high] - R[:, low:high]
        gain_db = np.zeros_like(L)
        scale = rho(self.k) ** self.steps - 1.0
        gain_db[:, low:high] = scale * (deviation - deviation.mean(axis=1, keepdims=True))
        np.clip(gain_db, -self.max_cut_db, self.max_boost_db, out=gain_db)
        above = (L - L.max(axis=1, keepdims=True) + self.floor_db) / _FADE_DB
        gain_db[gain_db > 0] *= np.clip(above, 0.0, 1.0)[gain_db > 0]
        return np.exp(gain_db * _NEPER_PER_DB).astype(np.float32)

    def _smooth(self, level_db: NDArray[np.float64], sig: Signal) -> NDArray[np.float64]:
        """Mean over `smooth_hz` around each bin, fewer bins at the ends."""
        half = int(self.smooth_hz * self.n_fft / sig.sr / 2)
        return _moving_mean(level_db, half) if half else level_db

    def _running(self, power: Bins, state: _State, sig: Signal) -> tuple[NDArray[np.float64], _State]:
        """Smoothed long-term level after each frame, in dB: the law's follower, its start corrected."""
        r = rho_for_tau(self.tau_s, self.hop_length / sig.sr)
        long_term, total, weight = _long_term(power, state.power, state.weight, r)
        return self._smooth(power_to_db(long_term), sig), _State(total, weight)

    def _profile_at(self, sig: Signal) -> NDArray[np.float64]:
        pairs = np.asarray(self.profile, np.float64)
        spectrum = Spectrum(pairs[:, 0], pairs[:, 1])
        return self._smooth(spectrum.at(bin_frequencies(self.n_fft, sig.sr))[None], sig)

    def _band(self, sig: Signal) -> tuple[int, int]:
        """First bin of the band, and the one after its last."""
        freqs = bin_frequencies(self.n_fft, sig.sr)
        low = int(np.searchsorted(freqs, self.low_hz))
        high = len(freqs) if self.high_hz is None else int(np.searchsorted(freqs, self.high_hz, "right"))
        if high <= low:
            raise ParameterError("low_hz", f"got {self.low_hz:g}; no bin of a {sig.sr} Hz track lies in the band")
        return low, high


_NEPER_PER_DB = np.log(10.0) / 20.0


@njit(cache=True, nogil=True)
def _moving_mean(x: NDArray[np.float64], half: int) -> NDArray[np.float64]:
    """(n, n_bins) float64: means over 2*half + 1 bins, summed afresh in each row so that rows are independent."""
    n_rows, n_bins = x.shape
    y = np.empty_like(x)
    for i in range(n_rows):
        total = 0.0
        for j in range(min(half, n_bins)):
            total += x[i, j]
        for j in range(n_bins):
            if j + half < n_bins:
                total += x[i, j + half]
            if j - half - 1 >= 0:
                total -= x[i, j - half - 1]
            y[i, j] = total / (min(j + half, n_bins - 1) - max(j - half, 0) + 1)
    return y


@njit(cache=True, nogil=True)
def _long_term(
    power: Bins, total: NDArray[np.float64], weight: float, r: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Weighted mean power after each frame; the weights fall by `r` per frame of age and add up to one."""
    n_frames, n_bins = power.shape
    means = np.empty((n_frames, n_bins))
    total = total.copy()
    for i in range(n_frames):
        weight = r * weight + (1.0 - r)
        for j in range(n_bins):
            total[j] = r * total[j] + (1.0 - r) * power[i, j]
            means[i, j] = total[j] / weight
    return means, total, weight
