"""Our sections against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, freqz_sos, sosfilt

from corpusdiff.dsp.filters import butterworth_highpass, filter_sections, power_response


@pytest.mark.parametrize("order", range(1, 9))
@pytest.mark.parametrize(("cutoff_hz", "sr"), [(20.0, 192000), (60.0, 16000), (300.0, 8000), (3900.0, 8000)])
def test_the_butterworth_design_is_scipys(order, cutoff_hz, sr):
    """The same power response everywhere."""
    freqs = np.linspace(cutoff_hz / 4, sr / 2, 300)
    _, response = freqz_sos(butter(order, cutoff_hz, "highpass", fs=sr, output="sos"), freqs, fs=sr)
    ours = power_response(butterworth_highpass(cutoff_hz, order, sr), freqs, sr)
    np.testing.assert_allclose(ours, np.abs(response) ** 2, rtol=1e-6)


def test_filtering_is_scipys():
    """The same samples, and the same again in blocks."""
    x = np.random.default_rng(0).standard_normal((3, 5000)).astype(np.float32)
    sections = butterworth_highpass(80.0, 5, 16000)
    expected = sosfilt(sections, x.astype(np.float64), axis=1).astype(np.float32)
    state = np.zeros((3, 3, 2))
    whole = filter_sections(x, sections, state)
    np.testing.assert_allclose(whole, expected, atol=1e-6)
    state = np.zeros((3, 3, 2))
    parts = [filter_sections(np.ascontiguousarray(b), sections, state) for b in np.split(x, [1, 7, 3000], axis=1)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
