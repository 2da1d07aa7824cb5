"""The law on the spectrum: what moves, how far, and what stays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Measured, Signal, Spectrum, run_whole
from corpusdiff.stages.spectral import Fused
from corpusdiff.stages.timbre import Timbre
from corpusdiff.testing import check_stage

SR = 16000
FREQS = np.arange(257) * (SR / 512)


def signal(power_db=None):
    if power_db is None:
        return Signal(SR, 1)
    return Signal(SR, 1, Measured(-25.0, -26.0, -18.0, Spectrum(FREQS, power_db)))


def gain_db(stage, sig, power_db):
    """Gains in dB of the last of some frames of that spectrum."""
    power = np.tile(10 ** (power_db / 10), (300, 1)).astype(np.float32)
    state = stage.initial_gain_state(sig)
    gain, _ = stage.gains(power, state, sig)
    return 20 * np.log10(gain[-1])


def bumps(seed=0):
    """A smooth spectrum within +-8 dB."""
    phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, 3)
    return sum(3 * np.cos(np.pi * (i + 1) * FREQS / FREQS[-1] + phase[i]) for i in range(3))


BAND = FREQS >= 80


@pytest.mark.parametrize("first_pass", [True, False])
@pytest.mark.parametrize(("k", "steps"), [(-0.1, 5), (-1.0, 1), (0.05, 2)])
def test_flat_scales_the_deviation_from_flat(first_pass, k, steps):
    """What is left of the long-term spectrum's deviation is rho**T, and no level is added over the band."""
    stage = Timbre(mode="flat", k=k, steps=steps, smooth_hz=0, max_boost_db=60, max_cut_db=60)
    before = bumps()
    gain = gain_db(stage, signal(before if first_pass else None), before)
    after = before + gain
    deviation = before[BAND] - before[BAND].mean()
    np.testing.assert_allclose(after[BAND] - after[BAND].mean(), (1 + k) ** steps * deviation, atol=1e-3)
    assert gain[BAND].mean() == pytest.approx(0, abs=1e-4)
    np.testing.assert_array_equal(gain[~BAND], 0)


def test_profile_draws_toward_another_recording():
    """k = -1 gives the profile itself, whatever its level."""
    target = bumps(1) + 40
    profile = np.stack([FREQS, target], axis=1).tolist()
    stage = Timbre(mode="profile", profile=profile, k=-1.0, steps=1, smooth_hz=0, max_boost_db=60, max_cut_db=60)
    after = bumps() + gain_db(stage, signal(bumps()), bumps())
    np.testing.assert_allclose(after[BAND] - after[BAND].mean(), (target - target[BAND].mean())[BAND], atol=1e-3)


def test_frame_pulls_each_frame_to_its_mean():
    """Peaks fall and valleys rise within a frame, by the frame alone."""
    stage = Timbre(mode="frame", k=-0.5, steps=1, smooth_hz=0, max_boost_db=60, max_cut_db=60)
    power = 10 ** (np.stack([bumps(0), bumps(1)]) / 10)
    gain, _ = stage.gains(power.astype(np.float32), stage.initial_gain_state(signal()), signal())
    for i in range(2):
        np.testing.assert_allclose(
            20 * np.log10(gain[i][BAND]), -0.5 * (bumps(i)[BAND] - bumps(i)[BAND].mean()), atol=1e-3
        )


def test_running_pulls_a_frame_to_what_came_before():
    """A steady spectrum is its own reference; a frame unlike it is drawn to it."""
    stage = Timbre(mode="running", k=-0.5, steps=1, smooth_hz=0, max_boost_db=60, max_cut_db=60)
    assert np.abs(gain_db(stage, signal(), bumps())).max() < 1e-3
    power = 10 ** (np.stack([bumps()] * 3000 + [bumps(1)]) / 10)
    gain, _ = stage.gains(power.astype(np.float32), stage.initial_gain_state(signal()), signal())
    deviation = (bumps(1) - bumps())[BAND]
    np.testing.assert_allclose(20 * np.log10(gain[-1][BAND]), -0.5 * (deviation - deviation.mean()), atol=0.05)


def test_the_running_spectrum_is_a_one_pole_mean():
    """Weights fall by rho per frame of age, from the first frame on."""
    stage = Timbre(mode="flat", tau_s=0.5, smooth_hz=0, k=-1.0, steps=1, max_boost_db=100, max_cut_db=100, low_hz=0)
    power = np.random.default_rng(0).random((40, 257)).astype(np.float32)
    gain, _ = stage.gains(power, stage.initial_gain_state(signal()), signal())
    weights = np.exp(-128 / SR / 0.5) ** np.arange(40)[::-1]
    level = 10 * np.log10(weights @ power / weights.sum())
    np.testing.assert_allclose(20 * np.log10(gain[-1]), level.mean() - level, atol=1e-3)


