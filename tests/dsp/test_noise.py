"""The estimate of the signal-to-noise ratio against the truth of mixes made here.

The numbers in `corpusdiff.dsp.noise` were picked on one speaker's sentences, the voices of the ``dev`` split and its
noises, and rumble, buzz, clicks, a band of noise, slowly swelling pink noise and five talkers. Nothing was picked on
the sentences, voices and noises of the ``test`` split, but the design looked at which of its noises, and of those in
`ODD`, went wrong. The kinds in `FRESH` were made last; since then only what is done with processed recordings has
changed.
"""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quality.material import gated, mixed, noises
from quality.voices import SR, digit_streams, read_sentences, spoken_sentences
from scipy.signal import istft, lfilter, resample_poly, stft
from scipy.stats import spearmanr

from corpusdiff.dsp import noise
from corpusdiff.dsp.noise import NoiseMeter

SNRS_DB = (0.0, 5.0, 10.0, 15.0, 20.0)


def rain(n, rng):
    """300 drops a second, of all sizes, over a hiss."""
    x = np.zeros(n)
    for start in rng.integers(0, n - 64, 300 * n // SR):
        x[start : start + 64] += rng.exponential() * np.exp(-np.arange(64) / 12) * rng.standard_normal(64)
    return x + 0.2 * x.std() * rng.standard_normal(n)


def train(n, rng):
    """A rumble, and two knocks every 0.7 s."""
    x = lfilter([1.0], [1.0, -0.99], rng.standard_normal(n))
    for start in range(0, n - 4000, int(0.7 * SR)):
        for knock in (start, start + 2400):
            x[knock : knock + 1600] += 6 * x.std() * np.exp(-np.arange(1600) / 250) * rng.standard_normal(1600)
    return x


def siren(n, rng):
    """A tone that wails between 500 and 1400 Hz, with two overtones, over faint noise."""
    hz = 950 + 450 * np.sin(2 * np.pi * 0.3 * np.arange(n) / SR)
    phase = 2 * np.pi * np.cumsum(hz) / SR
    return np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase) + 0.1 * rng.standard_normal(n)


def kitchen(n, rng):
    """A steady hood and, now and then, crockery: ringing partials that last a third of a second."""
    x = lfilter([1.0], [1.0, -0.7], rng.standard_normal(n))
    t = np.arange(8000) / SR
    for start in rng.integers(0, n - 8000, n // SR):
        x[start : start + 8000] += (
            4 * np.exp(-t / 0.08) * sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(900, 6000, 5))
        )
    return x


def motor(n, rng):
    """An engine whose speed wanders: 20 harmonics of 35 to 60 Hz and what its air makes."""
    hz = 47 + 12 * np.sin(2 * np.pi * 0.15 * np.arange(n) / SR)
    phase = 2 * np.pi * np.cumsum(hz) / SR
    tones = sum(np.sin(k * phase + k * k) / np.sqrt(k) for k in range(1, 21))
    return tones + lfilter([1.0], [1.0, -0.9], rng.standard_normal(n))


def helicopter(n, rng):
    """Blades 11 times a second over a turbine."""
    beat = (0.5 + 0.5 * np.sin(2 * np.pi * 11 * np.arange(n) / SR)) ** 3
    turbine = 0.1 * np.sin(2 * np.pi * 2300 * np.arange(n) / SR)
    return (0.2 + beat) * lfilter([1.0], [1.0, -0.95], rng.standard_normal(n)) + turbine


def insects(n, rng):
    """Chirps at 4.5 kHz, five in a row, and the air of a summer's night."""
    t = np.arange(n) / SR
    chirping = (np.sin(2 * np.pi * 14 * t) > 0.2) & (np.sin(2 * np.pi * 1.1 * t) > -0.3)
    smooth = np.convolve(chirping, np.hanning(80) / 40, "same")
    return smooth * np.sin(2 * np.pi * 4500 * t) + 0.15 * rng.standard_normal(n)


