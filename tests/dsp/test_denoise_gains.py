"""The tracked floor and the gains over it, against slow and obvious ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import exp1

from corpusdiff.dsp.denoise import Gains, Tracking, expander_gains, initial, statistical_gains

TRACKING = Tracking(
    n_skip=3,
    n_first=10,
    rho=0.97,
    presence_rho=0.95,
    prior_snr=10**1.2,
    smooth_rho=0.9,
    n_stretch=60,
    most_over_lowest=4.0,
)
N_BINS = 65


def frames(n, seed=0):
    """Powers of noise of 0.01 with speech-like bursts 20 dB over it."""
    rng = np.random.default_rng(seed)
    power = 0.01 * rng.exponential(size=(n, N_BINS))
    power[n // 3 : n // 2, 10:20] *= 100
    return power.astype(np.float32)


def slow_floor(power):
    """The floor after each frame, frame by frame in float64."""
    noise, presence, result = np.zeros(N_BINS), np.zeros(N_BINS), []
    smooth: list[np.ndarray] = []
    for i, frame in enumerate(power.astype(float)):
        n_full = i + 1 - TRACKING.n_skip
        if n_full <= TRACKING.n_first:
            noise = noise + (frame - noise) / max(1, n_full)
            smooth = [noise]
        else:
            snr = TRACKING.prior_snr
            p = 1 / (1 + (1 + snr) * np.exp(-snr / (1 + snr) * frame / noise))
            presence = 0.95 * presence + 0.05 * p
            p = np.where(presence > 0.99, np.minimum(p, 0.99), p)
            noise = noise + (1 - TRACKING.rho) * (1 - p) * (frame - noise)  # the law, k = -(1 - rho) (1 - p)
            smooth.append(0.9 * smooth[-1] + 0.1 * frame)
            stretch = n_full // TRACKING.n_stretch - 1
            start = max(stretch * TRACKING.n_stretch - TRACKING.n_first, 0)
            noise = np.minimum(noise, 4 * np.min(smooth[start:], axis=0))
        result.append(noise)
    return np.array(result)


def slow_gains(power, how):
    """Two-step log-spectral amplitude gains with SciPy's exponential integral."""
    clean, result = np.zeros(N_BINS), []
    for frame, noise in zip(power.astype(float), slow_floor(power), strict=True):
        gamma = frame / noise
        xi = how.prior_rho * clean / noise + (1 - how.prior_rho) * np.maximum(gamma - 1, 0)
        for step in range(2):
            xi = np.maximum(xi, how.floor**2)
            wiener = xi / (1 + xi)
            gain = np.minimum(wiener * np.exp(0.5 * exp1(wiener * gamma)), 1)
            if step == 0:
                clean = np.maximum(gain, how.floor) ** 2 * frame
                xi = gain**2 * gamma
        gain = np.maximum(gain, how.floor)
        if how.weighted:
            p = 1 / (1 + (1 + xi) * np.exp(-wiener * gamma))
            gain = gain**p * how.floor ** (1 - p)
        result.append(gain)
    return np.array(result)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gains_are_those_of_the_formulas(weighted):
    """The fast rows follow the slow ones over 300 frames, bursts included."""
    power, how = frames(300), Gains(prior_rho=0.96, floor=10 ** (-25 / 20), weighted=weighted)
    gain, state = statistical_gains(power, initial(N_BINS, TRACKING), TRACKING, how)
    np.testing.assert_allclose(gain, slow_gains(power, how), rtol=2e-3)
    np.testing.assert_allclose(state.noise, slow_floor(power)[-1], rtol=1e-4)


def test_the_floor_is_the_noise_under_bursts():
    """A burst of 20 dB over a sixth of the time raises the floor of its bins by less than 1 dB."""
    _, state = statistical_gains(frames(600), initial(N_BINS, TRACKING), TRACKING, Gains(0.96, 0.1, False))
    error_db = 10 * np.log10(state.noise / 0.01)
    assert np.abs(error_db.mean()) < 1.5
    assert error_db[10:20].mean() < error_db.mean() + 1


def test_the_floor_follows_a_rise_of_the_noise():
    """A step of 15 dB, which looks like speech at first, is the floor a few seconds later; a fall is at once."""
    power = 0.01 * np.random.default_rng(3).exponential(size=(1000, N_BINS)).astype(np.float32)
    power[200:] *= 10**1.5
    how = Gains(0.96, 0.1, False)
    _, state = statistical_gains(power, initial(N_BINS, TRACKING), TRACKING, how)
    assert 10 * np.log10(state.noise.mean() / 0.01) == pytest.approx(15, abs=2)
    _, state = statistical_gains(power[:200], state, TRACKING, how)
    assert 10 * np.log10(state.noise.mean() / 0.01) == pytest.approx(0, abs=2)


def test_silence_teaches_nothing():
    """Digital silence between leaves the floor as it was, to the bit."""
    power = frames(100)
    how = Gains(0.96, 0.1, False)
    _, before = statistical_gains(power, initial(N_BINS, TRACKING), TRACKING, how)
    _, after = statistical_gains(np.zeros((50, N_BINS), np.float32), before, TRACKING, how)
    np.testing.assert_array_equal(before.noise, after.noise)
    assert after.n_heard == before.n_heard == TRACKING.n_skip + TRACKING.n_first
    assert (before.clock - after.clock - 50) % TRACKING.n_stretch == 0


def test_the_expander_is_the_law_in_db():
    """k times the distance from the threshold, within its bounds."""
    power = frames(200)
    gain, _ = expander_gains(power, initial(N_BINS, TRACKING), TRACKING, 0.7, 12.0, 20.0)
    snr_db = 10 * np.log10(power / slow_floor(power))
    np.testing.assert_allclose(20 * np.log10(gain), np.clip(0.7 * (snr_db - 12), -20, 0), atol=1e-3)
    assert {-20.0, 0.0} < set(np.round(20 * np.log10(gain), 3).ravel())
