"""The streaming transform against a frame-by-frame oracle."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.dsp import stft

SHAPES = [(512, 128), (512, 256), (384, 128), (60, 10), (8, 4)]


def noise(n_channels, n, seed=0):
    return np.random.default_rng(seed).standard_normal((n_channels, n)).astype(np.float32)


def through(x, n_fft, hop, change, cuts=()):
    """Everything that comes out with the delay taken out."""
    state = stft.initial(x.shape[0], n_fft)
    parts = []
    for part in np.split(x, sorted(cuts), axis=1):
        y, state = stft.process(part, state, n_fft, hop, change)
        assert y.shape == part.shape
        parts.append(y)
    parts.append(stft.flush(state, n_fft, hop, change))
    return np.concatenate(parts, axis=1)[:, n_fft - 1 :]


def lower_highs(spectra):
    """-1 times the upper half, so that what is added removes it."""
    changed = -spectra
    changed[..., : spectra.shape[-1] // 2] = 0
    return changed


def oracle(x, n_fft, hop, change):
    """x plus the changed frames in float64, each on its own with a long enough run of zeros on both sides."""
    window = np.sqrt((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)) * 2 * hop / n_fft)
    pad = n_fft - hop  # the first frame ends at the first hop
    n_frames = (x.shape[1] + n_fft - 1) // hop
    line = np.pad(x.astype(np.float64), ((0, 0), (pad, 2 * n_fft)))
    wet = np.zeros_like(line)
    for i in range(n_frames):
        frame = line[:, i * hop : i * hop + n_fft] * window
        changed = change(np.fft.rfft(frame)[:, None])[:, 0]
        wet[:, i * hop : i * hop + n_fft] += np.fft.irfft(changed, n_fft) * window
    return x + wet[:, pad : pad + x.shape[1]]


@pytest.mark.parametrize(("n_fft", "hop"), SHAPES)
@pytest.mark.parametrize("n", [0, 1, 37, 2000])
def test_equals_frame_by_frame(n_fft, hop, n):
    """Every frame counts, the first and the last too."""
    x = noise(2, n)
    np.testing.assert_allclose(through(x, n_fft, hop, lower_highs), oracle(x, n_fft, hop, lower_highs), atol=2e-6)


@pytest.mark.parametrize(("n_fft", "hop"), SHAPES)
def test_what_is_added_is_reconstructed_perfectly(n_fft, hop):
    """Adding the spectra themselves doubles the signal, from the first sample to the last."""
    x = noise(1, 3000)
    np.testing.assert_allclose(through(x, n_fft, hop, lambda spectra: spectra), 2 * x, atol=5e-6)


def test_nothing_added_is_the_exact_identity():
    """A change of None and a change of zeros leave every bit."""
    x = noise(3, 1111)
    np.testing.assert_array_equal(through(x, 512, 128, lambda spectra: None, [5, 700]), x)
    np.testing.assert_array_equal(through(x, 512, 128, lambda spectra: 0 * spectra, [5, 700]), x)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(1, 3), st.lists(st.integers(0, 40_000), max_size=8))
def test_splits_do_not_matter(shape, n_channels, cuts):
    """Any cut into blocks gives the bits of the whole, over several batches of frames."""
    x = noise(n_channels, 40_000)
    np.testing.assert_array_equal(through(x, *shape, lower_highs, cuts), through(x, *shape, lower_highs))


@pytest.mark.parametrize("n", [60, 384, 512, 1024])
def test_transforms_do_not_depend_on_their_batch(n):
    """What the promise of bitwise equal splits rests on: a row's transform is the same in any company."""
    x = noise(67, n)
    cosines = x[:, : n // 2 + 1].astype(np.float64)
    spectra = scipy.fft.rfft(x)
    whole = [scipy.fft.irfft(spectra, n), scipy.fft.dct(cosines, type=1), scipy.fft.idct(cosines, type=1)]
    for size in (1, 2, 3, 5, 8, 33):
        for start in range(0, 67, size):
            rows = slice(start, start + size)
            np.testing.assert_array_equal(scipy.fft.rfft(x[rows]), spectra[rows])
            parts = [scipy.fft.irfft(spectra[rows], n), scipy.fft.dct(cosines[rows], type=1)]
            parts.append(scipy.fft.idct(cosines[rows], type=1))
            for part, expected in zip(parts, whole, strict=True):
                np.testing.assert_array_equal(part, expected[rows])


def test_memory_is_bounded_by_a_frame():
    """The state does not grow with what has passed."""
    state = stft.initial(1, 512)
    for x in np.array_split(noise(1, 100_000), 77, axis=1):
        _, state = stft.process(x, state, 512, 128, lower_highs)
        assert state.history.shape == (1, 511)
        assert state.wet.shape[1] <= 511
        assert state.history.base is None
        assert state.wet.base is None
