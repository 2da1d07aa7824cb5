"""The law on the level: ratio, reference, gate, caps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from corpusdiff.dsp.loudness import LoudnessMeter
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Measured, Signal, Spectrum, run_whole
from corpusdiff.stages.level import Level
from corpusdiff.testing import check_stage

SR = 16000
HOP = 160


def tone(level_dbfs, seconds, n_channels=1, hz=1000):
    """A sine of that RMS level; whole periods in every hop."""
    t = np.arange(round(seconds * SR)) / SR
    x = np.sqrt(2) * 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * t)
    return np.tile(x, (n_channels, 1)).astype(np.float32)


def level_db(x):
    return 10 * np.log10(np.mean(x.astype(np.float64) ** 2))


def measured(level_dbfs, peak_level_dbfs, loudness_lufs=-20.0):
    flat = Spectrum(np.array([0.0, SR / 2]), np.zeros(2))
    return Measured(loudness_lufs, level_dbfs, peak_level_dbfs, flat)


def gain_db(x, y):
    """Gain of every hop."""
    n = x.shape[1] // HOP * HOP
    power_in, power_out = (
        np.mean(z[:, :n].astype(np.float64).reshape(len(z), -1, HOP) ** 2, axis=(0, 2)) for z in (x, y)
    )
    return 10 * np.log10((power_out + 1e-20) / (power_in + 1e-20))


@pytest.mark.parametrize("deviation_db", [-12.0, -3.0, 0.0, 9.0])
@pytest.mark.parametrize(("k", "steps"), [(-0.15, 10), (-1.0, 1), (-0.1, 3), (0.1, 3)])
def test_a_deviation_is_scaled_by_rho_to_the_steps(deviation_db, k, steps):
    """A two-sided compressor of ratio 1/rho**T about the reference; an expander for k > 0."""
    x = tone(-26.0 + deviation_db, 1.0)
    y = run_whole(Level(k=k, steps=steps, reference_dbfs=-26.0), x, Signal(SR, 1))
    assert level_db(y[:, -SR // 2 :]) + 26 == pytest.approx(deviation_db * (1 + k) ** steps, abs=1e-3)


def test_the_ratio_is_the_slope():
    """Twice the input deviation gives twice the output deviation: 12 dB apart become 12 rho**T."""
    stage = Level(reference_dbfs=-30.0, max_boost_db=60, max_cut_db=60)
    loud, soft = (level_db(run_whole(stage, tone(db, 1.0), Signal(SR, 1))[:, SR // 2 :]) for db in (-20.0, -32.0))
    assert 12.0 / (loud - soft) == pytest.approx(1 / 0.85**10, rel=1e-3)


def test_the_median_of_the_first_pass_is_the_reference():
    """With no reference given: a track at its own median is left alone, but for the first hop."""
    y = run_whole(Level(), tone(-37.0, 1.0), Signal(SR, 1, measured(-37.0, -37.0)))
    assert np.abs(gain_db(tone(-37.0, 1.0), y)).max() < 1e-4
    lower = run_whole(Level(), tone(-37.0, 1.0), Signal(SR, 1, measured(-31.0, -31.0)))
    assert level_db(lower[:, HOP:]) == pytest.approx(-31 - 6 * 0.85**10, abs=1e-2)


def test_the_running_median_is_the_reference_of_a_causal_run():
    """A constant level is its own reference; after a step the level is drawn to where it was."""
    x = np.concatenate([tone(-30.0, 3.0), tone(-24.0, 3.0)], axis=1)
    gain = gain_db(x, run_whole(Level(), x, Signal(SR, 1)))
    assert np.abs(gain[:300]).max() < 1e-3
    assert gain[400] < -2.5
    assert gain[599] > gain[400]  # and slowly gets used to it


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_reference_in_lufs_meets_the_loudness_meter(n_channels):
    """k = -1 sets the loudness itself, whatever the frequency and the number of channels."""
    x = tone(-40.0, 6.0, n_channels, hz=4000)
    y = run_whole(Level(k=-1.0, steps=1, reference_lufs=-23.0, max_boost_db=40), x, Signal(SR, n_channels))
    meter = LoudnessMeter(SR, n_channels)
    meter.update(np.ascontiguousarray(y[:, 2 * SR :]))
    assert meter.finish().integrated_lufs == pytest.approx(-23.0, abs=0.02)


def test_all_channels_get_one_gain():
    """From their mean power: a loud channel lowers a soft one by the same."""
    x = np.concatenate([tone(-20.0, 1.0), tone(-50.0, 1.0)])
    y = run_whole(Level(reference_dbfs=-30.0), x, Signal(SR, 2))
    ratio = y[:, 100:].astype(np.float64).std(axis=1) / x[:, 100:].astype(np.float64).std(axis=1)
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-5)
    mean_db = 10 * np.log10((10**-2.0 + 10**-5.0) / 2)
    assert 20 * np.log10(ratio[0]) == pytest.approx((0.85**10 - 1) * (mean_db + 30), abs=0.2)


def test_caps_bound_the_gain():
    """From both sides."""
    stage = Level(k=-1.0, steps=1, reference_dbfs=-30.0, max_boost_db=5.0, max_cut_db=3.0)
    for db, expected in ((-60.0, 5.0), (-10.0, -3.0)):
        x = tone(db, 1.0)
        assert gain_db(x, run_whole(stage, x, Signal(SR, 1)))[-1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("found", [None, measured(-26.0, -22.0)])
def test_the_gain_is_held_over_a_pause(found):
    """Residue under the gate is not raised, and speech after the pause meets the gain of before."""
    speech = tone(-30.0, 1.0)
    x = np.concatenate([speech, tone(-70.0, 4.0), speech], axis=1)
    gain = gain_db(x, run_whole(Level(reference_dbfs=-26.0), x, Signal(SR, 1, found)))
    expected = (0.85**10 - 1) * -4
    assert np.abs(gain[20:98] - expected).max() < 1e-3
    assert np.abs(gain[102:498] - expected).max() < 1e-3
    assert np.abs(gain[502:598] - expected).max() < 1e-3


def test_silence_stays_silent_and_residue_stays_where_it_is():
    """Below -100 dBFS nothing is done, even when nothing louder was ever there."""
    assert not run_whole(Level(reference_dbfs=-26.0), np.zeros((1, SR), np.float32), Signal(SR, 1)).any()
    residue = tone(-110.0, 1.0)
    np.testing.assert_array_equal(run_whole(Level(reference_dbfs=-26.0), residue, Signal(SR, 1)), residue)


def test_the_gain_is_linear_in_db_within_a_hop():
    """Where the level jumps, the gain of the next hop's samples lies on a line."""
    x = np.concatenate([tone(-40.0, 0.5), tone(-20.0, 0.5)], axis=1) + np.float32(1e-4)
    y = run_whole(Level(reference_dbfs=-30.0, tau_s=0.05), x, Signal(SR, 1))
    sample_gain_db = 20 * np.log10(y[0].astype(np.float64) / x[0])
    hop = sample_gain_db[51 * HOP : 52 * HOP + 1]
    assert abs(hop[-1] - hop[0]) > 0.1
    np.testing.assert_allclose(hop, np.linspace(hop[0], hop[-1], HOP + 1), atol=2e-5)


