"""Echo cancellation as a stage: the contract, what it takes away, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from corpus_maker import VOICES, read_aloud
from quality.echo_scenes import decaying_room, delayed, scene
from quality.judges import erle_db, si_sdr_db
from scipy.signal import fftconvolve

from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal, run_blocks, run_whole
from corpusdiff.stages.echo import Echo
from corpusdiff.testing import check_stage

SR = 16000
SIG = Signal(SR, 1, n_references=1)
NEAR_S = 6


def _voice(index, seconds, start_s=0.0):
    """Speech of the formant synthesiser at -26 dBFS."""
    x, sr = read_aloud(VOICES[index], 3 + index, use_espeak=False)
    assert sr == SR
    return 0.05 / np.std(x) * x[round(start_s * SR) : round((start_s + seconds) * SR)]


@pytest.fixture(scope="module")
def call():
    """Far end, echo through a room, and a near end from NEAR_S on; 12 s."""
    far = _voice(0, 12)
    echo = delayed(fftconvolve(far, decaying_room(0.25, np.random.default_rng(1)))[: far.size], 500)
    near = np.concatenate([np.zeros(NEAR_S * SR), _voice(1, 12 - NEAR_S, 5.0)])
    return far, echo, near


def _cancel(mic, far, stage=None):
    x = np.stack([mic, far]).astype(np.float32)
    blocks = np.split(x, range(SR, x.shape[1], SR), axis=1)
    return np.concatenate(list(run_blocks(stage or Echo(), blocks, SIG)), axis=1)[0].astype(np.float64)


def _from(seconds):
    return slice(round(seconds * SR), None)


def _between(start_s, end_s):
    return slice(round(start_s * SR), round(end_s * SR))


@pytest.mark.parametrize(
    ("stage", "sr", "n_channels"),
    [
        (Echo(), 16000, 2),
        (Echo(loudspeaker="linear", filter_s=0.1, max_delay_s=0.0, lead_s=0.0), 8000, 1),
        (Echo(block_s=0.004, filter_s=0.05, max_delay_s=0.1, max_cut_db=0.0, mix=0.5), 44100, 1),
        (Echo(), 48000, 1),
    ],
    ids=["default", "linear", "short", "48k"],
)
def test_keeps_the_contract(stage, sr, n_channels):
    """Any split, pickling, causality, silence, full scale, JSON, and mix = 0 is the identity."""
    check_stage(stage, sr=sr, n_channels=n_channels)


def test_a_missing_reference_says_where_to_name_it():
    """The far end is a channel or a field of the job's source."""
    with pytest.raises(ParameterError, match=r"reference_channel.*reference_field"):
        Echo().initial_state(Signal(SR, 1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"filter_s": 0.0},
        {"block_s": 1.0},
        {"max_delay_s": -1.0},
        {"lead_s": np.nan},
        {"transition": 1.5},
        {"loudspeaker": "loud"},
        {"over_db": 50.0},
        {"max_cut_db": -1.0},
        {"mix": 2.0},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_parameters_out_of_range_are_refused(wrong):
    """By name."""
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        Echo(**wrong)


def test_the_latency_is_64_ms():
    """Three blocks and a block of lead, and 2 % more where the rate does not divide well."""
    for sr in (8000, 16000, 44100, 48000):
        assert Echo().latency(Signal(sr, 1, n_references=1)) <= 0.0655 * sr


def test_takes_the_echo_and_leaves_the_near_end(call):
    """At least 25 dB of the echo alone; the near end 15 dB over everything else in double talk."""
    far, echo, near = call
    y = _cancel(echo + near, far)
    assert erle_db(echo[_between(3, NEAR_S)], y[_between(3, NEAR_S)]) > 25.0
    assert si_sdr_db(y[_from(NEAR_S)], near[_from(NEAR_S)]) > 15.0


@pytest.mark.parametrize("delay_s", [-0.04, 0.1, 0.25, 0.5])
def test_finds_delays(call, delay_s):
    """Up to more than the filter is long, and echoes that come before their reference."""
    far, echo, _ = call
    echo = delayed(echo, round(delay_s * SR))
    y = _cancel(echo, far, Echo(filter_s=0.256))
    assert erle_db(echo[_from(5)], y[_from(5)]) > 22.0


def test_a_silent_reference_changes_nothing(call):
    """Not one bit."""
    _, echo, near = call
    mic = (echo + near).astype(np.float32)
    assert np.array_equal(_cancel(mic, np.zeros_like(mic)), mic)


def test_an_unrelated_reference_leaves_the_near_end(call):
    """A far end that is not heard is not subtracted."""
    far, _, near = call
    near = near + 1e-4 * np.random.default_rng(2).standard_normal(near.size)
    y = _cancel(near, far)
    assert si_sdr_db(y[_from(NEAR_S)], near[_from(NEAR_S)]) > 20.0


def test_recovers_from_a_change_of_the_path(call):
    """The loudspeaker is carried away: three seconds later most of the echo is gone again, and it never grew."""
    far, echo, _ = call
    other = delayed(fftconvolve(far, decaying_room(0.3, np.random.default_rng(9)))[: far.size], 700)
    echo = np.where(np.arange(far.size) < 5 * SR, echo, other)
    y = _cancel(echo, far)
    assert erle_db(echo[_between(4, 5)], y[_between(4, 5)]) > 20.0
    assert erle_db(echo[_between(8, 12)], y[_between(8, 12)]) > 20.0
    assert erle_db(echo[_between(5, 6)], y[_between(5, 6)]) > -3.0


@pytest.mark.parametrize("share", [0.35, 0.2, 0.1])
def test_a_clipping_loudspeaker_is_found_out(call, share):
    """Modelling it is worth 8 dB in double talk, whether it clips peaks or nearly everything."""
    far, _, near = call
    room, most = decaying_room(0.2, np.random.default_rng(3)), share * np.abs(far).max()
    echo = fftconvolve(np.clip(far, -most, most), room)[: far.size]
    si_sdr = {
        kind: si_sdr_db(_cancel(echo + near, far, Echo(loudspeaker=kind))[_from(NEAR_S)], near[_from(NEAR_S)])
        for kind in ("clipping", "linear")
    }
    assert si_sdr["clipping"] > si_sdr["linear"] + 8.0


def test_a_linear_loudspeaker_is_left_alone(call):
    """Looking for clipping where there is none costs not one bit."""
    far, echo, near = call
    found = [_cancel(echo + near, far, Echo(loudspeaker=kind)) for kind in ("clipping", "linear")]
    assert np.array_equal(*found)


def test_the_level_does_not_matter(call):
    """A quiet microphone and a quiet far end are as good as loud ones."""
    far, echo, near = call
    for mic_gain, far_gain in ((0.03, 1.0), (1.0, 0.1)):
        y = _cancel(mic_gain * (echo + near), far_gain * far)
        assert si_sdr_db(y[_from(NEAR_S)], near[_from(NEAR_S)]) > 15.0


def test_two_microphones_and_two_references(call):
    """Every microphone has a path to every loudspeaker."""
    far, echo, near = call
    second = _voice(2, 12)
    echo_2 = fftconvolve(second, decaying_room(0.15, np.random.default_rng(4)))[: far.size]
    mics = np.stack([echo + echo_2, 0.5 * echo - echo_2 + near])
    x = np.concatenate([mics, [far, second]]).astype(np.float32)
    y = run_whole(Echo(), x, replace(SIG, n_channels=2, n_references=2))
    assert y.shape == mics.shape
    assert erle_db(mics[0, _from(4)], y[0, _from(4)]) > 18.0
    assert si_sdr_db(y[1, _from(NEAR_S)], near[_from(NEAR_S)]) > 10.0


@pytest.mark.parametrize("kind", ["full scale", "DC", "silence", "loud then silence"])
def test_odd_signals_stay_bounded(kind):
    """Nothing grows beyond what came in by more than a filter's transient."""
    n = 4 * SR
    square = np.sign(np.sin(2 * np.pi * 100 * np.arange(n) / SR))
    noise = np.random.default_rng(5).uniform(-1, 1, n)
    mic, far = {
        "full scale": (square, np.roll(square, 40)),
        "DC": (np.ones(n), np.ones(n)),
        "silence": (np.zeros(n), noise),
        "loud then silence": (noise * (np.arange(n) < n // 2), noise * (np.arange(n) < n // 2)),
    }[kind]
    y = _cancel(mic, far)
    assert np.isfinite(y).all()
    assert np.abs(y).max() <= 4.0
    if kind == "silence":
        assert not y.any()


@pytest.mark.parametrize("loudspeaker", ["linear", "clipping"])
def test_a_call_of_the_development_half(loudspeaker):
    """A whole scene of the quality harness, where there are voices to make it of."""
    try:
        heard = scene("dev", loudspeaker, 1)
    except LookupError as error:
        pytest.skip(str(error))
    y = _cancel(heard.mic, heard.far)
    assert erle_db(heard.echo[heard.single], y[heard.single]) > 28.0
    assert si_sdr_db(y[heard.double], heard.near[heard.double]) > 20.0
