"""The metrics of a signal and of a change, against signals whose metrics are known."""

from __future__ import annotations

import warnings
from dataclasses import asdict

import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.metrics import COLUMNS, TEXT_COLUMNS, ChangeMeter, Meter, VolumeMeter

SR = 16000


def measure(x, sr=SR, cuts=()):
    """Measurement of (n,) or (n_channels, n), in blocks."""
    x = np.atleast_2d(np.asarray(x, np.float32))
    meter = Meter(sr, len(x))
    for block in np.split(x, sorted(cuts), axis=1):
        meter.update(block)
    return meter.finish()


def change(before, after, cuts=()):
    """Change of two signals, in blocks."""
    before, after = (np.atleast_2d(np.asarray(x, np.float32)) for x in (before, after))
    meter = ChangeMeter(SR, len(before))
    for pair in zip(np.split(before, sorted(cuts), axis=1), np.split(after, sorted(cuts), axis=1), strict=True):
        meter.update(*pair)
    found = asdict(meter.finish())
    return {name: found[name] for name in ("lsd_db", "si_sdr_db")}


def speechlike(n, seed=0):
    """Noise with a falling spectrum whose level comes and goes."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.standard_normal(n)) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * np.arange(n) / SR))
    return 0.1 * (x - x.mean()) / x.std()


def test_columns_and_metrics_agree():
    """Every metric of a signal has its columns, before and after, and no name comes twice."""
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    found = measure(speechlike(SR))
    assert set(found.metrics) | {f"out_{name}" for name in found.metrics} <= set(names)
    assert set(change(speechlike(SR), speechlike(SR))) <= set(names)
    assert set(found.texts) <= set(TEXT_COLUMNS)


def test_a_tone():
    """A stereo 1 kHz tone at -20 dBFS: every number is known."""
    x = np.tile(0.1 * np.sin(2 * np.pi * 1000 * np.arange(4 * SR) / SR), (2, 1))
    found = measure(x)
    assert found.metrics["duration_s"] == 4
    assert found.metrics["peak_dbfs"] == pytest.approx(-20, abs=0.01)
    assert found.metrics["true_peak_dbtp"] == pytest.approx(-20, abs=0.02)
    assert found.metrics["rms_dbfs"] == pytest.approx(-23.01, abs=0.01)
    assert found.metrics["loudness_lufs"] == pytest.approx(-20, abs=0.05)
    assert found.metrics["loudness_range_lu"] == pytest.approx(0, abs=0.01)
    assert found.metrics["dc"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["clip_rate"] == 0
    assert found.metrics["centroid_hz"] == pytest.approx(1000, abs=35)
    assert found.measured.level_dbfs == pytest.approx(-23, abs=0.1)
    assert found.texts == {"loudness_method": "gated"}


@pytest.mark.parametrize("n", [0, 1, 100, SR])
def test_silence_and_next_to_nothing(n):
    """No warning, no infinity in the metrics, NaN where there is no answer."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(np.zeros((1, n)))
        changed = change(np.zeros(n), np.zeros(n))
    assert found.texts == {"loudness_method": "silent"}
    assert not any(np.isinf(value) for value in found.metrics.values())
    for name in ("loudness_lufs", "snr_db", "bandwidth_hz", "centroid_hz"):
        assert np.isnan(found.metrics[name])
    assert np.isnan(changed["si_sdr_db"])


def test_bandwidth_of_a_raised_rate(corpora):
    """Speech sampled at 8 kHz keeps its bandwidth at 44.1 kHz."""
    paths = sorted((corpora / "digits").glob("*.wav"))[:40]
    x = np.concatenate([sf.read(path)[0] for path in paths])
    raised = soxr.resample(x, 8000, 44100)
    assert 3000 < measure(raised, 44100).metrics["bandwidth_hz"] < 4200
    white = np.random.default_rng(0).standard_normal(SR)
    assert measure(white).metrics["bandwidth_hz"] == pytest.approx(8000, rel=0.01)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 20000), max_size=8), st.sampled_from([1, 2, 3]))
def test_blocks_do_not_matter(cuts, n_channels):
    """Any cut gives the same measurement, bit for bit."""
    x = np.stack([speechlike(20000, seed) for seed in range(n_channels)]).astype(np.float32)
    one, other = measure(x), measure(x, cuts=cuts)
    assert one.texts == other.texts
    np.testing.assert_array_equal(list(one.metrics.values()), list(other.metrics.values()))
    assert np.array_equal(one.measured.spectrum.power_db, other.measured.spectrum.power_db)
    y = (0.5 * x + 0.01 * x[:, ::-1]).astype(np.float32)
    assert change(x, y) == change(x, y, cuts)


def test_a_gain_is_no_distortion():
    """LSD 0 and SI-SDR at its cap for a change of level."""
    x = speechlike(2 * SR)
    found = change(x, 0.25 * x)
    assert found["lsd_db"] == pytest.approx(0, abs=1e-3)
    assert found["si_sdr_db"] == pytest.approx(100, abs=1)


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 30.0])
def test_si_sdr_is_the_ratio_to_what_was_added(snr_db):
    """Noise that is orthogonal to the signal, at a known ratio."""
    x = speechlike(2 * SR)
    noise = np.random.default_rng(1).standard_normal(len(x))
    noise -= x * (noise @ x) / (x @ x)
    y = 3 * (x + noise * np.sqrt((x @ x) / (noise @ noise)) * 10 ** (-snr_db / 20))
    assert change(x, y)["si_sdr_db"] == pytest.approx(snr_db, abs=0.01)


def test_lsd_grows_with_a_tilt():
    """A delay of one sample is near, a steeper spectrum far away."""
    x = np.random.default_rng(0).standard_normal(2 * SR)
    little = change(x, np.roll(x, -1))["lsd_db"]
    tilted = change(x, np.cumsum(x) - np.mean(np.cumsum(x)))["lsd_db"]
    assert little < 3 < tilted


@pytest.mark.parametrize("seed", range(30))
def test_the_volume_after_a_gain_is_that_of_the_gained_signal(seed):
    """Sparse, quiet and wandering signals: the gates at -70 LUFS are set anew."""
    rng = np.random.default_rng(seed)
    sr = 8000
    n = sr * int(rng.integers(1, 20))
    loud_db = rng.uniform(-60, -15)
    floor_db = loud_db - rng.uniform(5, 50)
    period = sr * int(rng.integers(2, 10))
    level_db = np.where(np.arange(n) % period < rng.uniform(0.02, 1) * period, loud_db, floor_db)
    x = (rng.standard_normal((1, n)) * 10 ** (level_db / 20)).astype(np.float32)
    meter = VolumeMeter(sr, 1)
    meter.update(x)
    gain_db = float(np.clip(-23.0 - meter.finish().loudness_lufs, -30.0, 30.0))
    gained = VolumeMeter(sr, 1)
    gained.update(x * np.float32(10 ** (gain_db / 20)))
    foretold, found = meter.finish(gain_db), gained.finish()
    assert foretold.method == found.method
    assert foretold.loudness_lufs == pytest.approx(found.loudness_lufs, abs=1e-4)
    assert foretold.range_lu == pytest.approx(found.range_lu, abs=1e-4, nan_ok=True)
    assert foretold.true_peak_dbtp == pytest.approx(found.true_peak_dbtp, abs=1e-4)
