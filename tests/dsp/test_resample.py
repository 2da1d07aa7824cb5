"""Resampling, down-mix and the cutting into segments."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpusdiff.dsp.resample import Resampler, downmix, segment_bounds

RATES = [(44100, 16000), (8000, 16000), (48000, 16000), (16000, 44100), (11025, 8000), (352800, 16000)]


def noise(n_channels: int, n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n_channels, n)).astype(np.float32) * np.float32(0.1)


def resampled(x: NDArray[np.float32], sr_in: int, sr_out: int, cuts: list[int]) -> NDArray[np.float32]:
    resampler = Resampler(sr_in, sr_out, x.shape[0])
    parts = [resampler.process(np.ascontiguousarray(part)) for part in np.split(x, cuts, axis=1)]
    parts.append(resampler.flush())
    assert all(part.flags.c_contiguous and part.dtype == np.float32 for part in parts)
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(("sr_in", "sr_out"), RATES)
@pytest.mark.parametrize("n", [0, 1, 7, 1000, 50_001])
def test_length_is_rounded(sr_in: int, sr_out: int, n: int) -> None:
    """The output is as long as the input in seconds, to the nearest sample."""
    y = resampled(noise(1, n), sr_in, sr_out, [n // 3])
    assert abs(y.shape[1] - n * sr_out / sr_in) <= 0.5 + 1e-9


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([*RATES, (16000, 16000)]),
    st.sampled_from([1, 2, 3]),
    st.lists(st.integers(0, 30_000), max_size=8),
)
def test_splits_do_not_matter(rates: tuple[int, int], n_channels: int, cuts: list[int]) -> None:
    """Any cut into blocks, empty ones included, gives the bits of the whole."""
    x = noise(n_channels, 30_000)
    np.testing.assert_array_equal(resampled(x, *rates, sorted(cuts)), resampled(x, *rates, []))


def test_equals_the_whole_array_call() -> None:
    """Streaming gives what soxr gives for the whole array."""
    x = noise(2, 100_000)
    whole = soxr.resample(x.T, 44100, 16000, quality="HQ").T
    np.testing.assert_array_equal(resampled(x, 44100, 16000, [1, 5000, 70_000]), whole)


def test_tones_each_side_of_the_new_nyquist() -> None:
    """A tone under the new Nyquist passes in place and in level; one above is gone."""
    t = np.arange(44100 * 2) / 44100
    u = np.arange(32_000) / 16_000
    below = resampled(np.sin(2 * np.pi * 6000 * t)[np.newaxis].astype(np.float32), 44100, 16000, [])
    np.testing.assert_allclose(below[0, 1000:-1000], np.sin(2 * np.pi * 6000 * u)[1000:-1000], atol=1e-3)
    above = resampled(np.sin(2 * np.pi * 9000 * t)[np.newaxis].astype(np.float32), 44100, 16000, [])
    assert np.abs(above[0, 1000:-1000]).max() < 1e-4


def test_equal_rates_pass_through() -> None:
    """Nothing is copied where nothing changes."""
    x = noise(2, 100)
    resampler = Resampler(8000, 8000, 2)
    assert resampler.process(x) is x
    assert resampler.flush().shape == (2, 0)


def test_downmix() -> None:
    """Means for one channel and for a pair, copies from one, the first of many otherwise."""
    x = noise(4, 1000)
    assert downmix(x, 4) is x
    np.testing.assert_array_equal(downmix(x[:2], 1), np.float32(0.5) * (x[:1] + x[1:2]))
    np.testing.assert_allclose(downmix(x, 1)[0], x.mean(axis=0), atol=1e-7)
    np.testing.assert_array_equal(downmix(x, 2), np.float32(0.5) * np.stack([x[0] + x[2], x[1] + x[3]]))
    np.testing.assert_array_equal(downmix(x[:3], 2)[1], x[1])
    np.testing.assert_array_equal(downmix(x[:1], 3), np.repeat(x[:1], 3, axis=0))
    np.testing.assert_array_equal(downmix(x, 3), x[:3])
    with pytest.raises(ValueError, match="2 channels cannot become 3"):
        downmix(x[:2], 3)


def test_downmix_leaves_its_input() -> None:
    """The channels that are summed are not the caller's memory."""
    x = noise(3, 100)
    before = x.copy()
    downmix(x, 1)
    np.testing.assert_array_equal(x, before)


@given(st.integers(0, 500), st.integers(1, 60), st.integers(0, 59))
def test_segments_cover_everything(n_samples: int, length: int, overlap: int) -> None:
    """Segments cover every sample, start a step apart, and none lies wholly inside the one before."""
    if overlap >= length:
        with pytest.raises(ValueError, match="shorter than the segment"):
            segment_bounds(n_samples, 1, length, overlap)
        return
    bounds = segment_bounds(n_samples, 1, length, overlap)
    covered = np.zeros(n_samples, bool)
    for i, (start, stop) in enumerate(bounds):
        assert start == i * (length - overlap)
        assert 0 < stop - start <= length
        assert covered[start:stop].sum() < stop - start
        covered[start:stop] = True
    assert covered.all()
    assert all(stop - start == length for start, stop in bounds[:-1])
