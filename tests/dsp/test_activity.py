"""The running floor, the onset, the hangover, and the weights of frames, hop by hop."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.dsp.activity import (
    N_ACTIVITY,
    OVER_DB,
    RISE_S,
    activity_law,
    activity_step,
    frame_weights,
    initial_activity,
)

DT = 0.01


def run(levels_db, noise_dbfs=np.nan, **options):
    """Whether each hop is active, and the floor after each."""
    state, law = initial_activity(noise_dbfs), activity_law(DT, **options)
    active, floors = [], []
    for level_db in levels_db:
        active.append(activity_step(float(level_db), state, law))
        floors.append(state[0])
    return np.array(active), np.array(floors)


def test_onset_and_hangover():
    """Three hops over the floor begin it, the third is in; it lasts for 20 hops after the last one."""
    levels = np.full(200, -60.0)
    levels[50:80] = -30
    active, _ = run(levels)
    expected = np.zeros(200, bool)
    expected[52 : 80 + 20] = True
    assert active[:52].tolist() == expected[:52].tolist()
    assert active[52:99].all()
    assert not active[101:].any()
    bare, _ = run(levels, hangover_s=0.0, onset_s=0.0)
    np.testing.assert_array_equal(np.flatnonzero(bare), np.arange(50, 80))


def test_two_hops_are_a_click():
    """Shorter than the onset."""
    levels = np.full(100, -60.0)
    levels[50:52] = 0
    assert not run(levels)[0].any()


def test_the_floor_falls_at_once_and_rises_by_the_law():
    """To noise that begins 20 dB higher: what is left of the distance after t is exp(-t / RISE_S)."""
    levels = np.r_[np.full(100, -60.0), np.full(400, -40.0), np.full(50, -70.0)]
    active, floors = run(levels)
    assert floors[499] == pytest.approx(-40 - 20 * np.exp(-4.0 / RISE_S), abs=0.01)
    assert active[200]
    at_rest = 100 + int(RISE_S * np.log(20 / OVER_DB) / DT)
    assert not active[at_rest + 22 :].any()
    assert floors[-1] == pytest.approx(-70, abs=0.1)


def test_a_known_noise_is_where_the_floor_begins():
    """Speech from the first hop on is heard as such only then."""
    levels = np.full(60, -30.0)
    assert not run(levels)[0].any()
    assert run(levels, noise_dbfs=-60.0)[0][10:].all()


def test_silence_is_not_active_and_does_not_move_the_floor():
    """Digital silence between two stretches of noise; the noise after it is not speech."""
    levels = np.r_[np.full(100, -50.0), np.full(100, -200.0), np.full(100, -50.0)]
    active, floors = run(levels)
    assert not active.any()
    np.testing.assert_allclose(floors[10:], -50.0)
    assert np.isnan(run(np.full(50, -200.0))[1]).all()


def test_weights_follow_the_frames():
    """Equal to the slow way; 0 again, and not nearly, after the fade; the complement for what is not active."""
    rng = np.random.default_rng(0)
    power = (1e-6 * rng.random((300, 9))).astype(np.float32)
    power[100:150] *= 1e4
    law, rho = activity_law(DT), 0.5
    for active in (True, False):
        state = np.append(initial_activity(), 0.0)
        weights, wanted = frame_weights(power, 2.0, state, law, rho, active)
        heard, _ = run(10 * np.log10(2 * power.astype(np.float64).sum(axis=1)))
        np.testing.assert_array_equal(wanted, heard == active)
        weight, expected = 0.0, []
        for is_wanted in wanted:
            weight = rho * weight + (1 - rho) * is_wanted
            weight = 0.0 if not is_wanted and weight <= 1e-3 else weight
            expected.append(weight)
        np.testing.assert_allclose(weights, expected)
        assert state[N_ACTIVITY] == weights[-1]
        assert 0.0 in weights
        assert weights.max() > 0.999