def slow_level(x, stage, loudest, sr):
    """Causal in nothing but the follower: hop by hop in plain Python."""
    hop, followed, db, at_hops = round(0.01 * sr), None, 0.0, [0.0]
    r_up, r_down = (np.exp(-0.01 / tau) for tau in (stage.tau_s, stage.release_s or stage.tau_s))
    for start in range(0, x.shape[1], hop):
        power = np.mean(x[:, start : start + hop].astype(np.float64) ** 2)
        if power > 10 ** ((loudest - stage.gate_db) / 10):
            r = 0.0 if followed is None else r_up if power > followed else r_down
            followed = power if followed is None else r * followed + (1 - r) * power
            deviation = 10 * np.log10(followed) - stage.reference_dbfs
            db = np.clip(((1 + stage.k) ** stage.steps - 1) * deviation, -stage.max_cut_db, stage.max_boost_db)
        at_hops.append(db)
    times = np.minimum(np.arange(len(at_hops)) * hop, x.shape[1])
    gain = 10 ** (np.interp(np.arange(x.shape[1]), times, at_hops) / 20)
    return x * (1 + stage.mix * (gain - 1))


@pytest.mark.parametrize("sr", [8000, 11025, 48000])
def test_equals_the_slow_way(sr):
    """Hops, follower, gate, caps and interpolation, the last part of a hop included."""
    rng = np.random.default_rng(3)
    wander = 10 ** (rng.uniform(-3.0, 0, 40).repeat(sr // 20) / 1)
    x = (0.3 * wander * rng.standard_normal((2, wander.size)))[:, :-37].astype(np.float32)
    stage = Level(reference_dbfs=-30.0, tau_s=0.03, release_s=0.2, max_boost_db=12.0, mix=0.7)
    y = run_whole(stage, x, Signal(sr, 2, measured(-30.0, -15.0)))
    np.testing.assert_allclose(y, slow_level(x, stage, -15.0, sr), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("found", [None, measured(-30.0, -12.0)])
def test_wandering_speech_comes_back(corpora, found):
    """Of a slow swing by 12 dB both ways in real speech less than 0.4 is left, without and with a first pass."""
    files = sorted((corpora / "speech").glob("*.wav"))
    speech = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in files])[None]
    speech *= np.float32(10 ** (-26 / 20)) / speech.std()
    swing_db = 12 * np.sin(2 * np.pi * np.arange(speech.shape[1]) / (20 * SR))
    x = speech * (10 ** (swing_db / 20)).astype(np.float32)
    y = run_whole(Level(reference_dbfs=-26.0), x, Signal(SR, 1, found))
    active = gain_db(np.ones_like(speech), speech) > -45
    before, after = (gain_db(speech, z)[active] for z in (x, y))
    assert np.polyfit(before, after, 1)[0] < 0.4


def speech_in_noise(noise_db, n_channels=1):
    """Two seconds of noise, then half a second of a tone at -26 dBFS and half a second without it in turn."""
    rng = np.random.default_rng(0)
    x = 10 ** (noise_db / 20) * rng.standard_normal((n_channels, 8 * SR))
    t = np.arange(8 * SR) / SR
    speaks = (t >= 2) & (t % 1 >= 0.5)
    return (x + speaks * tone(-26.0, 8.0)).astype(np.float32), speaks


@pytest.mark.parametrize("noise_dbfs", [np.nan, -46.0])
@pytest.mark.parametrize("causal", [True, False])
def test_acting_on_speech_leaves_the_noise(noise_dbfs, causal):
    """Noise 20 dB under the speech, over the gate: all of it is followed by default, and none when told so."""
    x, speaks = speech_in_noise(-46.0)
    found = None if causal else replace(measured(-26.0, -26.0), noise_dbfs=noise_dbfs)
    common = {"k": -0.5, "steps": 1, "reference_dbfs": -20.0, "tau_s": 0.05}
    quiet = ~speaks[::HOP]
    before = np.arange(len(quiet)) < 2 * SR // HOP
    everything = gain_db(x, run_whole(Level(**common), x, Signal(SR, 1, found)))
    assert everything[before][10:].mean() > 12
    gain = gain_db(x, run_whole(Level(**common, act_on="speech"), x, Signal(SR, 1, found)))
    np.testing.assert_allclose(gain[before], 0, atol=0.3)
    np.testing.assert_allclose(gain[~quiet].mean(), 3, atol=0.3)
    late = quiet & ~before & (np.arange(len(quiet)) * HOP % SR > 0.3 * SR)  # the hangover is over
    assert gain[late].max() < 9
    assert everything[late].min() > 11


def test_the_gain_does_not_move_where_there_is_no_speech():
    """From the end of the hangover to the next onset it is one number."""
    x, _ = speech_in_noise(-46.0)
    y = run_whole(Level(k=-0.5, steps=1, reference_dbfs=-20.0, act_on="speech"), x, Signal(SR, 1))
    at = slice(int(4.3 * SR), int(4.49 * SR))
    ratio = y[0, at].astype(np.float64) / x[0, at]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert abs(ratio[0] - 1) > 0.1


def test_acting_on_noise_is_the_rest():
    """Speech keeps the gain of the pause before."""
    x, speaks = speech_in_noise(-46.0)
    y = run_whole(Level(k=-1.0, steps=1, reference_dbfs=-50.0, act_on="noise"), x, Signal(SR, 1))
    gain = gain_db(x, y)[speaks[::HOP]]
    np.testing.assert_allclose(gain, -4, atol=1.5)


@pytest.mark.parametrize("act_on", ["speech", "noise"])
def test_acting_on_a_part_keeps_the_contract(act_on):
    """Any blocks, causality, identity, JSON."""
    check_stage(Level(act_on=act_on))
    check_stage(Level(act_on=act_on, reference_lufs=-23.0, lookahead_s=0.05), n_channels=1)


def test_no_clicks_where_speech_begins():
    """The gain's second difference is that of a gain that acts on all of it, at the most."""
    x = np.ones((1, 8 * SR), np.float32) * np.repeat(10 ** speech_in_noise(-46.0)[0][0, ::HOP], HOP).astype(np.float32)
    jumps = [
        np.abs(np.diff(run_whole(stage, x, Signal(SR, 1))[0].astype(np.float64) / x[0], 2)).max()
        for stage in (Level(reference_dbfs=-20.0, act_on="speech"), Level(reference_dbfs=-20.0))
    ]
    assert jumps[0] <= 1.5 * jumps[1]


@pytest.mark.parametrize(
    "params",
    [
        {"steps": -1},
        {"steps": 2.5},
        {"k": float("nan")},
        {"tau_s": -0.1},
        {"mix": 1.5},
        {"max_boost_db": -3.0},
        {"gate_db": float("inf")},
        {"reference_dbfs": 5.0},
        {"act_on": "music"},
        {"reference_dbfs": -26.0, "reference_lufs": -23.0},
    ],
)
def test_broken_parameters_are_refused(params):
    """By name."""
    with pytest.raises(ParameterError, match=list(params)[-1]):
        Level(**params)


def test_lookahead_makes_up_for_the_lag_of_the_follower():
    """A step in the level: with lookahead the gain has turned before it comes, and not a time constant after."""
    x = np.concatenate([tone(-40.0, 1.0), tone(-20.0, 1.0)], axis=1)
    late, early = (
        run_whole(Level(k=-1.0, steps=1, reference_dbfs=-30.0, tau_s=0.2, lookahead_s=ahead), x, Signal(SR, 1))
        for ahead in (0.0, 0.2)
    )
    after = slice(SR, SR + SR // 20)
    assert level_db(late[:, after]) > -20.0
    assert level_db(early[:, after]) < -25.0
    assert Level(lookahead_s=0.2).latency(Signal(SR, 1)) == HOP + 3200
    np.testing.assert_allclose(gain_db(x, early)[-1], gain_db(x, late)[-1], atol=0.2)


@pytest.mark.parametrize("lookahead_s", [0.0, 0.013, 0.25])
@pytest.mark.parametrize("local_gate_db", [None, 15.0])
def test_lookahead_and_the_local_gate_keep_the_contract(lookahead_s, local_gate_db):
    """Any cut into blocks, pickled in mid-track, the declared latency."""
    check_stage(Level(lookahead_s=lookahead_s, local_gate_db=local_gate_db, reference_dbfs=-25.0))


def test_the_local_gate_hears_pauses_wherever_the_level_is():
    """Words and noise 25 dB below, the whole of it falling by 20 dB: the noise of the loud half passes the track's gate
    and would be followed like the words of the soft one; the gain is that of the words alone."""
    word, pause = tone(-20.0, 0.3), tone(-45.0, 0.3)
    half = np.concatenate([word, pause] * 4, axis=1)
    x = np.concatenate([half, 0.1 * half], axis=1)
    found = measured(-26.0, -20.0)
    fixed = {"k": -1.0, "steps": 1, "reference_dbfs": -26.0, "tau_s": 0.1, "gate_db": 40.0, "max_boost_db": 60.0}
    spread = {}
    for gate in (None, 15.0):
        gain = gain_db(x, run_whole(Level(**fixed, local_gate_db=gate), x, Signal(SR, 1, found)))
        spread[gate] = np.ptp(gain[: 4 * 60])
    assert spread[None] > 10.0
    assert spread[15.0] < 7.0  # from 0 dB to the gain of the words, and there it stays
