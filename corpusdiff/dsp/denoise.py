"""A noise floor per bin by the law, and gains that take the noise down.

The floor moves toward each frame's power by the law with the probability that the frame holds no speech as its rate,
N[t] = N[t-1] + (1 - rho) (1 - p) (|Y|^2 - N[t-1]), where p is the posterior of speech at a fixed a-priori
signal-to-noise ratio and prior (T. Gerkmann and R. Hendriks, Unbiased MMSE-based noise power estimation with low
complexity and low tracking delay, 2012, eqs. 18 and 22 to 25).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.fastmath import exp_row, log_row
from corpusdiff.dsp.lsa import lsa_row

_F = np.float32
_ONE = _F(1.0)

#: Where speech has been this probable for long, the floor is stuck, and the probability is held under it.
_STUCK = _F(0.99)

#: Power per bin that is digital silence: nothing is learnt from such frames, and no floor is lower.
SILENCE = 1e-12
_SILENCE = _F(SILENCE)

#: Signal-to-noise ratios are kept under this.
_MOST = _F(1e8)

_NEPER = _F(np.log(10.0) / 20.0)


class NoiseState(NamedTuple):
    """What is carried from frame to frame.

    Parameters
    ----------
    noise : (n_bins,) float64, power of the floor
    presence : (n_bins,) float64, smoothed probability of speech
    lowest : (3, n_bins) float64: smoothed power, and its minimum in this stretch and in the last
    clean : (n_bins,) float32, power of the speech as the last frame's first gain left it
    n_heard : frames that were no silence, counted until the first floor is known
    clock : frames to go in this stretch, whether heard or not
    """

    noise: NDArray[np.float64]
    presence: NDArray[np.float64]
    lowest: NDArray[np.float64]
    clean: NDArray[np.float32]
    n_heard: int
    clock: int


class Tracking(NamedTuple):
    """How the floor is found.

    Parameters
    ----------
    n_skip : frames at the start that reach back before the track
    n_first : frames after them whose mean is the first floor
    rho : the law's factor per frame where there is no speech
    presence_rho : of the smoothed probability of speech
    prior_snr : a-priori signal-to-noise ratio (of powers) of a bin that holds speech
    smooth_rho : of the power whose minimum bounds the floor
    n_stretch : frames in a stretch over which the minimum is taken
    most_over_lowest : the floor is at most so many times that minimum. What was speech from the start, or was taken
        for noise, is so corrected at the next short pause; in noise alone the bound is out of reach
    """

    n_skip: int
    n_first: int
    rho: float
    presence_rho: float
    prior_snr: float
    smooth_rho: float
    n_stretch: int
    most_over_lowest: float


class Gains(NamedTuple):
    """How the gains are found.

    Parameters
    ----------
    prior_rho : weight of the last frame's speech in the a-priori signal-to-noise ratio
    floor : least amplitude gain
    weighted : the gain is floor (G / floor)^p, p the probability of speech, and not G
    """

    prior_rho: float
    floor: float
    weighted: bool


def initial(n_bins: int, tracking: Tracking) -> NoiseState:
    """The state before the first frame."""
    noise, presence, lowest = np.zeros(n_bins), np.zeros(n_bins), np.full((3, n_bins), np.inf)
    clock = tracking.n_stretch + tracking.n_skip % tracking.n_stretch
    return NoiseState(noise, presence, lowest, np.zeros(n_bins, np.float32), 0, clock)


def statistical_gains(
    power: NDArray[np.float32], state: NoiseState, tracking: Tracking, gains: Gains
) -> tuple[NDArray[np.float32], NoiseState]:
    """Amplitude gains of the log-spectral amplitude estimator, (n_frames, n_bins), and the next state.

    The a-priori ratio is decision-directed (Ephraim and Malah 1984, eq. 51), then taken once more from what the gain
    that follows from it leaves, which removes its delay of one frame (C. Plapous, C. Marro and P. Scalart, Improved
    signal-to-noise ratio estimation for speech enhancement, 2006, eqs. 17 to 19). Weighted by the probability of
    speech as I. Cohen and B. Berdugo, Speech enhancement for non-stationary noise environments, 2001, eq. 16, with a
    fixed prior of one half.
    """
    noise, presence, clean = state.noise.copy(), state.presence.copy(), state.clean.copy()
    lowest = state.lowest.copy()
    out = np.empty(power.shape, np.float32)
    counts = _statistical(power, noise, presence, lowest, clean, state[4:], tracking, gains, out)
    return out, NoiseState(noise, presence, lowest, clean, *counts)


def expander_gains(
    power: NDArray[np.float32], state: NoiseState, tracking: Tracking, k: float, threshold_db: float, max_cut_db: float
) -> tuple[NDArray[np.float32], NoiseState]:
    """The law on each bin's level over the floor: clip(k (SNR - threshold), -max_cut, 0) dB, and the next state."""
    noise, presence, lowest = state.noise.copy(), state.presence.copy(), state.lowest.copy()
    out = np.empty(power.shape, np.float32)
    counts = _expand(power, noise, presence, lowest, state[4:], tracking, k, threshold_db, max_cut_db, out)
    return out, NoiseState(noise, presence, lowest, state.clean, *counts)


@njit(cache=True, nogil=True, error_model="numpy")
def _is_silent(power: NDArray[np.float32]) -> bool:
    """Whether a frame's mean power is digital silence; one bin that is loud enough for all says no at once."""
    least = SILENCE * power.size
    for j in range(power.size):
        if power[j] >= least:
            return False
    total = 0.0
    for j in range(power.size):
        total += power[j]
    return total < least