def record(n, rng):
    """A worn record: ticks, rumble of the platter, hiss."""
    x = np.zeros(n)
    x[rng.integers(0, n, 12 * n // SR)] = rng.standard_normal(12 * n // SR) * 8
    return (
        lfilter([1.0], [1.0, -0.5], x) + 0.3 * rng.standard_normal(n) + 0.5 * np.sin(2 * np.pi * 33 * np.arange(n) / SR)
    )


def cabin(n, rng):
    """An aircraft's cabin: a broad rush that swells a little, and two low tones that beat."""
    t = np.arange(n) / SR
    rush = lfilter([1.0], [1.0, -0.85], rng.standard_normal(n)) * (1 + 0.2 * np.sin(2 * np.pi * 0.2 * t))
    return rush + rush.std() * (np.sin(2 * np.pi * 92 * t) + np.sin(2 * np.pi * 93.3 * t))


def vacuum(n, rng):
    """A vacuum cleaner: whistling tones in noise, pushed to and fro."""
    t = np.arange(n) / SR
    tones = sum(np.sin(2 * np.pi * f * t * (1 + 0.002 * np.sin(t))) for f in (590, 1180, 2360, 3540))
    return (tones + 2 * lfilter([1.0, -0.3], [1.0, -0.5], rng.standard_normal(n))) * (1 + 0.3 * np.sin(2 * np.pi * t))


#: What showed that the bands must not be asked where the level has a floor; no number was picked on the others.
ODD = {"rain": rain, "train": train, "siren": siren, "kitchen": kitchen, "motor": motor}

FRESH = {"helicopter": helicopter, "insects": insects, "record": record, "cabin": cabin, "vacuum": vacuum}


def estimate(x, sr=SR):
    """NoiseEstimate of (n,) or (n_channels, n)."""
    x = np.atleast_2d(np.asarray(x, np.float32))
    meter = NoiseMeter(sr, len(x))
    meter.update(x)
    return meter.finish()


@pytest.fixture(scope="module")
def voices():
    """30 stretches of clean speech of one to three sentences, half of them with pauses."""
    rng = np.random.default_rng(2)
    pools = [pool for pool in (read_sentences("test"), spoken_sentences("test")) if pool]
    if not pools:
        pytest.skip("neither espeak-ng nor real audio here")
    found = []
    for i in range(30):
        pool = pools[i % len(pools)]
        parts = []
        for k in rng.choice(len(pool), 1 + i % 3, replace=False):
            parts += [np.zeros(int(i % 2 * rng.uniform(0.1, 0.5) * SR)), pool[int(k)].audio]
        found.append(np.concatenate(parts))
    return found


@pytest.fixture(scope="module")
def mixes(voices):
    """(kind of noise, true ratio, clip) of all kinds at 0 to 20 dB."""
    rng = np.random.default_rng(0)
    kinds = (*noises("test"), "white", "pink")
    return [
        (kind, snr_db, mixed(voice, kind, snr_db, rng)) for kind in kinds for snr_db in SNRS_DB for voice in voices[::2]
    ]


def made_mixes(voices, makers):
    """The same in noises made by `makers`."""
    rng = np.random.default_rng(5)
    found = []
    for kind, make in makers.items():
        background = make(12 * SR, rng)
        for snr_db in SNRS_DB:
            for voice in voices[1::2]:
                start = rng.integers(len(background))
                added = np.take(background - background.mean(), np.arange(start, start + len(voice)), mode="wrap")
                factor = np.sqrt(np.mean(voice**2) / np.mean(added**2)) * 10 ** (-snr_db / 20)
                found.append((kind, snr_db, voice + factor * added))
    return found


def accuracy(mixes):
    """Rank correlation and mean error in dB, printed by kind."""
    truth = np.array([snr_db for _, snr_db, _ in mixes])
    found = np.array([estimate(x).snr_db for _, _, x in mixes])
    rank, error = spearmanr(truth, found)[0], np.abs(found - truth)
    print(f"\n{len(mixes)} mixes: Spearman {rank:.3f}, mean error {error.mean():.2f} dB")
    kinds = np.array([kind for kind, _, _ in mixes])
    for kind in dict.fromkeys(kinds.tolist()):
        here = kinds == kind
        print(f"{kind:10} {spearmanr(truth[here], found[here])[0]:.3f} {error[here].mean():.2f} dB")
    return rank, error.mean()


def test_accuracy(mixes):
    """Rank correlation 0.93, mean error under 2.5 dB, in real and made noise of ten kinds."""
    rank, error = accuracy(mixes)
    assert rank >= 0.93
    assert error < 2.5


@pytest.mark.parametrize(("makers", "least_rank", "most_db"), [(ODD, 0.93, 2.5), (FRESH, 0.9, 3.0)])
def test_accuracy_in_noise_that_was_made_afterwards(voices, makers, least_rank, most_db):
    """Where the numbers have not seen the kind of noise; insects, whose chirps come and go like speech, cost most."""
    rank, error = accuracy(made_mixes(voices, makers))
    assert rank >= least_rank
    assert error < most_db


def test_the_level_of_the_noise(mixes):
    """Within 1.5 dB in the mean."""
    errors = [
        estimate(x).noise_dbfs - 10 * np.log10(np.mean(x**2) / (1 + 10 ** (snr_db / 10))) for _, snr_db, x in mixes[::3]
    ]
    assert np.abs(errors).mean() < 1.5


def test_above_20_db_it_goes_on_rising(voices):
    """Clean speech reads higher than speech at 20 dB, with hardly an exception."""
    rng = np.random.default_rng(0)
    clean = np.array([estimate(voice).snr_db for voice in voices])
    noisy = np.array([estimate(mixed(voice, "white", 15.0, rng)).snr_db for voice in voices])
    assert np.median(clean) > 24
    assert (clean > noisy).mean() > 0.95


@pytest.mark.parametrize("floor_db", [-300.0, -60.0, -30.0])
def test_a_gate_does_not_hide_the_noise(voices, floor_db):
    """Noise at 10 dB that is gone in the pauses, all or nearly, still reads less than 20 dB, and 12 in the median."""
    rng = np.random.default_rng(0)
    found = []
    for voice in voices[1::2]:
        for kind in ("white", "pink", "fan"):
            noisy = mixed(voice, kind, 10.0, rng)
            left = gated(noisy, voice)
            found.append(estimate(left + 10 ** (floor_db / 20) * (noisy - left)).snr_db)
    assert 8 < np.median(found) < 13
    assert max(found) < 20


def test_a_denoiser_does_not_saturate_it(voices):
    """Speech at 10 dB of which a spectral gate has left only what is far over the noise: no 60, and no 50."""
    rng = np.random.default_rng(0)
    found = []
    for voice in voices[::3]:
        noisy = mixed(voice, "pink", 10.0, rng)
        spectra = stft(noisy, SR, nperseg=512)[2]
        floor = np.percentile(np.abs(spectra), 20, axis=1, keepdims=True)
        cleaned = istft(np.where(np.abs(spectra) > 4 * floor, spectra, 0), SR, nperseg=512)[1]
        found.append(estimate(cleaned).snr_db)
    assert 10 < np.median(found) < 40
    assert max(found) < 50


def test_single_words():
    """Words of half a second without a pause: mean error under 2.5 dB still."""
    words = [stream.audio for stream in digit_streams("test", 40, 1)]
    if not words:
        pytest.skip("needs the corpora")
    words = [word[np.flatnonzero(np.abs(word) > 0.01)[0] : np.flatnonzero(np.abs(word) > 0.01)[-1]] for word in words]
    rng = np.random.default_rng(0)
    pairs = [(s, estimate(mixed(w, k, s, rng)).snr_db) for w in words for k in ("pink", "fan") for s in SNRS_DB]
    truth, found = np.array(pairs).T
    assert np.mean([len(word) for word in words]) < 0.6 * SR
    assert spearmanr(truth, found)[0] > 0.9
    assert np.abs(found - truth).mean() < 2.5


def test_rates_channels_and_offset(voices):
    """The same clip at four times the rate, in two channels, on an offset: 1 dB at most."""
    clip = mixed(voices[2], "pink", 10.0, np.random.default_rng(0))
    expected = estimate(clip).snr_db
    assert estimate(resample_poly(clip, 3, 1), 3 * SR).snr_db == pytest.approx(expected, abs=1)
    assert estimate(np.stack([clip, clip])).snr_db == pytest.approx(expected, abs=1e-6)
    assert estimate(0.5 * clip + 0.3).snr_db == pytest.approx(expected, abs=0.1)
    assert estimate(0.5 * clip + 0.3).noise_dbfs == pytest.approx(estimate(clip).noise_dbfs - 6.02, abs=0.1)


def test_long_recordings_are_sampled(voices):
    """After the first batches only every fourth is transformed; the estimate stays."""
    clip = mixed(np.concatenate([np.tile(v, 2) for v in voices[:6]]), "keyboard", 10.0, np.random.default_rng(0))
    assert len(clip) > 2 * noise.DENSE * noise.BATCH * noise.HOP_S * SR
    assert estimate(clip).snr_db == pytest.approx(10, abs=4)


def test_what_is_no_speech_in_noise():
    """Noise alone is at the bottom; silence and next to nothing have no ratio."""
    found = estimate(0.1 * np.random.default_rng(0).standard_normal(3 * SR))
    assert found.snr_db < -3
    assert found.speech_ratio == 0
    assert found.noise_dbfs == pytest.approx(-20, abs=0.5)
    silence = estimate(np.zeros(SR))
    assert np.isnan([silence.snr_db, silence.noise_dbfs]).all()
    assert silence.speech_ratio == 0
    assert np.isnan(estimate(np.ones(100))).all()


@pytest.mark.parametrize("seconds", [0.09, 0.2, 0.4])
@pytest.mark.parametrize("sr", [1000, 8000, 44100])
def test_short_clips_stay_in_range(seconds, sr):
    """A clip of 0.4 s, and one of five hops, gets a number within the bounds."""
    rng = np.random.default_rng(0)
    for kind in (rng.standard_normal(sr), np.sin(np.arange(sr)), np.r_[np.zeros(sr // 8), np.ones(sr)], np.ones(sr)):
        found = estimate(kind[: round(seconds * sr)], sr)
        assert noise.MIN_SNR_DB - 1e-9 <= found.snr_db <= noise.MAX_SNR_DB + 1e-9 or np.isnan(found.snr_db)
        assert 0 <= found.speech_ratio <= 1


def test_speech_ratio_counts_time():
    """Bursts that fill a third of the time over noise 40 dB lower."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(12 * SR) * np.where(np.arange(12 * SR) // SR % 3 == 0, 1.0, 0.01)
    assert estimate(x).speech_ratio == pytest.approx(1 / 3, abs=0.01)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 40000), max_size=8))
def test_blocks_do_not_matter(cuts):
    """Any cut gives the same numbers, bit for bit; 40000 samples are two batches and a part."""
    x = np.random.default_rng(0).standard_normal((2, 40000)).astype(np.float32)
    meter = NoiseMeter(8000, 2)
    for block in np.split(x, sorted(cuts), axis=1):
        meter.update(block)
    assert meter.finish() == estimate(x, 8000)


def test_time():
    """A minute at 44.1 kHz takes less than 60 ms (5 on an idle processor)."""
    x = np.random.default_rng(0).standard_normal((1, 60 * 44100)).astype(np.float32)
    estimate(x[:, :44100], 44100)
    took = []
    for _ in range(3):
        start = time.process_time()
        estimate(x, 44100)
        took.append(time.process_time() - start)
    assert min(took) < 0.06
