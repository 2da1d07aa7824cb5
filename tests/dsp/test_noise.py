"""The estimate of the signal-to-noise ratio against the truth of mixes made here."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gamma, spearmanr

from corpusdiff.dsp import noise
from corpusdiff.dsp.noise import NoiseMeter

SR = 16000
SNRS_DB = (0.0, 5.0, 10.0, 15.0, 20.0)


def estimate(x, sr=SR):
    """(snr_db, speech_ratio) of (n,) or (n_channels, n)."""
    x = np.atleast_2d(np.asarray(x, np.float32))
    meter = NoiseMeter(sr, len(x))
    meter.update(x)
    return meter.finish()


def mix(speech, background, snr_db, rng):
    """`speech` and a stretch of `background` so much weaker."""
    start = rng.integers(len(background))
    background = np.resize(np.roll(background, -start), len(speech))
    gain = np.sqrt(np.mean(speech**2) / np.mean(background**2)) * 10 ** (-snr_db / 20)
    return 0.25 * (speech + gain * background)


def errors(voices, backgrounds):
    """True ratios and estimates of all mixes."""
    rng = np.random.default_rng(0)
    pairs = [
        (snr_db, estimate(mix(voice, background, snr_db, rng))[0])
        for voice in voices
        for background in backgrounds
        for snr_db in SNRS_DB
    ]
    return np.array(pairs).T


@pytest.fixture(scope="module")
def voices(corpora):
    """Pairs of sentences of one speaker, 4 to 6 s."""
    found = [sf.read(path)[0] for path in sorted((corpora / "speech").glob("*.wav"))]
    return [np.concatenate(found[i : i + 2]) for i in range(0, len(found), 2)]


def test_real_noise(corpora, voices):
    """Rank correlation 0.9 and mean error under 2.8 dB in recorded noise that comes and goes."""
    truth, found = errors(voices, [sf.read(path)[0] for path in sorted((corpora / "noise").glob("*.wav"))])
    assert spearmanr(truth, found)[0] >= 0.9
    assert np.abs(found - truth).mean() < 2.8


def test_steady_noise(voices):
    """Rank correlation 0.95 and mean error under 2.5 dB in white and pink noise."""
    white = np.random.default_rng(1).standard_normal(10 * SR)
    spectrum = np.fft.rfft(white)
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(white))
    truth, found = errors(voices, [white, pink])
    assert spearmanr(truth, found)[0] >= 0.95
    assert np.abs(found - truth).mean() < 2.5


def test_the_table_of_amplitude_shapes():
    """ln E|x| - E ln|x| of gamma speech and normal noise, drawn at random, is what the table says."""
    rng = np.random.default_rng(0)
    speech = gamma(0.4).rvs(400_000, random_state=0) * rng.choice([-1, 1], 400_000) / np.sqrt(0.4 * 1.4)
    for snr_db in (0, 10, 20, 30):
        x = np.abs(speech + 10 ** (-snr_db / 20) * rng.standard_normal(len(speech)))
        shape = np.log(x.mean()) - np.log(x).mean()
        assert np.interp(shape, noise._WADA, np.arange(-20, 101, 5)) == pytest.approx(snr_db, abs=0.3)


def test_what_is_no_speech_in_noise():
    """Noise alone is at the bottom; silence and next to nothing have no ratio."""
    snr_db, speech_ratio = estimate(np.random.default_rng(0).standard_normal(3 * SR))
    assert snr_db < -3
    assert speech_ratio == 0
    assert np.isnan(estimate(np.zeros(SR))[0])
    assert estimate(np.zeros(SR))[1] == 0
    assert np.isnan(estimate(np.ones(100))).all()


@pytest.mark.parametrize("seconds", [0.08, 0.2, 0.4])
def test_short_clips_stay_in_range(seconds):
    """A clip of 0.4 s, and one of four hops, gets a number within the bounds."""
    rng = np.random.default_rng(0)
    for kind in (rng.standard_normal(SR), np.sin(np.arange(SR)), np.r_[np.zeros(SR // 8), np.ones(SR)], np.ones(SR)):
        snr_db, speech_ratio = estimate(kind[: round(seconds * SR)])
        assert noise.MIN_SNR_DB <= snr_db <= noise.MAX_SNR_DB or np.isnan(snr_db)
        assert 0 <= speech_ratio <= 1


def test_speech_ratio_counts_time():
    """Bursts that fill a third of the time over noise 40 dB lower."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(12 * SR) * np.where(np.arange(12 * SR) // SR % 3 == 0, 1.0, 0.01)
    assert estimate(x)[1] == pytest.approx(1 / 3, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=8))
def test_blocks_do_not_matter(cuts):
    """Any cut gives the same numbers, bit for bit."""
    x = np.random.default_rng(0).standard_normal((2, 5000)).astype(np.float32)
    meter = NoiseMeter(8000, 2)
    for block in np.split(x, sorted(cuts), axis=1):
        meter.update(block)
    assert meter.finish() == estimate(x, 8000)