@pytest.mark.parametrize("smooth_hz", [0.0, 40.0, 500.0, 30_000.0])
def test_smoothing_is_a_mean_over_neighbours(smooth_hz):
    """Of so many Hz around each bin, of those that are there at the ends."""
    level = np.random.default_rng(0).uniform(-20, 0, 257)
    half = int(smooth_hz * 512 / SR / 2)
    smoothed = np.array([level[max(0, i - half) : i + half + 1].mean() for i in range(257)])
    stage = Timbre(mode="frame", smooth_hz=smooth_hz, k=-1.0, steps=1, max_boost_db=60, max_cut_db=60)
    expected = smoothed[BAND].mean() - smoothed[BAND]
    np.testing.assert_allclose(gain_db(stage, signal(), level)[BAND], expected, atol=1e-3)


def test_caps_and_empty_bins():
    """Boost and cut are bounded, and what lies under the floor is not boosted at all."""
    spectrum = np.where(FREQS < 4000, 0.0, np.where(FREQS < 6000, -40.0, -100.0))
    stage = Timbre(k=-1.0, steps=1, smooth_hz=0, max_boost_db=10.0, max_cut_db=7.0, floor_db=80.0)
    gain = gain_db(stage, signal(), spectrum)
    np.testing.assert_allclose(gain[BAND & (FREQS < 4000)], -7.0, atol=1e-4)
    np.testing.assert_array_equal(gain[FREQS >= 6000], 0)
    away = Timbre(k=1.0, steps=1, smooth_hz=0, max_cut_db=7.0)
    np.testing.assert_allclose(gain_db(away, signal(), spectrum)[FREQS >= 6000], -7.0, atol=1e-4)
    middle = gain_db(stage, signal(), np.where(FREQS < 7000, 0.0, -40.0))
    np.testing.assert_allclose(middle[FREQS >= 7000], 10.0, atol=1e-4)


def test_coloured_noise_is_whitened():
    """Audio in, audio out: a tilt of 20 dB over the band becomes less than 3 dB, and loudness stays near."""
    rng = np.random.default_rng(0)
    n = 8 * SR
    tilt_db = -20 * np.fft.rfftfreq(n, 1 / SR) / 8000
    x = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * 10 ** (tilt_db / 20), n)[None].astype(np.float32) * 0.1
    y = run_whole(Timbre(k=-1.0, steps=1), x, signal(-20 * FREQS / 8000))
    power = np.abs(np.fft.rfft(y[0])) ** 2
    low, high = (power[int(n * hz / SR) : int(n * (hz + 500) / SR)].mean() for hz in (500, 7000))
    assert abs(10 * np.log10(high / low)) < 3


def test_a_profile_file_is_embedded(tmp_path):
    """A path is read when the stage is made, so that its content and not its name is in the job."""
    path = tmp_path / "voice.json"
    path.write_text(json.dumps({"freqs_hz": [0, 4000.0], "power_db": [0, -12.5]}))
    stage = Timbre(mode="profile", profile=str(path))
    assert stage == Timbre(mode="profile", profile=[[0.0, 0.0], [4000.0, -12.5]])
    with pytest.raises(ParameterError, match=r"nowhere\.json: expected a JSON file"):
        Timbre(mode="profile", profile=str(tmp_path / "nowhere.json"))
    path.write_text(json.dumps({"freqs_hz": [0, 1], "power_db": [0]}))
    with pytest.raises(ParameterError, match="expected a JSON file"):
        Timbre(mode="profile", profile=str(path))


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"mode": "bright"}, "flat, frame, running, profile"),
        ({"mode": "profile"}, "give both or neither"),
        ({"profile": [[0.0, 1.0]]}, "give both or neither"),
        ({"mode": "profile", "profile": [[1.0, 0.0], [0.0, 0.0]]}, "rising"),
        ({"mode": "profile", "profile": [[1.0, 0.0], [2.0]]}, "expected"),
        ({"mode": "profile", "profile": [[1.0, float("nan")]]}, "finite"),
        ({"n_fft": 511}, "even"),
        ({"hop_length": 512}, "a half, a third"),
        ({"hop_length": 100}, "a half, a third"),
        ({"high_hz": 20.0}, "80 or more"),
        ({"max_boost_db": float("inf")}, "0 to 200 dB"),
    ],
)
def test_broken_parameters_are_refused(params, problem):
    """With what would do."""
    with pytest.raises(ParameterError, match=problem):
        Timbre(**params)


