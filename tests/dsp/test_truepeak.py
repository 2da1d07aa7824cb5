"""True peak against brute force, against sines, and in blocks."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.dsp.truepeak import HALF, OVERSAMPLING, TAPS, TruePeakMeter


def measure(x, cuts=()):
    """True peak in dBTP of (n_channels, n), given in blocks."""
    meter = TruePeakMeter(len(x))
    for block in np.split(np.asarray(x, np.float32), list(cuts), axis=1):
        meter.update(block)
    return meter.finish()


@pytest.mark.parametrize("relative", [0.02, 0.1, 0.2, 0.25])
def test_sines_up_to_a_quarter_of_the_rate(relative):
    """Whatever the phase, the peak of a sine is found within 0.05 dB."""
    for phase in np.linspace(0, np.pi, 40):
        x = np.sin(2 * np.pi * relative * np.arange(4000) + phase) * np.hanning(4000) ** 0.05
        assert measure(x[None]) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("name", ["noise", "speech-like", "impulse", "square", "alternating"])
def test_what_is_passed_over_cannot_matter(name):
    """The result is exactly that of interpolating everywhere."""
    rng = np.random.default_rng(3)
    n = 5000
    x = {
        "noise": rng.standard_normal(n),
        "speech-like": rng.standard_normal(n) * np.abs(np.sin(np.arange(n) / 300)) ** 6,
        "impulse": np.eye(1, n, n // 2)[0],
        "square": np.sign(np.sin(np.arange(n) / 7.3)),
        "alternating": (-1.0) ** np.arange(n) * np.hanning(n),
    }[name].astype(np.float32)
    padded = np.pad(x, 2 * HALF)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * HALF).astype(np.float64)
    brute = 20 * np.log10(np.abs(windows @ TAPS.astype(np.float64)).max())
    assert measure(x[None]) == pytest.approx(brute, abs=1e-5)


def test_blocks_do_not_matter():
    """Any cut gives the same number, bit for bit."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 40_000)) * np.linspace(0.1, 1, 40_000)
    whole = measure(x)
    for _ in range(10):
        assert measure(x, np.sort(rng.integers(0, 40_000, 30))) == whole


def test_silence_and_single_samples():
    """The floor, and a sample that is its own peak."""
    assert measure(np.zeros((1, 100))) == pytest.approx(-200.0)
    assert measure(np.full((1, 1), 0.5)) >= -6.03
    assert TAPS.shape == (2 * HALF, OVERSAMPLING)
