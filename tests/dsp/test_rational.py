"""Resampling whose state is a value."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from corpusdiff.dsp.rational import design, initial, n_due, resample

RATIOS = [(3, 1), (1, 3), (160, 147), (147, 160), (1, 4), (6, 1)]


def run(x, ratio, cuts):
    state, parts = initial(ratio, len(x)), []
    for block in np.split(x, cuts, axis=1):
        y, state = resample(block, ratio, pickle.loads(pickle.dumps(state)))
        parts.append(y)
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(("up", "down"), RATIOS)
def test_blocks_do_not_show(up, down):
    """Bitwise, and as many outputs as the ratio says."""
    ratio = design(up, down)
    x = np.random.default_rng(0).standard_normal((2, 1500)).astype(np.float32)
    whole = run(x, ratio, [])
    assert whole.shape == (2, n_due(1500, up, down))
    np.testing.assert_array_equal(run(x, ratio, [0, 1, 2, 3, 100, 777, 1499]), whole)


@pytest.mark.parametrize(("up", "down"), RATIOS)
def test_a_tone_passes_and_an_alias_does_not(up, down):
    """Half way to the lower Nyquist frequency: unchanged, at the delay that the filter states. Over it: gone."""
    ratio = design(up, down)
    lower = 0.5 * min(1.0, up / down)
    n = np.arange(6000)
    y = run(np.sin(np.pi * lower * n)[None].astype(np.float32), ratio, [])[0]
    at = (np.arange(len(y)) * down - ratio.delay) / up
    settled = at > 2 * ratio.delay / up
    np.testing.assert_allclose(y[settled], np.sin(np.pi * lower * at[settled]), atol=2e-4)
    if down > up:
        alias = run(np.sin(2 * np.pi * (lower * 1.1) * n)[None].astype(np.float32), ratio, [])[0]
        assert np.abs(alias[settled]).max() < 1e-3


def test_outputs_that_are_held_back_come_later():
    """Bounded to one per input, nothing is lost or changed."""
    ratio = design(1, 4)
    x = np.random.default_rng(1).standard_normal((1, 401)).astype(np.float32)
    y, state = resample(x, ratio, initial(ratio, 1), most=100)
    assert y.shape == (1, 100)
    rest, _ = resample(x[:, :0], ratio, state)
    np.testing.assert_array_equal(np.concatenate([y, rest], axis=1), run(x, ratio, []))
