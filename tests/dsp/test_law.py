"""The law, as numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.fft
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from corpusdiff.dsp import law
from corpusdiff.errors import ParameterError

# the article's worked example
SR, K = 8000, 0.01


def steps_of_the_law(a, a_ref, k, dt, n):
    """The recurrence as it is written."""
    for _ in range(n):
        a = a + k * dt * (a - a_ref)
    return a


@given(st.floats(-1, 0.5), st.integers(0, 50), st.floats(-10, 10), st.floats(-10, 10))
def test_closed_form_is_the_recurrence(k, n, a_init, a_ref):
    """A[n] = A0 + rho**n (A[0] - A0), whatever the numbers."""
    expected = steps_of_the_law(a_init, a_ref, k, 1.0, n)
    found = float(law.closed_form(n, a_init, a_ref, law.rho(k)))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * max(1, 1.5**n))


def test_the_reference_is_a_fixed_point():
    """From A[0] = A0 nothing moves, not even where rho**n passes the range of floats."""
    assert steps_of_the_law(1.0, 1.0, K, 1 / SR, 1000) == 1.0
    np.testing.assert_array_equal(law.closed_form([0, 1, 10**6, 10**15], 1.0, 1.0, law.rho(1.0, 1 / SR)), 1.0)


def test_the_worked_example_doubles_at_sample_554519():
    """With A0 = 0 it takes ln 2 / ln(1 + k/fs) = 554 518.09 steps, 69.3 s."""
    n = law.steps_for_gain(2.0, K, 1 / SR)
    assert n == pytest.approx(554518.09, abs=0.005)
    assert n / SR == pytest.approx(69.3, abs=0.05)
    before, after = law.closed_form([554518, 554519], 1.0, 0.0, law.rho(K, 1 / SR))
    assert before < 2.0 <= after
    a, count = 1.0, 0
    while a < 2.0:
        a += K / SR * a
        count += 1
    assert count == 554519


def test_the_first_step_from_two():
    """From A[0] = 2 about A0 = 1, A[1] = 2.00000125."""
    assert float(law.closed_form(1, 2.0, 1.0, law.rho(K, 1 / SR))) == pytest.approx(2.00000125, abs=1e-14)


def test_growth_is_exponential_and_not_linear():
    """Equal times multiply by equal factors."""
    a = law.closed_form([0, 10**6, 2 * 10**6], 1.0, 0.0, law.rho(K, 1 / SR))
    assert a[2] / a[1] == pytest.approx(a[1] / a[0], rel=1e-9)
    assert a[2] - a[1] > 1.5 * (a[1] - a[0])


@given(st.floats(-1, 0), st.floats(0.01, 100))
def test_decay_does_not_overshoot(k_dt, dt):
    """For -1/dt <= k <= 0 the deviation keeps its sign and does not grow."""
    deviations = law.closed_form(np.arange(20), 3.0, 1.0, law.rho(k_dt / dt, dt)) - 1.0
    assert (deviations >= -1e-12).all()
    assert (np.diff(deviations) <= 1e-12).all()


def test_the_bound_snaps_and_beyond_it_is_refused():
    """k = -1/dt reaches A0 in one step; less is an error that names the bound."""
    np.testing.assert_array_equal(law.closed_form([0, 1, 2], 3.0, 1.0, law.rho(-8000.0, 1 / 8000)), [3.0, 1.0, 1.0])
    with pytest.raises(ParameterError, match="got -8001; under -8000 every step overshoots"):
        law.rho(-8001.0, 1 / 8000)
    for k in (math.nan, math.inf, -math.inf):
        with pytest.raises(ParameterError, match="finite"):
            law.rho(k)


def test_float32_would_be_five_percent_off():
    """Why rho is carried in float64."""
    step = float(np.float32(1 + K / SR)) - 1.0
    assert abs(step / (K / SR) - 1) == pytest.approx(0.05, abs=0.005)
    assert law.rho(K, 1 / SR) - 1.0 == pytest.approx(K / SR, rel=1e-9)


@given(st.floats(0.01, 100), st.integers(1, 10**6))
def test_k_and_steps_for_a_gain_are_inverse(gain, n_steps):
    """k reaches the gain in the steps that it was asked for."""
    k = law.k_for_gain(gain, n_steps, 1 / SR)
    assert float(law.closed_form(n_steps, 1.0, 0.0, law.rho(k, 1 / SR))) == pytest.approx(gain, rel=1e-6)
    if abs(gain - 1) > 0.01:
        assert law.steps_for_gain(gain, k, 1 / SR) == pytest.approx(n_steps, rel=1e-6)


def test_the_factor_of_many_steps_is_bounded():
    """Steps taken at once; broken and explosive numbers are refused with what would do."""
    assert law.deviation_factor(-0.1, 5) == pytest.approx(0.9**5)
    with pytest.raises(ParameterError, match="give at most 19"):
        law.deviation_factor(1.0, 20)
    law.deviation_factor(1.0, 19)
    for steps in (-1, 2.5):
        with pytest.raises(ParameterError, match="whole number"):
            law.deviation_factor(-0.1, steps)


def follow(x, value, rho_up, rho_down):
    y = []
    for sample in x:
        value = law.follow_step(value, sample, rho_up, rho_down)
        y.append(value)
    return np.array(y)


def test_with_a_signal_as_reference_it_is_a_one_pole_filter():
    """A0 = x[n] and k = -(1 - rho) give y[n] = rho y[n-1] + (1 - rho) x[n]."""
    x = np.random.default_rng(0).standard_normal(500)
    r = law.rho_for_tau(0.02, 0.001)
    np.testing.assert_allclose(follow(x, 0.0, r, r), lfilter([1 - r], [1, -r], x), atol=1e-12)
    by_the_law = [0.0]
    for sample in x:
        by_the_law.append(steps_of_the_law(by_the_law[-1], sample, r - 1.0, 1.0, 1))
    np.testing.assert_allclose(follow(x, 0.0, r, r), by_the_law[1:], atol=1e-12)


def test_a_time_constant_is_the_time_to_one_over_e():
    """After tau seconds 1/e of a step is left, going up by one factor and down by the other."""
    up, down = law.rho_for_tau(0.1, 0.001), law.rho_for_tau(0.3, 0.001)
    y = follow([1.0] * 100, 0.0, up, down)
    assert 1 - y[99] == pytest.approx(math.exp(-1))
    assert follow([0.0] * 300, 1.0, up, down)[299] == pytest.approx(math.exp(-1))
    assert law.rho_for_tau(0.0, 0.001) == 0.0


@pytest.mark.parametrize("d", [0.25, 0.1, 0.0, -0.05])
@pytest.mark.parametrize("n_bins", [2, 5, 129])
def test_the_heat_multiplier_is_the_steps_one_by_one(d, n_bins):
    """The law with A0 the mean of the neighbours and k = -2d, mirrored at both ends."""
    before = np.random.default_rng(1).random(n_bins)
    after = before
    for _ in range(7):
        mirrored = np.concatenate([after[1:2], after, after[-2:-1]])
        mean = (mirrored[:-2] + mirrored[2:]) / 2
        after = after - 2 * d * (after - mean)
    spectrum = scipy.fft.dct(before, type=1) * law.heat_multiplier(d, 7, n_bins)
    np.testing.assert_allclose(scipy.fft.idct(spectrum, type=1), after, rtol=1e-9, atol=1e-12)


def test_a_quarter_is_the_most_that_does_not_flip():
    """At d = 1/4 the fastest cosine is gone in one step; beyond, its sign would change."""
    assert law.heat_multiplier(0.25, 1, 9)[-1] == pytest.approx(0.0, abs=1e-15)
    assert law.heat_multiplier(0.26, 1, 9)[-1] < 0