@njit(cache=True, nogil=True, error_model="numpy")
def _track(
    power: NDArray[np.float32],
    noise: NDArray[np.float64],
    presence: NDArray[np.float64],
    lowest: NDArray[np.float64],
    counts: tuple[int, int],
    tracking: Tracking,
    rows: NDArray[np.float32],
    bits: NDArray[np.int32],
) -> tuple[int, int]:
    """Move the floor on by one frame, in place; the next counts of frames, see `NoiseState`."""
    n_heard, clock = counts
    clock = clock - 1 if clock > 1 else tracking.n_stretch
    is_turn = clock == tracking.n_stretch
    if _is_silent(power):
        return n_heard, clock
    n_full = n_heard + 1 - tracking.n_skip
    if n_full <= tracking.n_first:
        for j in range(power.size):
            noise[j] += (power[j] - noise[j]) / max(1, n_full)
            lowest[0, j] = lowest[1, j] = noise[j]
        return n_heard + 1, clock
    for j in range(power.size):
        lowest[0, j] = tracking.smooth_rho * lowest[0, j] + (1.0 - tracking.smooth_rho) * power[j]
        lowest[1, j] = min(lowest[1, j], lowest[0, j])
    if is_turn:
        lowest[2] = lowest[1]
        lowest[1] = lowest[0]
    slope = _F(tracking.prior_snr / (1.0 + tracking.prior_snr))
    odds = _F(1.0 + tracking.prior_snr)
    for j in range(power.size):
        rows[0, j] = -slope * min(power[j] / max(_F(noise[j]), _SILENCE), _MOST)
    exp_row(rows[0], rows[1], bits[1])
    for j in range(power.size):
        p = _ONE / (_ONE + odds * rows[1, j])
        presence[j] = tracking.presence_rho * presence[j] + (1.0 - tracking.presence_rho) * p
        p = min(p, _STUCK) if presence[j] > _STUCK else p
        noise[j] += (1.0 - tracking.rho) * (1.0 - p) * (power[j] - noise[j])
        noise[j] = min(noise[j], tracking.most_over_lowest * min(lowest[1, j], lowest[2, j]))
    return n_heard, clock


@njit(cache=True, nogil=True, error_model="numpy")
def _statistical(
    power: NDArray[np.float32],
    noise: NDArray[np.float64],
    presence: NDArray[np.float64],
    lowest: NDArray[np.float64],
    clean: NDArray[np.float32],
    counts: tuple[int, int],
    tracking: Tracking,
    how: Gains,
    out: NDArray[np.float32],
) -> tuple[int, int]:
    """Gains of frames; the states move along in place."""
    n_frames, n_bins = power.shape
    rows = np.empty((5, n_bins), np.float32)
    bits = rows.view(np.int32)
    gamma, xi, fade = rows[2], rows[3], rows[4]
    rho, floor = _F(how.prior_rho), _F(how.floor)
    least = floor * floor
    for i in range(n_frames):
        gain = out[i]
        counts = _track(power[i], noise, presence, lowest, counts, tracking, rows, bits)
        for j in range(n_bins):
            inverse = _ONE / max(_F(noise[j]), _SILENCE)
            gamma[j] = min(power[i, j] * inverse, _MOST)
            before = min(clean[j] * inverse, _MOST)
            xi[j] = max(rho * before + (_ONE - rho) * max(gamma[j] - _ONE, _F(0.0)), least)
        lsa_row(xi, gamma, gain, fade, rows[0], bits[0])
        for j in range(n_bins):
            first = max(gain[j], floor)
            clean[j] = first * first * power[i, j]
            xi[j] = max(gain[j] * gain[j] * gamma[j], least)
        lsa_row(xi, gamma, gain, fade, rows[0], bits[0])
        for j in range(n_bins):
            gain[j] = max(gain[j], floor)
        if how.weighted:
            _weigh(gain, xi, fade, floor, rows, bits)
    return counts


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(
    gain: NDArray[np.float32],
    xi: NDArray[np.float32],
    fade: NDArray[np.float32],
    floor: np.float32,
    rows: NDArray[np.float32],
    bits: NDArray[np.int32],
) -> None:
    """floor (gain / floor)^p in place, p = 1 / (1 + (1 + xi) exp(-v))."""
    for j in range(gain.size):
        rows[0, j] = gain[j] / floor
    log_row(rows[0], bits[0], rows[1], bits[1])
    for j in range(gain.size):
        rows[0, j] = rows[1, j] / (_ONE + (_ONE + xi[j]) * fade[j])
    exp_row(rows[0], rows[1], bits[1])
    for j in range(gain.size):
        gain[j] = min(max(floor * rows[1, j], floor), _ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def _expand(
    power: NDArray[np.float32],
    noise: NDArray[np.float64],
    presence: NDArray[np.float64],
    lowest: NDArray[np.float64],
    counts: tuple[int, int],
    tracking: Tracking,
    k: float,
    threshold_db: float,
    max_cut_db: float,
    out: NDArray[np.float32],
) -> tuple[int, int]:
    """Gains of frames; the states move along in place."""
    n_frames, n_bins = power.shape
    rows = np.empty((2, n_bins), np.float32)
    bits = rows.view(np.int32)
    slope, offset, least = _F(0.5 * k), _F(k * threshold_db) * _NEPER, -_F(max_cut_db) * _NEPER
    for i in range(n_frames):
        counts = _track(power[i], noise, presence, lowest, counts, tracking, rows, bits)
        for j in range(n_bins):
            rows[0, j] = min(max(power[i, j] / max(_F(noise[j]), _SILENCE), _SILENCE), _MOST)
        log_row(rows[0], bits[0], rows[1], bits[1])
        for j in range(n_bins):
            rows[0, j] = min(max(slope * rows[1, j] - offset, least), _F(0.0))
        exp_row(rows[0], rows[1], bits[1])
        for j in range(n_bins):
            out[i, j] = rows[1, j]
    return counts