def test_a_band_above_the_track_is_refused():
    """When the track's rate is known."""
    with pytest.raises(ParameterError, match="no bin of a 8000 Hz track"):
        Timbre(low_hz=6000.0).initial_state(Signal(8000, 1))


def bursts():
    """Faint muffled noise; from the first second on, half a second of loud muffled noise in every second."""
    rng = np.random.default_rng(0)
    n = 6 * SR
    faint, loud = (np.convolve(rng.standard_normal(n), 0.8 ** np.arange(80), "same") for _ in range(2))
    t = np.arange(n) / SR
    speaks = (t >= 1) & (t % 1 >= 0.5)
    return (1e-3 * faint + 0.05 * speaks * loud)[None].astype(np.float32), speaks


@pytest.mark.parametrize("mode", ["flat", "frame", "running"])
@pytest.mark.parametrize("act_on", ["speech", "noise"])
def test_only_speech_or_only_noise_is_changed(mode, act_on):
    """What is not acted on is the input, once the fade and the hangover are over."""
    x, speaks = bursts()
    y = run_whole(Timbre(mode=mode, k=-0.5, steps=1, act_on=act_on), x, signal())
    assert not np.array_equal(x, y)
    t = np.arange(x.shape[1]) / SR
    if act_on == "speech":
        quiet = (t < 0.4) | ((t % 1 > 0.35) & (t % 1 < 0.45))
        np.testing.assert_array_equal(y[:, quiet], x[:, quiet])
    else:
        loud = speaks & (t % 1 > 0.7) & (t % 1 < 0.95)
        np.testing.assert_allclose(y[:, loud], x[:, loud], atol=1e-3)
        assert np.abs(y - x)[:, (t > 0.1) & (t < 0.9)].max() > 1e-5


@pytest.mark.parametrize("first_pass", [True, False])
def test_where_it_acts_it_does_what_it_does_to_all(first_pass):
    """The measured spectrum's gain in full within speech; the running spectrum is that of speech."""
    x, speaks = bursts()
    tilt = -20 * FREQS / 8000
    sig = signal(tilt if first_pass else None)
    everything = run_whole(Timbre(k=-0.5, steps=1, tau_s=0.5), x, sig)
    y = run_whole(Timbre(k=-0.5, steps=1, tau_s=0.5, act_on="speech"), x, sig)
    t = np.arange(x.shape[1]) / SR
    inside = speaks & (t % 1 > 0.7) & (t % 1 < 0.95) & (t > 4)
    difference = np.abs(y - everything)[:, inside].max() / np.abs(x[:, inside]).max()
    assert difference < (2e-3 if first_pass else 0.1)


def test_the_noise_does_not_move_the_running_spectrum_of_speech():
    """A long pause in white noise, then the gain is where the speech had left it."""
    power = np.ones((2, 257), np.float32) * np.float32(1e-3)
    muffled = (10 ** (-30 * FREQS / 8000 / 10)).astype(np.float32)
    frames = np.concatenate([np.tile(power, (50, 1)), np.tile(100 * muffled, (100, 1)), np.tile(power, (500, 1))])
    stage = Timbre(act_on="speech", tau_s=0.3)
    _, state = stage.gains(frames, stage.initial_gain_state(signal()), signal())
    level = 10 * np.log10(state[0])
    assert level[0] - level[-1] == pytest.approx(30, abs=2)


def test_no_clicks_where_the_gain_sets_in():
    """On a slow tone, in and out of speech: the second difference is not that of a step."""
    t = np.arange(4 * SR) / SR
    speaks = (t % 1 >= 0.5).astype(np.float64)
    envelope = 0.02 + 0.2 * np.convolve(speaks, np.hanning(801) / 400, "same")
    x = (envelope * np.sin(2 * np.pi * 100 * t))[None].astype(np.float32)
    sig = signal(-40 * FREQS / 8000)
    y = run_whole(Timbre(k=-1.0, steps=1, act_on="speech"), x, sig)
    inner = slice(SR, 3 * SR)
    assert np.abs(y - x)[:, inner].max() > 0.02
    gain = 10 ** (12 / 20)
    assert np.abs(np.diff(y[0, inner], 2)).max() < 1.3 * gain * np.abs(np.diff(x[0, inner], 2)).max()


@pytest.mark.parametrize("mode", ["flat", "running"])
def test_acting_on_speech_keeps_the_contract(mode):
    """Any blocks, causality, identity, JSON, alone and fused."""
    check_stage(Timbre(mode=mode, act_on="speech"))
    check_stage(Fused((Timbre(mode=mode, act_on="speech"), Timbre(act_on="noise"))), n_channels=1)
