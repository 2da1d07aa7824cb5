"""The limiter keeps its ceiling and touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from scipy.signal import butter, sosfilt

from corpusdiff.dsp.truepeak import TruePeakMeter
from corpusdiff.stages.base import Signal, run_whole
from corpusdiff.stages.limiter import Limiter

SR = 16000


def true_peak_db(x):
    """A second route: 16-fold resampling by soxr."""
    return 20 * np.log10(max(np.abs(soxr.resample(channel, SR, 16 * SR, "VHQ")).max() for channel in x))


def band_limited(x):
    """Without what lies within 15 % of half the rate, where no short interpolator is exact."""
    return sosfilt(butter(12, 0.85, output="sos"), x)


HOSTILE = {
    "square": band_limited(np.sign(np.sin(2 * np.pi * 437 * np.arange(SR) / SR)) * 0.99),
    "clipped noise": band_limited(np.clip(2 * np.random.default_rng(0).standard_normal(SR), -1, 1)),
    "quarter of the rate at 45 degrees": np.sin(2 * np.pi * np.arange(SR) / 4 + np.pi / 4),
    "impulse": np.eye(1, SR, SR // 2)[0] * 4,
    "burst": np.where(np.arange(SR) // 800 % 2, 3.0, 0.05) * np.sin(2 * np.pi * 1000 * np.arange(SR) / SR),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_ceiling_holds(name):
    """Within 0.1 dB true peak, on signals made to get through."""
    x = np.stack([HOSTILE[name], 0.5 * HOSTILE[name]]).astype(np.float32)
    y = run_whole(Limiter(ceiling_dbtp=-1.0), x, Signal(SR, 2))
    assert true_peak_db(y) <= -0.9


def test_nothing_is_changed_under_the_ceiling():
    """Bit for bit, and again after a peak has passed and the release is over."""
    x = (0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * SR) / SR)).astype(np.float32)[None]
    assert np.array_equal(run_whole(Limiter(), x, Signal(SR, 1)), x)
    loud = x.copy()
    loud[0, SR] = 3.0
    y = run_whole(Limiter(release_s=0.02), loud, Signal(SR, 1))
    assert np.array_equal(y[:, : SR - 200], x[:, : SR - 200])
    assert np.array_equal(y[:, 2 * SR :], x[:, 2 * SR :])


def test_channels_share_one_gain():
    """A peak on the left lowers the right as much, so that the image stays."""
    rng = np.random.default_rng(1)
    x = np.stack([2 * rng.standard_normal(SR), 0.1 * rng.standard_normal(SR)]).astype(np.float32)
    y = run_whole(Limiter(), x, Signal(SR, 2))
    gain = y[:, 1000:-1000] / x[:, 1000:-1000]
    np.testing.assert_allclose(gain[0], gain[1], rtol=1e-5)


def test_the_gain_never_jumps():
    """Between two samples it moves by at most one part of the look-ahead."""
    x = np.full((1, SR), 0.5, np.float32)
    x[0, SR // 2 :] = 1.5
    gain = run_whole(Limiter(), x, Signal(SR, 1)) / x
    assert np.abs(np.diff(gain)).max() < 1.2 / (0.005 * SR)


@pytest.mark.parametrize("sr", [8000, 16000, 44100, 48000])
def test_full_band_signals_by_our_own_meter(sr):
    """Squares, clipped white noise and a tone near half the rate: within 0.1 dB of what the meter reads."""
    rng = np.random.default_rng(0)
    for x in (
        np.sign(np.sin(2 * np.pi * 437 * np.arange(sr) / sr)),
        np.clip(2 * rng.standard_normal(sr), -1, 1),
        np.sin(2 * np.pi * 0.48 * np.arange(sr)),
    ):
        y = run_whole(Limiter(), x[None].astype(np.float32), Signal(sr, 1))
        meter = TruePeakMeter(1)
        meter.update(y)
        assert meter.finish() <= -0.9
        assert np.sqrt(np.mean(y**2)) > 0.4 * np.sqrt(np.mean(x**2))


def test_short_look_ahead_and_long_silence():
    """After minutes of silence, and with the shortest look-ahead, the ceiling still holds."""
    x = np.zeros((1, 20 * SR), np.float32)
    x[0, :100] = x[0, -SR : -SR // 2] = 2.0
    y = run_whole(Limiter(lookahead_s=0.0005), x, Signal(SR, 1))
    assert np.abs(y).max() <= 10 ** (-0.9 / 20)
    assert not y[0, SR : -2 * SR].any()
