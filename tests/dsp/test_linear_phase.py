"""The high-pass of linear phase."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, fftconvolve, freqz, sosfiltfilt, sosfreqz

from corpusdiff.dsp.linear_phase import design_highpass, filter_linear_phase, initial

CASES = [(80.0, 2, 16000), (80.0, 1, 16000), (60.0, 4, 48000), (300.0, 5, 8000), (1000.0, 8, 8000), (20.0, 3, 44100)]


def taps(design):
    """The impulse response, summed term by term."""
    n = np.abs(np.arange(-design.latency, design.latency + 1))
    low = (design.weights[:, None] * design.poles[:, None] ** n).real.sum(axis=0)
    return np.where(n == 0, 1.0, 0.0) - low


@pytest.mark.parametrize(("cutoff_hz", "order", "sr"), CASES)
def test_the_recursions_are_the_symmetric_filter(cutoff_hz, order, sr):
    """Equal to a plain convolution, over many times the stretch after which the sums are made afresh."""
    design = design_highpass(cutoff_hz, order, sr)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 12 * design.latency + 77)).astype(np.float32)
    y, _ = filter_linear_phase(x, design, initial(design, 2))
    for heard, made in zip(x, y, strict=True):
        np.testing.assert_allclose(made, fftconvolve(heard.astype(float), taps(design))[: x.shape[1]], atol=3e-7)


@pytest.mark.parametrize(("order", "worst_db"), [(1, -70), (2, -90), (4, -53), (6, -37), (8, -29)])
def test_the_response_is_the_squared_butterworth(order, worst_db):
    """The difference to it, which the cut at 30 ms makes, is as far down as the documentation says; DC is gone."""
    design = design_highpass(80.0, order, 16000)
    assert design.latency == 480
    freqs = np.linspace(0, 8000, 8001)
    response = np.abs(freqz(taps(design), worN=freqs, fs=16000)[1])
    wanted = np.abs(sosfreqz(butter(order, 80.0, "high", fs=16000, output="sos"), worN=freqs, fs=16000)[1]) ** 2
    assert 20 * np.log10(np.abs(response - wanted).max()) < worst_db
    assert response[0] < 1e-9


def test_it_is_the_zero_phase_filter_of_scipy():
    """Away from the ends the output is that of running the filter forward and back."""
    x = np.random.default_rng(1).standard_normal((1, 16000)).astype(np.float32) * np.float32(0.1)
    design = design_highpass(80.0, 2, 16000)
    y, _ = filter_linear_phase(x, design, initial(design, 1))
    wanted = sosfiltfilt(butter(2, 80.0, "high", fs=16000, output="sos"), x[0].astype(float))
    np.testing.assert_allclose(y[0, 2480:], wanted[2000:-480], atol=1e-4)


def test_full_scale_dc_goes_and_does_not_drift():
    """After a minute of it."""
    design = design_highpass(80.0, 2, 16000)
    y, _ = filter_linear_phase(np.ones((1, 60 * 16000), np.float32), design, initial(design, 1))
    assert np.abs(y[0, 2000:]).max() < 1e-6
