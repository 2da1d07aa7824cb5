"""Findings of pieces, merged, against those of the whole."""

from __future__ import annotations

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.dsp.levels import LevelMeter
from corpusdiff.metrics import ChangeMeter, Meter
from corpusdiff.pieces.measure import PieceMeter, merged
from corpusdiff.pieces.share import Stretch


def recording(n, n_channels=1, seed=0):
    """Noise whose level wanders, a tone that clips, an offset, and a silent stretch."""
    rng = np.random.default_rng(seed)
    level = 10 ** (-1.5 + np.sin(2 * np.pi * np.arange(n) / (n / 5)))
    x = level * (0.3 * rng.standard_normal((n_channels, n)) + np.sin(np.arange(n) / 9)) + 0.01
    x[:, n // 2 : n // 2 + n // 8] = 0.0
    return np.clip(x, -0.9, 0.9).astype(np.float32)


def pieces(n, cuts):
    """Stretches between cuts."""
    places = [0, *sorted(cuts), None]
    return [Stretch(start, stop) for start, stop in pairwise(places)]


def in_pieces(x, sr, cuts, block=50000):
    """Measurement by one meter per piece, each with the samples it asks for alone, pickled on the way."""
    meters = []
    for piece in pieces(x.shape[1], cuts):
        meter = PieceMeter(sr, len(x), piece)
        heard = x[:, meter.needs.start : meter.needs.stop]
        for start in range(0, heard.shape[1], block):
            meter.update(meter.needs.start + start, heard[:, start : start + block])
        meters.append(pickle.loads(pickle.dumps(meter)))
    return merged(meters).finish()


def whole(x, sr):
    """Measurement by one meter."""
    meter = Meter(sr, len(x))
    meter.update(x)
    return meter.finish()


def assert_equal(found, expected):
    """All numbers within rounding of float64 sums."""
    assert found.texts == expected.texts
    for name, value in expected.metrics.items():
        assert found.metrics[name] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), name
    for name in ("level_dbfs", "peak_level_dbfs", "snr_db", "noise_dbfs", "loudness_lufs"):
        assert getattr(found.measured, name) == pytest.approx(getattr(expected.measured, name), abs=1e-9, nan_ok=True)
    np.testing.assert_allclose(found.measured.spectrum.power_db, expected.measured.spectrum.power_db, atol=1e-9)


@pytest.mark.parametrize(("sr", "n_channels"), [(8000, 1), (16000, 1), (44100, 2), (48000, 1)])
def test_planned_cuts(sr, n_channels):
    """Two minutes in pieces of 35 s have the numbers of the whole, at any rate."""
    x = recording(120 * sr, n_channels)
    assert_equal(in_pieces(x, sr, range(35 * sr, 120 * sr, 35 * sr)), whole(x, sr))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 400_000),
    st.lists(st.integers(1, 400_000), max_size=5, unique=True),
    st.integers(0, 3),
)
def test_any_cuts(n, cuts, seed):
    """So have pieces of any length, those too that hold no step of some meter's grid, and those behind the end."""
    x = recording(n, 1 + seed % 2, seed)
    assert_equal(in_pieces(x, 16000, [cut for cut in cuts if cut < n]), whole(x, 16000))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([-1.0, -0.7, 0.0, 0.7, 1.0]), min_size=3, max_size=40), st.data())
def test_clipping_over_a_cut(values, data):
    """Runs at the extreme that go over a cut, or through a whole piece, count as in the whole."""
    x = np.repeat(np.array(values, np.float32), 2)[None]
    meter = LevelMeter(100, 1)  # hops of five samples
    meter.update(x)
    cuts = sorted(data.draw(st.sets(st.integers(1, (x.size - 1) // 5), max_size=4)))
    parts = []
    for part in np.split(x, [5 * cut for cut in cuts], axis=1):
        parts.append(LevelMeter(100, 1))
        for block in np.split(part, [1, 3], axis=1):
            parts[-1].update(block)
    for part in parts[1:]:
        parts[0].merge(part)
    assert parts[0].clip_rate == meter.clip_rate
    assert parts[0].peak == meter.peak
    np.testing.assert_array_equal(parts[0].levels_dbfs(), meter.levels_dbfs())


def test_change_in_pieces():
    """The change of a chain, measured in pieces of the meter's grid, is that of the whole."""
    x = recording(400_000)
    y = (0.5 * x + 0.1 * recording(400_000, seed=1)).astype(np.float32)
    expected = ChangeMeter(16000, 1)
    expected.update(x, y)
    grid = expected.grid
    found = ChangeMeter(16000, 1)
    found.update(x[:, : 5 * grid], y[:, : 5 * grid])
    later = ChangeMeter(16000, 1, is_start=False)
    later.update(x[:, 5 * grid :], y[:, 5 * grid :])
    found.merge(later)
    whole_change, change = expected.finish(), found.finish()
    assert change.lsd_db == whole_change.lsd_db
    assert change.si_sdr_db == pytest.approx(whole_change.si_sdr_db, abs=1e-9)
    assert change.clip_rate == whole_change.clip_rate
    np.testing.assert_allclose(found.spectrum.mean(), expected.spectrum.mean(), rtol=1e-12)


def test_what_cannot_be_merged_is_refused():
    """A meter that stopped in the middle of a hop, a piece that does not follow, and a part of a track."""
    meter = LevelMeter(16000, 1)
    meter.update(recording(100))
    with pytest.raises(ValueError, match="100 samples over the grid"):
        meter.merge(LevelMeter(16000, 1))
    first, third = PieceMeter(16000, 1, Stretch(0, 1000)), PieceMeter(16000, 1, Stretch(2000))
    with pytest.raises(ValueError, match="a piece from 2000 on does not follow one up to 1000"):
        first.merge(third)
    with pytest.raises(ValueError, match="merge the others first"):
        first.finish()
