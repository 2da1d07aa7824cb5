"""Ramp, frame-gain, gain and high-pass."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal, run_blocks, run_whole
from corpusdiff.stages.frame_gain import FrameGain
from corpusdiff.stages.gain import Gain
from corpusdiff.stages.highpass import Highpass
from corpusdiff.stages.ramp import Ramp
from corpusdiff.testing import check_stage


def ones(n, n_channels=1):
    return np.ones((n_channels, n), np.float32)


def test_the_worked_example_doubles_the_amplitude():
    """k = 0.01 1/s at 8 kHz with A0 = 0: under 2 at sample 554 518, over it one later."""
    y = run_whole(Ramp(k=0.01), ones(554_530), Signal(8000, 1))[0]
    assert y[0] == 1.0
    assert y[554_518] < 2.0 <= y[554_519]
    slow = 1.0
    for _ in range(1000):
        slow += 0.01 / 8000 * slow
    assert y[1000] == np.float32(slow)


def test_a_ramp_at_its_reference_never_moves():
    """The example as the article gives it, A[0] = A0 = 1; at any time, for any k."""
    stage, sig = Ramp(k=3.0, a_ref=1.0), Signal(8000, 1)
    x = np.random.default_rng(0).standard_normal((1, 500)).astype(np.float32)
    for n in (0, 10**7, 10**12):
        np.testing.assert_array_equal(stage.step(x, n, sig)[0], x)


def test_a_ramp_is_held_and_capped():
    """After `steps` samples, and at the caps for ever."""
    held = run_whole(Ramp(k=10.0, steps=100), ones(300), Signal(1000, 1))[0]
    assert held[99] < held[100]
    np.testing.assert_array_equal(held[100:], held[100])
    sig = Signal(8000, 1)
    for stage, expected in ((Ramp(k=1.0, max_boost_db=6.0), 10**0.3), (Ramp(k=-1.0, max_cut_db=6.0), 10**-0.3)):
        np.testing.assert_allclose(stage.step(ones(3), 10**12, sig)[0], expected, rtol=1e-6)


def test_a_ramp_decays_toward_its_reference():
    """From A[0] = 1 toward 1/4 the gain ends at -12 dB and never passes it."""
    y = run_whole(Ramp(k=-100.0, a_ref=0.25), ones(2000), Signal(8000, 1))[0]
    assert (np.diff(y) <= 0).all()
    assert y[-1] == pytest.approx(0.25, abs=1e-6)


def test_a_ramp_that_overshoots_is_refused():
    """The bound of k is the rate, which is known with the track."""
    with pytest.raises(ParameterError, match="under -8000 every step overshoots"):
        Ramp(k=-8001.0).initial_state(Signal(8000, 1))
    with pytest.raises(ParameterError, match="a_init"):
        Ramp(a_init=0.0)


def article(x, k, steps, frame_length):
    """The listing, frame by frame and step by step, in float64."""
    y = x.astype(np.float64)
    for start in range(0, x.shape[1], frame_length):
        frame = y[:, start : start + frame_length]
        for _ in range(steps):
            frame = frame + k * (frame - frame.mean(axis=1, keepdims=True))
        y[:, start : start + frame_length] = frame
    return y


@pytest.mark.parametrize(("n", "frame_length"), [(5000, 1024), (3072, 1024), (10, 1024), (100, 1), (64, 7)])
def test_frame_gain_is_the_articles_listing(n, frame_length):
    """The last frame, of any length, uses its own mean."""
    x = np.random.default_rng(0).standard_normal((2, n)).astype(np.float32)
    y = run_whole(FrameGain(frame_length=frame_length), x, Signal(8000, 2))
    np.testing.assert_allclose(y, article(x, 0.1, 10, frame_length), rtol=1e-5, atol=1e-6)


def test_frame_gain_by_default_is_8_3_db():
    """1.1**10 about the mean, which stays."""
    x = np.random.default_rng(0).standard_normal((1, 1024)).astype(np.float32) + np.float32(0.5)
    y = run_whole(FrameGain(), x, Signal(8000, 1))
    assert 20 * np.log10(y.std() / x.std()) == pytest.approx(8.28, abs=0.01)
    assert y.mean() == pytest.approx(x.mean(), abs=1e-6)


def test_long_frames_keep_the_contract():
    """Longer than the buffers in which NumPy sums."""
    check_stage(FrameGain(frame_length=10_001), n_samples=45_000)


def test_gain_is_a_factor():
    """-6.02 dB halves."""
    np.testing.assert_allclose(run_whole(Gain(gain_db=20 * np.log10(0.5)), ones(5), Signal(8000, 1)), 0.5, rtol=1e-7)


@pytest.mark.parametrize(("cutoff_hz", "order"), [(60.0, 2), (300.0, 4)])
def test_the_high_pass_follows_butterworth(cutoff_hz, order):
    """-3 dB at the cut-off, 6 dB per octave and order below, nothing well above, DC gone."""
    sr = 16000
    t = np.arange(2 * sr) / sr
    for hz, expected in ((cutoff_hz, 0.5), (cutoff_hz / 4, 1 / (1 + 4.0 ** (2 * order))), (20 * cutoff_hz, 1.0)):
        x = np.sin(2 * np.pi * hz * t)[None].astype(np.float32)
        y = run_whole(Highpass(cutoff_hz=cutoff_hz, order=order), x, Signal(sr, 1))
        assert (y[0, sr:] ** 2).mean() / (x[0, sr:] ** 2).mean() == pytest.approx(expected, rel=0.03)
    assert np.abs(run_whole(Highpass(), ones(2 * sr), Signal(sr, 1))[0, -100:]).max() < 1e-6


def test_a_cutoff_over_half_the_rate_is_refused():
    """When the track's rate is known."""
    with pytest.raises(ParameterError, match="not under half of 8000 Hz"):
        Highpass(cutoff_hz=4000.0).initial_state(Signal(8000, 1))
    for params in ({"cutoff_hz": 0.0}, {"cutoff_hz": float("nan")}, {"order": 0}, {"order": 9}, {"order": 2.5}):
        with pytest.raises(ParameterError, match=next(iter(params))):
            Highpass(**params)


def test_run_blocks_takes_the_latency_out():
    """As many samples out as in, in place, whatever the blocks."""
    x = np.random.default_rng(0).standard_normal((1, 3000)).astype(np.float32)
    blocks = np.split(x, [1, 500, 500, 2999], axis=1)
    y = np.concatenate(list(run_blocks(FrameGain(mix=0.0), blocks, Signal(8000, 1))), axis=1)
    np.testing.assert_array_equal(y, x)
