"""The log-spectral amplitude gain against the formula, and the rows that it is made of."""

from __future__ import annotations

import numpy as np
from scipy.special import exp1

from corpusdiff.dsp.fastmath import exp_row, log_row
from corpusdiff.dsp.lsa import lsa_row


def test_the_exponential_of_rows():
    """5e-6 relative over all arguments; what lies beyond is taken for the bound."""
    x = np.linspace(-85, 85, 20001).astype(np.float32)
    y = np.empty_like(x)
    exp_row(x, y, y.view(np.int32))
    np.testing.assert_allclose(y, np.exp(np.clip(x, -80, 80).astype(float)), rtol=5e-6)


def test_the_logarithm_of_rows():
    """5e-7 near 1, and relative to its size far from it."""
    x = np.concatenate([np.logspace(-37, 37, 20001), np.linspace(0.5, 2, 20001)]).astype(np.float32)
    y = np.empty_like(x)
    log_row(x, x.view(np.int32), y, y.view(np.int32))
    np.testing.assert_allclose(y, np.log(x.astype(float)), rtol=3e-7, atol=5e-7)


def test_the_gain_is_the_formula():
    """Over 120 dB of either ratio, with the exponential integral of SciPy."""
    xi, gamma = (
        grid.ravel().astype(np.float32) for grid in np.meshgrid(np.logspace(-4, 8, 241), np.logspace(-6, 8, 281))
    )
    gain, fade, room = (np.empty_like(xi) for _ in range(3))
    lsa_row(xi, gamma, gain, fade, room, room.view(np.int32))
    wiener = xi / (1 + xi.astype(float))
    v = np.clip(wiener * gamma, 1e-8, None)
    np.testing.assert_allclose(gain, np.minimum(wiener * np.exp(0.5 * exp1(v)), 1), rtol=1e-5)
    np.testing.assert_allclose(fade, np.exp(-np.minimum(v, 60.0)), rtol=1e-5)
