"""Stages that begin in the middle of a track: which can, and that their bounds hold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from corpusdiff.stages import registry
from corpusdiff.stages.base import Measured, Signal, Spectrum, WarmUp, run_whole, warm_up
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.highpass import Highpass
from corpusdiff.testing import check_stage

SIGNAL = Signal(16000, 1)
CLEAN = replace(
    SIGNAL, measured=Measured(-23.0, -25.0, -18.0, Spectrum(np.array([0.0, 8000.0]), np.zeros(2)), snr_db=50.0)
)

BOUNDED = [
    ("gain", {}),
    ("width", {}),
    ("frame-gain", {"frame_length": 300}),
    ("highpass", {"cutoff_hz": 50.0}),
    ("highpass", {"cutoff_hz": 20.0, "order": 8}),
    ("highpass", {"cutoff_hz": 80.0, "phase": "linear"}),
    ("heat", {}),
    ("timbre", {"mode": "frame"}),
    ("limiter", {"ceiling_dbtp": -20.0}),
]

UNBOUNDED = [
    ("level", {}),
    ("denoise", {}),
    ("ramp", {}),
    ("running-loudness", {}),
    ("timbre", {"mode": "running"}),
    ("timbre", {"mode": "flat"}),
    ("timbre", {"mode": "frame", "act_on": "speech"}),
    ("highpass", {"cutoff_hz": 0.01}),
    ("limiter", {"release_s": 10.0}),
]


@pytest.mark.parametrize(("name", "params"), BOUNDED)
def test_bounded_stages_keep_their_bound(name, params):
    """They declare one, and the public check holds them to it."""
    stage = registry.create(name, params)
    assert warm_up(stage, SIGNAL) is not None
    check_stage(stage)


@pytest.mark.parametrize(("name", "params"), UNBOUNDED)
def test_what_nothing_bounds_says_so(name, params):
    """A gate that holds through any pause, a floor that adapts, a running mean: no warm-up is long enough."""
    sig = replace(SIGNAL, sr=192000) if name == "limiter" else SIGNAL
    assert warm_up(registry.create(name, params), sig) is None


def test_fixed_gains_are_bounded():
    """What the first pass has settled needs no past: a known spectrum, a track too clean to denoise."""
    for name, params in [("timbre", {"mode": "flat"}), ("denoise", {})]:
        stage = registry.create(name, params)
        assert warm_up(stage, CLEAN) == WarmUp(2 * stage.n_fft, stage.hop_length)


def test_a_highpass_forgets_no_sooner():
    """Its bound is tight: what a full-scale past leaves is over it one sample earlier."""
    stage = Highpass(cutoff_hz=50.0)
    bound = warm_up(stage, SIGNAL).memory
    assert 0.02 * SIGNAL.sr < bound < 0.3 * SIGNAL.sr
    n = 8 * SIGNAL.sr
    impulse = np.zeros((1, n), np.float32)
    impulse[0, 0] = 1.0
    response = np.abs(run_whole(stage, impulse, SIGNAL)[0].astype(np.float64))
    assert response[bound:].sum() <= 1e-9 < response[bound - 1 :].sum()


def test_a_chain_adds_up():
    """The memories of its stages one after the other, on a grid that all of them share."""
    stages = [registry.create(*each) for each in [("frame-gain", {"frame_length": 300}), ("heat", {}), ("gain", {})]]
    chain = Chain(tuple(stages))
    assert warm_up(chain, SIGNAL) == WarmUp(600 + 1024, 9600)
    check_stage(chain)
    assert warm_up(Chain((*stages, registry.create("level", {}))), SIGNAL) is None
    assert warm_up(Chain(), SIGNAL) == WarmUp(0)


@dataclass(frozen=True)
class SaysTooLittle(Highpass):
    """A high-pass that pretends to forget within 5 ms."""

    name: ClassVar[str] = "says-too-little"

    def warm_up(self, sig):
        return WarmUp(80)


def test_a_bound_that_does_not_hold_is_refused():
    """The check can fail."""
    with pytest.raises(AssertionError, match="80 samples later it differs by .* it remembers more"):
        check_stage(SaysTooLittle())
