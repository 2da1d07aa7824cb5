"""Loudness normalisation that knows the past only."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.dsp.loudness import LoudnessMeter
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal, run_whole
from corpusdiff.stages.running_loudness import RunningLoudness
from corpusdiff.testing import check_stage

SR = 16000


def noise(level_db, seconds, n_channels=1):
    """White noise of that RMS level."""
    rng = np.random.default_rng(2)
    return (10 ** (level_db / 20) * rng.standard_normal((n_channels, round(seconds * SR)))).astype(np.float32)


def loudness(x):
    meter = LoudnessMeter(SR, len(x))
    meter.update(np.ascontiguousarray(x))
    return meter.finish().integrated_lufs


@pytest.mark.parametrize("stage", [RunningLoudness(), RunningLoudness(target_lufs=-30, tau_s=0, gain_tau_s=0.2)])
def test_keeps_the_contract(stage):
    """Any cut into blocks gives the same samples."""
    check_stage(stage)
    check_stage(stage, sr=48000, n_channels=6, n_samples=30000)


@pytest.mark.parametrize("level_db", [-45.0, -26.0, -10.0])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_the_loudness_comes_to_the_target(level_db, n_channels):
    """Within a tenth of an LU of what the standard's own measure says, after five time constants."""
    x = noise(level_db, 20, n_channels)
    y = run_whole(RunningLoudness(target_lufs=-23.0, gain_tau_s=2.0), x, Signal(SR, n_channels))
    assert loudness(y[:, 14 * SR :]) == pytest.approx(-23.0, abs=0.1)


def test_the_gain_goes_by_the_law():
    """What is missing shrinks by exp(-t / gain_tau_s)."""
    x = noise(-43.0, 10)
    y = run_whole(RunningLoudness(target_lufs=-23.0, gain_tau_s=3.0), x, Signal(SR, 1))
    missing = -23.0 - loudness(x)
    gain = 20 * np.log10(y[0] / x[0])
    for t in (1.0, 3.0, 6.0):
        assert gain[round(t * SR)] == pytest.approx(missing * (1 - np.exp(-(t - 0.1) / 3.0)), abs=0.5)
    steps = np.diff(np.diff(gain))
    assert np.abs(steps).max() < 1e-3, "the gain bends, and never jumps"


def test_a_pause_is_not_raised():
    """In noise 40 dB under the voice the gain stays where it was."""
    x = np.concatenate([noise(-30, 5), noise(-70, 5), noise(-30, 1)], axis=1)
    y = run_whole(RunningLoudness(), x, Signal(SR, 1))
    gain = 20 * np.log10(y[0] / x[0])
    assert np.ptp(gain[round(5.3 * SR) : 10 * SR]) < 1e-4


def test_bounds_hold():
    """No more gain than allowed, and silence gets none."""
    x = noise(-60, 20)
    y = run_whole(RunningLoudness(max_boost_db=10.0, gain_tau_s=0.1), x, Signal(SR, 1))
    assert 20 * np.log10(y[0] / x[0]).max() == pytest.approx(10.0, abs=1e-3)
    quiet = noise(-90, 5)
    np.testing.assert_array_equal(run_whole(RunningLoudness(), quiet, Signal(SR, 1)), quiet)


@pytest.mark.parametrize("parameters", [{"target_lufs": 3.0}, {"tau_s": -1.0}, {"max_boost_db": -1.0}])
def test_parameters_out_of_range_are_refused(parameters):
    """By name."""
    with pytest.raises(ParameterError, match=next(iter(parameters))):
        RunningLoudness(**parameters)
