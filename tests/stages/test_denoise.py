"""Noise reduction as a stage: the contract, clean input, what it does to noise, and its speed of reaction."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Measured, Signal, Spectrum, run_blocks, run_whole
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.denoise import ESTIMATORS, Denoise
from corpusdiff.stages.highpass import Highpass
from corpusdiff.testing import check_stage

SIG = Signal(16000, 1)


def measured(snr_db, sr=16000, n_channels=1):
    spectrum = Spectrum(np.array([0.0, sr / 2]), np.array([-30.0, -60.0]))
    return Signal(sr, n_channels, Measured(-25.0, -26.0, -18.0, spectrum, snr_db=snr_db))


def voiced(n, sr=16000):
    """Something like speech: syllables of harmonics of a wandering pitch, with pauses; (n,) float64."""
    t = np.arange(n) / sr
    phase = np.cumsum(2 * np.pi * (140 + 30 * np.sin(2 * np.pi * 0.7 * t)) / sr)
    tone = sum(np.sin(h * phase) / h for h in range(1, 20))
    return 0.1 * tone * np.clip(-np.sin(2 * np.pi * 2.0 * t), 0, None) * (np.sin(2 * np.pi * 0.4 * t) < 0.3)


def mixed(snr_db, n=96000, seed=0):
    clean = voiced(n)
    noise = np.random.default_rng(seed).standard_normal(n)
    noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return clean, (clean + noise)[None].astype(np.float32)


def si_sdr_db(y, clean):
    target = clean * (y @ clean) / (clean @ clean)
    return 10 * np.log10(np.sum(target**2) / np.sum((y - target) ** 2))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("mix", [1.0, 0.6])
def test_every_estimator_keeps_the_contract(estimator, mix):
    """Splits, pickling, purity, causality, finiteness, JSON, identity."""
    check_stage(Denoise(estimator=estimator, mix=mix))


@pytest.mark.parametrize(("sr", "n_fft"), [(8000, 256), (44100, 1408), (192000, 6144)])
@pytest.mark.parametrize("n_channels", [1, 8])
def test_other_rates_and_channels(sr, n_fft, n_channels):
    """From 8 to 192 kHz and from 1 to 8 channels, frames of 32 ms."""
    stage = Denoise(n_fft=n_fft, hop_length=n_fft // 4)
    check_stage(stage, sr=sr, n_channels=n_channels, n_samples=max(4 * n_fft, 6000), measured=False)


@pytest.mark.parametrize("params", [{"order": 1}, {"order": 4, "cutoff_hz": 80.0}, {"order": 7, "cutoff_hz": 200.0}])
def test_a_linear_highpass_keeps_the_contract(params):
    """At several orders, and beside the denoiser in a chain within 64 ms."""
    stage = Highpass(**params, phase="linear")
    check_stage(stage)
    chain = Chain((Highpass(80.0, phase="linear"), Denoise()))
    check_stage(chain)
    assert chain.latency(SIG) <= 0.064 * 16000


def test_a_linear_highpass_refuses_what_it_cannot_do():
    """A phase that is none, and a cut-off too near to half the rate."""
    with pytest.raises(ParameterError, match="give one of minimum, linear"):
        Highpass(phase="zero")
    with pytest.raises(ParameterError, match="over an eighth of 8000 Hz"):
        Highpass(1100.0, phase="linear").initial_state(Signal(8000, 1))


@pytest.mark.parametrize(("estimator", "least_db"), [("lsa", 8.0), ("omlsa", 8.0), ("expander", 5.0)])
@pytest.mark.parametrize("snr_db", [0.0, 10.0])
def test_noise_goes_and_speech_stays(estimator, least_db, snr_db):
    """Voiced syllables in white noise gain several dB, and the pauses go down by nearly all that is allowed."""
    clean, noisy = mixed(snr_db)
    stage = Denoise(estimator=estimator, max_cut_db=15.0)
    y = run_whole(stage, noisy, SIG)[0].astype(float)
    assert si_sdr_db(y, clean) > si_sdr_db(noisy[0].astype(float), clean) + least_db
    pause = np.flatnonzero(clean == 0)
    pause = pause[pause > 24000]
    cut_db = 10 * np.log10(np.mean(noisy[0, pause] ** 2) / np.mean(y[pause] ** 2))
    assert (7 if estimator == "expander" else 12) < cut_db < 15.5


def test_clean_tracks_are_left_exactly_alone():
    """At 20 dB and over the samples are the same; 5 dB below it works in full, and in part in between."""
    _, noisy = mixed(20.0)
    stage = Denoise()
    assert stage.is_fixed(measured(20.0))
    np.testing.assert_array_equal(run_whole(stage, noisy, measured(20.0)), noisy)
    full = run_whole(stage, noisy, measured(15.0))
    np.testing.assert_array_equal(full, run_whole(stage, noisy, SIG))
    half = run_whole(stage, noisy, measured(17.5))
    np.testing.assert_allclose(half, 0.5 * (full + noisy), atol=1e-5)
    np.testing.assert_array_equal(run_whole(Denoise(max_snr_db=None), noisy, measured(50.0)), full)
    np.testing.assert_array_equal(run_whole(stage, noisy, measured(np.nan)), full)


def test_no_click_at_block_borders():
    """The second difference of a denoised tone is nowhere larger than the tone's own, whatever the blocks."""
    t = np.arange(48000) / 16000
    x = (0.5 * np.sin(2 * np.pi * 200 * t))[None].astype(np.float32)
    chain = Chain((Highpass(80.0, phase="linear"), Denoise()))
    blocks = np.split(x, np.arange(160, 48000, 160), axis=1)
    y = np.concatenate(list(run_blocks(chain, blocks, SIG)), axis=1)[0]
    assert np.abs(np.diff(y[1000:-1000], 2)).max() < 1.05 * 0.5 * (2 * np.pi * 200 / 16000) ** 2


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("scale", [1e-20, 1e-4, 1e6])
def test_no_level_is_too_much(estimator, scale):
    """From next to nothing to 120 dB over full scale: finite, and never louder than it was."""
    x = (mixed(5.0, 16000)[1] * scale).astype(np.float32)
    x[:, 8000] = scale  # an impulse
    y = run_whole(Denoise(estimator=estimator), x, SIG)
    assert np.isfinite(y).all()
    assert np.sqrt(np.mean(y.astype(float) ** 2)) <= 1.01 * np.sqrt(np.mean(x.astype(float) ** 2))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"estimator": "wiener"}, "give one of lsa, omlsa, expander"),
        ({"max_cut_db": -1.0}, "give 0 to 60 dB"),
        ({"noise_tau_s": -0.1}, "give 0 or more"),
        ({"k": -0.5}, "give 0 to 100"),
    ],
)
def test_wrong_parameters_are_named(params, message):
    """With what there is to give."""
    with pytest.raises(ParameterError, match=message):
        Denoise(**params)


def test_real_speech_in_real_noise_gets_better(corpora):
    """A read sentence in a recorded noise at 5 dB: at least 4 dB of SI-SDR, high-pass included."""
    import soundfile as sf

    clean, _ = sf.read(corpora / "speech" / "spk1_snt2.wav")
    noise, _ = sf.read(corpora / "noise" / "noise1.wav")
    noise = noise[: len(clean)]
    noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-5 / 20)
    noisy = (clean + noise)[None].astype(np.float32)
    y = run_whole(Chain((Highpass(80.0, phase="linear"), Denoise())), noisy, SIG)[0].astype(float)
    assert si_sdr_db(y, clean) > si_sdr_db(noisy[0].astype(float), clean) + 4.0
