"""Loudness against the standard's own tones, vectors and the 48 kHz filter."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
import soxr
from scipy.signal import freqz_sos

from corpusdiff.dsp.k_weighting import k_weighting
from corpusdiff.dsp.loudness import LoudnessMeter

RATES = [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000]


def measure(x, sr):
    """Loudness of (n_channels, n)."""
    meter = LoudnessMeter(sr, len(x))
    meter.update(np.asarray(x, np.float32))
    return meter.finish()


def tone(sr, seconds, dbfs, hz=1000.0, n_channels=2):
    """A sine whose peak is at `dbfs` on every channel."""
    t = np.arange(round(seconds * sr)) / sr
    return np.tile(10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * t), (n_channels, 1))


@pytest.mark.parametrize("sr", RATES)
@pytest.mark.parametrize("dbfs", [-23.0, -33.0])
def test_ebu_tech_3341_cases_1_and_2(sr, dbfs):
    """A stereo tone at -23 (-33) dBFS measures -23 (-33) LUFS, within 0.1 LU at every rate."""
    assert measure(tone(sr, 20, dbfs), sr).integrated_lufs == pytest.approx(dbfs, abs=0.1)


@pytest.mark.parametrize("sr", RATES)
def test_ebu_tech_3341_cases_3_to_5(sr):
    """The gates take out what is quiet."""
    case3 = np.concatenate([tone(sr, 10, -36), tone(sr, 60, -23), tone(sr, 10, -36)], axis=1)
    assert measure(case3, sr).integrated_lufs == pytest.approx(-23.0, abs=0.1)
    case4 = np.concatenate([tone(sr, 10, -72), case3, tone(sr, 10, -72)], axis=1)
    assert measure(case4, sr).integrated_lufs == pytest.approx(-23.0, abs=0.1)
    case5 = np.concatenate([tone(sr, 20, -26), tone(sr, 20.1, -20), tone(sr, 20, -26)], axis=1)
    assert measure(case5, sr).integrated_lufs == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(("levels", "expected"), [((-20, -30), 10), ((-20, -15), 5), ((-40, -20), 20)])
def test_ebu_tech_3342_cases_1_to_3(levels, expected):
    """Loudness range of two levels, within 1 LU."""
    x = np.concatenate([tone(48000, 20, level) for level in levels], axis=1)
    assert measure(x, 48000).range_lu == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize("sr", RATES)
def test_low_rates_agree_with_48_khz(sr):
    """Noise limited to 0.4 of the rate has the loudness that the standard's filter gives it at 48 kHz."""
    rng = np.random.default_rng(0)
    narrow = rng.standard_normal((1, 5 * sr)) * 0.1
    spectrum = np.fft.rfft(narrow)
    spectrum[:, int(0.8 * spectrum.shape[1]) :] = 0
    narrow = np.fft.irfft(spectrum, narrow.shape[1])
    at_48k = soxr.resample(narrow[0], sr, 48000, "VHQ")[None] if sr != 48000 else narrow
    reference = measure(at_48k, 48000).integrated_lufs
    assert measure(narrow, sr).integrated_lufs == pytest.approx(reference, abs=0.02)


@pytest.mark.parametrize("sr", [*RATES, 96000, 192000])
def test_k_weighting_has_the_response_of_48_khz(sr):
    """At every frequency that both rates hold, within 0.025 dB."""
    freqs_hz = np.geomspace(10, 0.499 * min(sr, 48000), 2000)
    ours, standard = (freqz_sos(k_weighting(rate), freqs_hz, fs=rate)[1] for rate in (sr, 48000))
    assert np.abs(20 * np.log10(np.abs(ours) / np.abs(standard))).max() < 0.025


def test_surrounds_and_the_low_frequency_channel():
    """In 5.1 a surround counts 1.41 times (1.5 dB), the LFE not at all; EBU Tech 3341 case 6 measures -23 LUFS."""
    levels = [-28.0, -28.0, -24.0, 0.0, -30.0, -30.0]
    x = np.concatenate([tone(48000, 20, level, n_channels=1) for level in levels])
    assert measure(x, 48000).integrated_lufs == pytest.approx(-23.0, abs=0.1)
    only = np.zeros((6, 48000))
    only[3] = tone(48000, 1, -10, n_channels=1)
    assert measure(only, 48000).method == "silent"


def test_a_recording_agrees_with_itself_at_other_rates(corpora):
    """Speech, resampled: within 0.05 LU of what 48 kHz gives the same band."""
    x, sr = sf.read(corpora / "speech" / "spk1_snt1.wav")
    narrow = soxr.resample(x, sr, 8000, "VHQ")
    at_48k = measure(soxr.resample(narrow, 8000, 48000, "VHQ")[None], 48000).integrated_lufs
    for rate in (8000, 11025, 16000, 22050, 44100):
        resampled = soxr.resample(narrow, 8000, rate, "VHQ")[None]
        assert measure(resampled, rate).integrated_lufs == pytest.approx(at_48k, abs=0.05)


def test_filters_die_out_in_silence():
    """After a sound the state falls to exact zeros, which keeps arithmetic fast."""
    meter = LoudnessMeter(16000, 1)
    meter.update(np.ones((1, 1600), np.float32))
    for _ in range(30):
        meter.update(np.zeros((1, 16000), np.float32))
    assert not meter._filter.any()


@pytest.mark.parametrize("name", ["1770-2_Comp_AbsGateTest.wav", "1770-2_Comp_RelGateTest.wav"])
def test_gating_vectors(corpora, name):
    """The ITU's compliance files measure -69.5 and -10.0 LKFS."""
    x, sr = sf.read(corpora / "loudness" / name, always_2d=True)
    expected = -69.5 if "Abs" in name else -10.0
    assert measure(x.T, sr).integrated_lufs == pytest.approx(expected, abs=0.1)


def test_blocks_do_not_matter():
    """Any cut gives the same numbers, bit for bit."""
    x = np.random.default_rng(0).standard_normal((2, 100_000)).astype(np.float32)
    whole = measure(x, 16000)
    meter = LoudnessMeter(16000, 2)
    for block in np.split(x, [1, 2, 1600, 1601, 50_000, 99_999], axis=1):
        meter.update(block)
    assert meter.finish() == whole


def test_short_and_silent_clips():
    """Under 0.4 s there is no gating block; silence has no loudness."""
    short = measure(tone(16000, 0.3, -23), 16000)
    assert short.method == "ungated"
    assert short.integrated_lufs == pytest.approx(-23.0, abs=0.3)
    silent = measure(np.zeros((1, 16000)), 16000)
    assert silent.method == "silent"
    assert np.isnan(silent.integrated_lufs)
