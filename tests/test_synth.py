"""Synthesis: envelopes move toward a reference by the law, the same seed gives the same samples."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from corpusdiff.cli import main
from corpusdiff.dsp.texture import bands, distance_db, there_and_back
from corpusdiff.errors import ParameterError
from corpusdiff.source.audiofile import read_audio
from corpusdiff.synth import envelope, synthesise

SR = 16000


def reference(seconds=3.0, n_channels=1):
    """Noise whose colour and level wander: dark and soft, bright and loud."""
    rng = np.random.default_rng(1)
    n = round(seconds * SR)
    t = np.arange(n) / SR
    bright = rng.standard_normal((n_channels, n))
    dark = np.cumsum(bright, axis=1)
    dark = (dark - dark.mean(axis=1, keepdims=True)) / dark.std()
    share = 0.5 + 0.5 * np.sin(2 * np.pi * 0.8 * t)
    return (0.1 * (0.2 + share) * (share * bright + (1 - share) * dark)).astype(np.float32)


def made(x, **options):
    return np.concatenate([*synthesise(x, SR, **options)], axis=1)


def distance(y, x):
    """How far the envelope of `y` is from that of `x`."""
    ours, target = envelope(y, SR), envelope(x, SR)
    n = min(len(ours), len(target))
    return distance_db(ours[4 : n - 4], target[4 : n - 4])


def test_the_distance_to_the_envelope_falls_with_the_steps():
    """By rho**steps, down to what overlapping frames leave; no step leaves the noise as it is."""
    x = reference()
    far = [distance(made(x, k=-0.3, steps=steps), x) for steps in range(7)]
    assert far[0] > 10.0
    assert all(after < before for before, after in pairwise(far))
    for steps in range(1, 4):
        assert far[steps] == pytest.approx(far[0] * 0.7**steps, rel=0.25)
    assert far[6] < 0.3 * far[0]


def test_the_level_comes_to_that_of_the_reference():
    """In the whole and over time, as the envelope does."""
    x = reference()
    y = made(x, k=-1.0, steps=1)
    assert y.shape == x.shape
    ratio_db = 10 * np.log10(np.mean(y**2) / np.mean(x**2))
    assert abs(ratio_db) < 1.5
    hops = slice(0, len(x[0]) // 1600 * 1600)
    levels = [10 * np.log10(np.mean(z[0, hops].reshape(-1, 1600) ** 2, axis=1)) for z in (x, y)]
    assert np.corrcoef(*levels)[0, 1] > 0.98


def test_seed_and_length_are_what_is_asked():
    """Equal seeds give equal samples, others others; longer ones begin with the shorter one's."""
    x = reference(1.0, 2)
    y = made(x, n_samples=40_000, seed=3)
    assert y.shape == (2, 40_000)
    np.testing.assert_array_equal(made(x, n_samples=40_000, seed=3), y)
    np.testing.assert_array_equal(made(x, n_samples=100_000, seed=3)[:, :38_000], y[:, :38_000])
    assert not np.allclose(made(x, n_samples=40_000, seed=4), y, atol=1e-2)


def test_no_steps_leave_the_source():
    """And a source that is too short is repeated."""
    x, source = reference(), 0.1 * np.sin(np.arange(20_000) / 9)[None].astype(np.float32)
    y = made(x, source=source, n_samples=50_000, steps=0)
    np.testing.assert_allclose(y, np.tile(source, 3)[:, :50_000], atol=1e-6)


def test_a_source_keeps_its_fine_structure():
    """A harmonic tone toward noise stays harmonic: energy between its partials stays far under that at them."""
    t = np.arange(3 * SR) / SR
    source = sum(np.sin(2 * np.pi * 250 * n * t) / n for n in range(1, 20))[None].astype(np.float32) * 0.1
    y = made(reference(), source=source, k=-0.5, steps=3)[0]
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y)))) ** 2
    places = 750 * np.arange(2, 8)
    at, between = (np.mean([spectrum[i - 15 : i + 16].max() for i in places + shift]) for shift in (0, 375))
    assert at > 30 * between


def test_silence_and_wrong_parameters():
    """A silent reference gives silence, and what would lead away is refused."""
    assert np.abs(made(np.zeros((1, SR), np.float32), k=-1.0, steps=1)).max() < 1e-3
    with pytest.raises(ParameterError, match="over 0 the sound moves away"):
        made(reference(0.1), k=0.1)


def test_bands_and_places():
    """Bands cover all bins once, at any rate; a walk there and back never jumps."""
    for n_fft, sr in [(1024, 16000), (2048, 44100), (512, 8000), (8192, 192000)]:
        found = bands(n_fft, sr)
        assert found.starts[0] == 0
        assert (np.diff(found.starts) > 0).all()
        assert found.levels_db(np.ones((2, n_fft // 2 + 1), np.float32)).shape == (2, len(found.starts))
        np.testing.assert_allclose(found.over_bins(np.full((1, len(found.starts)), -3.0, np.float32)), -3.0)
    assert np.abs(np.diff(there_and_back(5, 100, 7))).max() == 1
    assert set(there_and_back(0, 9, 1)) == {0}


def test_the_command(tmp_path):
    """Any format in, any format out, any length; its own input is never written over."""
    sf.write(tmp_path / "ref.wav", reference().T, SR)
    sf.write(tmp_path / "src.flac", 0.1 * np.random.default_rng(0).standard_normal((44100, 2)), 44100)
    arguments = ["synth", str(tmp_path / "ref.wav"), str(tmp_path / "out.flac"), "--seconds", "5", "--seed", "7"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.stderr
    y, sr = read_audio(tmp_path / "out.flac")
    assert (y.shape, sr) == ((1, 5 * SR), SR)
    done = CliRunner().invoke(main, [*arguments[:2], str(tmp_path / "b.wav"), "--source", str(tmp_path / "src.flac")])
    assert done.exit_code == 0, done.stderr
    assert read_audio(tmp_path / "b.wav")[0].shape == (1, SR)
    done = CliRunner().invoke(main, [*arguments[:2], arguments[1]])
    assert done.exit_code == 2
    assert "is an input too" in done.stderr
    done = CliRunner().invoke(main, [*arguments, "--k", "0.5"])
    assert (done.exit_code, "--k: got 0.5" in done.stderr) == (2, True)
