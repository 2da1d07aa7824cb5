"""Quantisation: what the dither does to the error, and what it leaves alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.dsp.dither import quantize

KEY = 0x9E3779B97F4A7C15


def error_steps(x, bits=16, key=KEY):
    """Error of quantising (n_channels, n), in steps."""
    scale = 2.0 ** (bits - 1)
    return quantize(x, bits, True, key, 0) / (1 if bits == 16 else 256) - x.astype(np.float64) * scale


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=8), st.sampled_from([16, 24]), st.integers(0, 2**64 - 1))
def test_blocks_do_not_matter(cuts, bits, key):
    """Any cut gives the same samples."""
    x = np.random.default_rng(0).uniform(-1.1, 1.1, (2, 2000)).astype(np.float32)
    edges = [0, *sorted(cuts), 2000]
    parts = [quantize(x[:, a:b], bits, True, key, a) for a, b in itertools.pairwise(edges)]
    assert np.array_equal(np.concatenate(parts, axis=1), quantize(x, bits, True, key, 0))


@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5])
def test_mean_and_variance_of_the_error_do_not_depend_on_the_signal(offset):
    """Triangular dither: mean 0 and variance 1/4 step^2 wherever the value lies between two steps."""
    x = np.full((1, 200_000), (100 + offset) / 32768, np.float32)
    error = error_steps(x)
    assert error.mean() == pytest.approx(0.0, abs=0.01)
    assert error.var() == pytest.approx(0.25, abs=0.01)


def test_channels_samples_and_tracks_are_independent():
    """No correlation between channels, neighbours, or two keys."""
    x = np.full((2, 100_000), 0.3, np.float32)
    one, other = error_steps(x), error_steps(x, key=KEY + 1)
    for a, b in ((one[0], one[1]), (one[0, 1:], one[0, :-1]), (one[0], other[0])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.02


def test_digital_silence_stays_silent():
    """Where all channels are exactly 0 there is no dither; where one is not, all get it."""
    x = np.zeros((2, 1000), np.float32)
    x[0, 500:] = 0.3
    y = quantize(x, 16, True, KEY, 0)
    assert not y[:, :500].any()
    assert y[1, 500:].any()


@pytest.mark.parametrize(("bits", "low", "high"), [(16, -(2**15), 2**15 - 1), (24, -(2**31), 2**31 - 256)])
def test_saturation_and_plain_rounding(bits, low, high):
    """Over full scale it saturates; without dither it rounds to the nearest."""
    x = np.array([[-2.0, 2.0, 0.5, 1.4 / 2 ** (bits - 1)]], np.float32)
    left = 1 if bits == 16 else 256
    assert quantize(x, bits, False, KEY, 0).tolist() == [[low, high, left * 2 ** (bits - 2), left]]
    assert quantize(x, bits, True, KEY, 0)[0, :2].tolist() == [low, high]
