"""Levels, offset and clipping against plain NumPy over the whole signal."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.dsp.levels import LevelMeter, ranked, usual_levels

SR = 16000


def measure(x, cuts=()):
    """A meter that has heard (n,) or (n_channels, n) in blocks."""
    x = np.atleast_2d(np.asarray(x, np.float32))
    meter = LevelMeter(SR, len(x))
    for block in np.split(x, sorted(cuts), axis=1):
        meter.update(block)
    return meter


def flat_share(x):
    """Slow and obvious: samples in runs of three or more equal to their channel's maximum or minimum."""
    n_flat = 0
    for channel in x:
        for upward in (channel, -channel):
            runs = [len(list(run)) for value, run in itertools.groupby(upward) if value == upward.max() >= 0.5]
            n_flat += sum(n for n in runs if n >= 3)
    return n_flat / x.size


def test_sums():
    """Peak, mean square and the offset of the worse channel."""
    x = 0.1 * np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32) + [[0.0], [-0.2]]
    found = measure(x)
    assert found.peak == np.abs(x.astype(np.float32)).max()
    assert found.mean_square == pytest.approx(np.mean(x**2), rel=1e-5)
    assert found.dc == pytest.approx(x[1].mean(), rel=1e-5)


def test_usual_levels():
    """Median and 95th percentile of a signal of several levels; what lies under the gate does not count."""
    x = np.repeat([0.1, 0.01, 0.001, 0.0], [50 * 160, 40 * 160, 100 * 160, 100 * 160])
    assert usual_levels(measure(x).levels_dbfs()) == pytest.approx((-20, -20), abs=0.01)
    assert np.isnan(usual_levels(measure(np.zeros(SR)).levels_dbfs())).all()


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.floats(0, 1))
def test_ranked_is_the_quantile(values, q):
    """What NumPy says."""
    assert ranked(np.sort(values), q) == pytest.approx(float(np.quantile(values, q)), abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.9, -0.5, 0.0, 0.4, 0.7, 0.99]), min_size=1, max_size=60))
def test_clip_rate_is_the_share_of_flat_extremes(values):
    """Equal to the slow count, for any runs."""
    x = np.array([values, values[::-1]], np.float32)
    assert measure(x).clip_rate == pytest.approx(flat_share(x))


def test_clipping_is_found_after_attenuation_and_not_in_a_sine():
    """A clipped tone at -3 dB is clipped; a full-scale sine in 16 bits is not."""
    sine = np.sin(2 * np.pi * 100 * np.arange(SR) / SR)
    assert measure(0.7 * np.clip(2 * sine, -1, 1)).clip_rate == pytest.approx(2 / 3, abs=0.02)
    assert measure(np.round(32767 * sine) / 32768).clip_rate == 0
    assert measure(0.1 * np.clip(2 * sine, -1, 1)).clip_rate == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=8))
def test_blocks_do_not_matter(cuts):
    """Any cut gives the same numbers, bit for bit."""
    x = np.clip(np.random.default_rng(0).standard_normal((2, 3000)), -1, 1)
    one, other = measure(x), measure(x, cuts)
    assert (one.peak, one.dc, one.mean_square, one.clip_rate) == (
        other.peak,
        other.dc,
        other.mean_square,
        other.clip_rate,
    )
    assert np.array_equal(one.levels_dbfs(), other.levels_dbfs())
