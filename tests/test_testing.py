"""`check_stage` lets a right stage pass and refuses each way of being wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from corpusdiff.stages.base import Signal
from corpusdiff.testing import ForgetsItsState, check_stage, make_signal


@dataclass(frozen=True)
class Delay:
    """A right stage: adds half of the sample before."""

    name: ClassVar[str] = "delay"

    mix: float = 1.0

    def latency(self, sig):
        return 0

    def initial_state(self, sig):
        return np.zeros((sig.n_channels, 1), np.float32)

    def step(self, x, state, sig):
        line = np.concatenate([state, x], axis=1)
        return x + np.float32(0.5 * self.mix) * line[:, : x.shape[1]], line[:, x.shape[1] :].copy()

    def flush(self, state, sig):
        return np.zeros((sig.n_channels, 0), np.float32)


class ChangesItsInput(Delay):
    def step(self, x, state, sig):
        y, state = super().step(x, state, sig)
        x *= 2
        return y, state


class ChangesItsState(Delay):
    def step(self, x, state, sig):
        y, after = super().step(x, state, sig)
        state[:] = after
        return y, state


class HidesItsState(Delay):
    seen: ClassVar[list] = []

    def step(self, x, state, sig):
        self.seen.append(x.shape[1])
        return x * np.float32(1 + 1e-3 * len(self.seen)), state


class LooksAhead(Delay):
    """Says that it has no latency and uses the mean of the block."""

    tolerance = 1e-6

    def step(self, x, state, sig):
        mean = x.mean() if x.size else 0
        return x + np.float32(1e-7) * mean, state


class NotFinite(Delay):
    def step(self, x, state, sig):
        power = np.square(x).max(initial=0)
        return x if power else x * np.float32(np.nan), state


class NeedsTheFirstPass(Delay):
    def step(self, x, state, sig):
        return x * np.float32(1.0 if sig.measured is None else 10 ** (sig.measured.level_dbfs / 20)), state


class LosesSamples(Delay):
    def step(self, x, state, sig):
        return x[:, 1:], state


class FlushesTooMuch(Delay):
    def flush(self, state, sig):
        return np.zeros((sig.n_channels, 5), np.float32)


class DoublePrecision(Delay):
    def step(self, x, state, sig):
        return x.astype(np.float64), state


class DryIsNotDry(Delay):
    def step(self, x, state, sig):
        return x * np.float32(0.5), state


class SumsByBlock(Delay):
    """Wrong by what float32 sums differ."""

    def step(self, x, state, sig):
        return x + np.float32(1e-3) * x.sum(axis=1, keepdims=True), state


class ToleratesTooMuch(Delay):
    tolerance = 1e-3


def test_a_right_stage_passes():
    """With other rates and channels too."""
    check_stage(Delay())
    check_stage(Delay(mix=0.5), sr=44100, n_channels=1, n_samples=5000)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (ForgetsItsState(), "differ from the whole"),
        (SumsByBlock(), "differ from the whole"),
        (ChangesItsInput(), "the input was changed"),
        (ChangesItsState(), "changed the state"),
        (HidesItsState(), "differ from the whole|two answers"),
        (LooksAhead(), "the latency is more than it says"),
        (NotFinite(), "NaN or infinity"),
        (NeedsTheFirstPass(), "silence that was measured before gives NaN"),
        (LosesSamples(), "samples"),
        (FlushesTooMuch(), "samples"),
        (DoublePrecision(), "float32 in, float64 out"),
        (DryIsNotDry(), "mix = 0 is not the identity"),
        (ToleratesTooMuch(), "at most 1e-06"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Delay | ForgetsItsState) else None,
)
def test_a_wrong_stage_is_refused(wrong, message):
    """And the message says which promise it breaks."""
    with pytest.raises(AssertionError, match=message):
        check_stage(wrong)


def test_a_stage_that_is_not_frozen_is_refused():
    """Parameters do not change behind a job's digest."""

    @dataclass
    class Loose:
        name: ClassVar[str] = "loose"

    with pytest.raises(AssertionError, match="frozen"):
        check_stage(Loose())


def test_a_small_difference_may_be_declared():
    """A stage that cannot be exact says so, up to 1e-6."""

    class Inexact(Delay):
        tolerance = 1e-6

        def step(self, x, state, sig):
            return x * np.float32(1 + 2.5e-7 * (x.shape[1] == 1)), state

    check_stage(Inexact())
    Inexact.tolerance = 0.0
    with pytest.raises(AssertionError, match="single samples differ from the whole"):
        check_stage(Inexact())


def test_the_test_signal_has_what_finds_mistakes():
    """A level that wanders, a silent stretch, and channels that differ."""
    x = make_signal(16000, 2, 12000)
    assert x.dtype == np.float32
    assert np.abs(x).max() <= 1
    assert not np.array_equal(x[0], x[1])
    assert (x == 0).all(axis=0).sum() == 1500
    assert Signal(16000, 2).measured is None
