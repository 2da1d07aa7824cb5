"""Width: the sides move, the middle stays."""

from __future__ import annotations

import numpy as np
import pytest

from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Signal, run_whole
from corpusdiff.stages.width import Width
from corpusdiff.testing import check_stage, make_signal

X = make_signal(16000, 2, 4000)


@pytest.mark.parametrize(("k", "steps"), [(0.1, 4), (-0.2, 3), (-1.0, 1), (0.0, 7)])
def test_the_sides_are_scaled_by_the_law_and_the_middle_stays(k, steps):
    """rho**steps of the sides; k = -1 is mono."""
    y = run_whole(Width(k=k, steps=steps), X, Signal(16000, 2))
    np.testing.assert_allclose(y[0] + y[1], X[0] + X[1], atol=1e-6)
    np.testing.assert_allclose(y[0] - y[1], (1 + k) ** steps * (X[0] - X[1]), atol=1e-6)


def test_the_sides_are_raised_by_no_more_than_is_allowed():
    """Whatever k and steps are."""
    y = run_whole(Width(k=1.0, steps=10, max_boost_db=6.0), X, Signal(16000, 2))
    np.testing.assert_allclose(y[0] - y[1], 10 ** (6 / 20) * (X[0] - X[1]), atol=1e-5)


def test_mono_stays_and_more_than_two_channels_are_refused():
    """There is nothing to widen, or no telling which are the sides."""
    np.testing.assert_array_equal(run_whole(Width(), X[:1], Signal(16000, 1)), X[:1])
    with pytest.raises(ParameterError, match="got 6 channels"):
        Width().initial_state(Signal(48000, 6))


def test_it_keeps_the_contract():
    """Also of one channel."""
    check_stage(Width(k=-0.3))
    check_stage(Width(), n_channels=1)
