"""The law on the spectrum: timbre moves toward (or away from) a reference, loudness stays."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.activity import (
    ACT_ON,
    FADE_S,
    ONSET_S,
    SETTLE_S,
    activity_law,
    frame_weights,
    initial_activity,
)
from corpusdiff.dsp.law import deviation_factor, follow_step, rho_for_tau
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal, Spectrum, State
from corpusdiff.stages.checks import at_least, caps, in_range, one_of
from corpusdiff.stages.spectral import Bins, Spectral, bin_frequencies
from corpusdiff.units import power_to_db

MODES = ("flat", "frame", "running", "profile")

#: Over this many dB the boost of nearly empty bins fades out.
_FADE_DB = 12.0


@dataclass(frozen=True)
class Timbre(Spectral):
    """Scale the deviation of the smoothed log spectrum from a reference by rho**steps, rho = 1 + k.

    The gain per bin is clip((rho**steps - 1) (L - R)) in dB, R shifted so that R - L has no mean over what of the band
    is not empty.

    Parameters
    ----------
    mode : what L and R are. ``frame``: the frame's spectrum and its mean. ``running``: the frame's spectrum and
        the running long-term one. ``flat`` and ``profile``: the track's long-term spectrum (from the first pass,
        else running), and a constant or `profile`
    k, steps : the law's; k per step, at least -1
    profile : reference spectrum for mode ``profile``: [hz, db] pairs, rising in frequency, or the path of a JSON
        file ``{"freqs_hz": [...], "power_db": [...]}``, which is read at once and becomes the pairs
    low_hz, high_hz : band that is changed; None for up to half the rate
    smooth_hz : width of the smoothing along frequency
    floor_db : bins so far under the strongest are empty (a rate that was raised, say) and get no boost
    tau_s : time constant of the running long-term spectrum
    act_on : ``all``; ``speech``: frames that do not stand out of the noise are left as they are, and the running
        spectrum is that of the others; ``noise``: the other way round
    max_boost_db, max_cut_db : bounds of the gain
    n_fft, hop_length : frame and hop in samples
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "timbre"
    path_parameters: ClassVar[tuple[str, ...]] = ("profile",)

    mode: str = "flat"
    k: float = -0.1
    steps: int = 5
    profile: list[list[float]] | str | None = None
    low_hz: float = 80.0
    high_hz: float | None = None
    smooth_hz: float = 300.0
    floor_db: float = 80.0
    tau_s: float = 5.0
    act_on: str = "all"
    max_boost_db: float = 12.0
    max_cut_db: float = 12.0
    n_fft: int = 512
    hop_length: int = 128
    mix: float = 1.0

    def __post_init__(self) -> None:
        self._check_frames()
        deviation_factor(self.k, self.steps)
        one_of("mode", self.mode, MODES)
        one_of("act_on", self.act_on, ACT_ON)
        self._take_profile()
        at_least("low_hz", self.low_hz, 0)
        at_least("high_hz", self.low_hz if self.high_hz is None else self.high_hz, self.low_hz)
        at_least("smooth_hz", self.smooth_hz, 0)
        at_least("floor_db", self.floor_db, 0)
        at_least("tau_s", self.tau_s, 0)
        caps(self.max_boost_db, self.max_cut_db)
        in_range("mix", self.mix, 0, 1)

    def _take_profile(self) -> None:
        if (self.mode == "profile") != (self.profile is not None):
            raise ParameterError("profile", 'goes with mode = "profile": give both or neither')
        if isinstance(self.profile, str):
            object.__setattr__(self, "profile", _read_profile(self.profile))
        if self.profile is not None:
            _check_pairs(self.profile)

    def initial_gain_state(self, sig: Signal) -> State:
        """The running long-term power, (n_bins,) float64: none yet; and what `frame_weights` carries.

        Raises ParameterError for an empty band.
        """
        self._band(sig)
        noise_dbfs = math.nan if sig.measured is None else sig.measured.noise_dbfs
        return np.zeros(self.n_fft // 2 + 1), np.append(initial_activity(noise_dbfs), 0.0)

    def is_fixed(self, sig: Signal) -> bool:
        """The long-term spectrum is known, and the same for all frames."""
        return self.mode in {"flat", "profile"} and sig.measured is not None and self.act_on == "all"

    def gains(self, power: Bins, state: State, sig: Signal) -> tuple[Bins, State]:
        """See the class."""
        before, activity = state
        weights, wanted, activity = self._weights(power, activity, sig)
        if self.mode == "frame":
            return self._moved(self._smooth(power_to_db(power), sig), None, weights, sig), (before, activity)
        if self.mode == "running":
            long_term, after = self._running(power, before, wanted, sig)
            return self._moved(self._smooth(power_to_db(power), sig), long_term, weights, sig), (after, activity)
        reference = self._profile_at(sig) if self.profile is not None else None
        if sig.measured is not None:
            measured = sig.measured.spectrum.at(bin_frequencies(self.n_fft, sig.sr))[None]
            return self._moved(self._smooth(measured, sig), reference, weights, sig), (before, activity)
        long_term, after = self._running(power, before, wanted, sig)
        return self._moved(long_term, reference, weights, sig), (after, activity)

    def _weights(
        self, power: Bins, activity: NDArray[np.float64], sig: Signal
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_], NDArray[np.float64]]:
        """How much is done to each frame (None: all of it), which ones are meant, and what is carried on."""
        if self.act_on == "all":
            return None, np.ones(len(power), np.bool_), activity
        activity = activity.copy()
        dt = self.hop_length / sig.sr
        scale = 2.0 / (self.hop_length * self.n_fft)  # the squares of the window add up to a hop
        is_on_speech = self.act_on == "speech"
        settle_s = SETTLE_S + self.n_fft / sig.sr  # the first frames begin before the track
        law = activity_law(dt, onset_s=ONSET_S if is_on_speech else 0.0, settle_s=settle_s)
        return *frame_weights(power, scale, activity, law, rho_for_tau(FADE_S, dt), is_on_speech), activity

    def _moved(
        self,
        L: NDArray[np.float64],
        R: NDArray[np.float64] | None,
        weights: NDArray[np.float64] | None,
        sig: Signal,
    ) -> Bins:
        """Gains of smoothed levels `L` (n_frames, n_bins) dB toward `R` dB, None for a constant."""
        low, high = self._band(sig)
        deviation = L[:, low:high] if R is None else L[:, low:high] - R[:, low:high]
        above = np.clip((L - L.max(axis=1, keepdims=True) + self.floor_db) / _FADE_DB, 0.0, 1.0)
        heard = above[:, low:high] + 1e-9  # what is empty says nothing of the band's mean
        mean = (deviation * heard).sum(axis=1, keepdims=True) / heard.sum(axis=1, keepdims=True)
        gain_db = np.zeros_like(L)
        gain_db[:, low:high] = (deviation_factor(self.k, self.steps) - 1.0) * (deviation - mean)
        np.clip(gain_db, -self.max_cut_db, self.max_boost_db, out=gain_db)
        np.multiply(gain_db, above, out=gain_db, where=gain_db > 0)
        if weights is not None:
            gain_db = gain_db * weights[:, None]
        return np.exp(gain_db * _NEPER_PER_DB).astype(np.float32)

    def _smooth(self, level_db: NDArray[np.float64], sig: Signal) -> NDArray[np.float64]:
        """Mean over `smooth_hz` around each bin, fewer bins at the ends."""
        half = int(self.smooth_hz * self.n_fft / sig.sr / 2)
        return _moving_mean(level_db, half) if half else level_db

    def _running(
        self, power: Bins, before: NDArray[np.float64], wanted: NDArray[np.bool_], sig: Signal
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smoothed long-term level in dB after each frame; too low at first, by a common factor without effect."""
        long_term = _follow(power, before, wanted, rho_for_tau(self.tau_s, self.hop_length / sig.sr))
        return self._smooth(power_to_db(long_term), sig), long_term[-1].copy()

    def _profile_at(self, sig: Signal) -> NDArray[np.float64]:
        pairs = np.array(self.profile, np.float64)
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


def _read_profile(path: str) -> list[list[float]]:
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        return [[float(hz), float(db)] for hz, db in zip(document["freqs_hz"], document["power_db"], strict=True)]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ParameterError(
            "profile", f'{path}: expected a JSON file {{"freqs_hz": [...], "power_db": [...]}}: {error!r}'
        ) from error


def _check_pairs(profile: object) -> None:
    try:
        pairs = np.array(profile, np.float64)
    except (ValueError, TypeError) as error:
        raise ParameterError("profile", f"expected [[hz, db], ...]: {error}") from error
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all() or not (np.diff(pairs[:, 0]) > 0).all():
        raise ParameterError("profile", "expected [[hz, db], ...], finite, with rising frequencies")


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
def _follow(power: Bins, start: NDArray[np.float64], wanted: NDArray[np.bool_], r: float) -> NDArray[np.float64]:
    """The law toward the power of each wanted frame, bin by bin: (n_frames, n_bins) float64 after each frame."""
    n_frames, n_bins = power.shape
    followed = np.empty((n_frames, n_bins))
    before = start
    for i in range(n_frames):
        for j in range(n_bins):
            followed[i, j] = follow_step(before[j], power[i, j], r, r) if wanted[i] else before[j]
        before = followed[i]
    return followed
