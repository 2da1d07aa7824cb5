"""The heat equation along frequency."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal
from corpusdiff.stages.heat import Heat

SIG = Signal(16000, 1)
WIDTH_HZ = 16000 / 512


def gains(stage, power, sig=SIG):
    return stage.gains(power.astype(np.float32), stage.initial_gain_state(sig), sig)[0].astype(np.float64)


def diffused(power, d, steps):
    """Step by step, mirrored at DC and at half the rate."""
    for _ in range(steps):
        mirrored = np.concatenate([power[:, 1:2], power, power[:, -2:-1]], axis=1)
        power = power + d * (mirrored[:, :-2] - 2 * power + mirrored[:, 2:])
    return power


@pytest.mark.parametrize("d", [0.25, 0.1, -0.01])
def test_gains_are_those_of_the_steps(d):
    """Power out is power in after the steps, one by one."""
    power = np.random.default_rng(0).random((5, 257)).astype(np.float32) + 0.5
    stage = Heat(diffusivity_hz2=d * WIDTH_HZ**2, steps=12, max_boost_db=100, max_cut_db=100)
    np.testing.assert_allclose(gains(stage, power) ** 2 * power, diffused(power.astype(float), d, 12), rtol=2e-5)


def test_the_blur_does_not_depend_on_the_frame():
    """D is in Hz^2: a line spreads by sqrt(2 D T) Hz at any resolution."""
    for n_fft in (512, 1024):
        n_bins = n_fft // 2 + 1
        power = np.full((1, n_bins), 1e-6)
        power[0, n_bins // 2] = 1.0
        stage = Heat(steps=200, n_fft=n_fft, hop_length=128, max_boost_db=200, max_cut_db=200)
        out = (gains(stage, power) ** 2 * power)[0]
        hz = (np.arange(n_bins) - n_bins // 2) * 16000 / n_fft
        near = np.abs(hz) < 1500
        spread = np.sqrt(np.sum(out[near] * hz[near] ** 2) / np.sum(out[near]))
        assert spread == pytest.approx(np.sqrt(2 * 50 * 200), rel=0.03)


def test_a_flat_spectrum_is_a_fixed_point():
    """Nothing to even out."""
    np.testing.assert_allclose(gains(Heat(), np.full((3, 257), 0.25)), 1.0, atol=1e-6)


def test_sharpening_is_bounded():
    """D < 0 raises peaks; the multiplier's cap and the gain's caps hold even where the law explodes."""
    power = 1 + 0.5 * np.cos(np.pi * 8 * np.arange(257) / 256)[None]
    sharp = gains(Heat(diffusivity_hz2=-50.0, steps=500), power) ** 2 * power
    assert np.ptp(sharp) > np.ptp(power) * 1.2
    wild = gains(Heat(diffusivity_hz2=-1e5, steps=10_000, max_boost_db=6.0, max_cut_db=9.0), power)
    assert np.isfinite(wild).all()
    assert wild.max() <= 10 ** (6 / 20) * (1 + 1e-6)
    assert wild.min() >= 10 ** (-9 / 20) * (1 - 1e-6)


def test_too_much_at_once_is_refused():
    """D over a quarter of a bin squared is named with the bound in Hz^2."""
    stage = Heat(diffusivity_hz2=250.0)
    with pytest.raises(ParameterError, match=r"over 244.141 .* give less and more steps"):
        stage.initial_state(SIG)
    stage.initial_state(Signal(32000, 1))


@pytest.mark.parametrize("sr", [8000, 16000, 192000])
def test_the_defaults_fit_all_rates(sr):
    """From 8 to 192 kHz."""
    Heat().initial_state(Signal(sr, 1))
