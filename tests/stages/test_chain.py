"""Chains, fusion and the registry."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import ClassVar

import numpy as np
import pytest

from corpusdiff.dsp import stft
from corpusdiff.errors import ParameterError
from corpusdiff.stages import registry
from corpusdiff.stages.base import Signal, run_blocks, run_whole
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.frame_gain import FrameGain
from corpusdiff.stages.gain import Gain
from corpusdiff.stages.heat import Heat
from corpusdiff.stages.highpass import Highpass
from corpusdiff.stages.level import Level
from corpusdiff.stages.spectral import Spectral
from corpusdiff.stages.timbre import Timbre
from corpusdiff.testing import check_stage, make_signal

SIG = Signal(16000, 2)
X = make_signal(16000, 2, 6000)


def test_no_stages_is_the_identity():
    """Nothing in the chain, nothing done, no delay."""
    assert Chain().latency(SIG) == 0
    np.testing.assert_array_equal(run_whole(Chain(), X, SIG), X)


def test_a_chain_is_its_stages_in_order():
    """Each gets what the one before gave, up to the last sample; latencies add up."""
    stages = (Highpass(), Level(), Gain(gain_db=-3.0))
    expected = X
    for stage in stages:
        expected = run_whole(stage, expected, SIG)
    np.testing.assert_array_equal(run_whole(Chain(stages), X, SIG), expected)
    swapped = run_whole(Chain((Level(), Highpass(), Gain(gain_db=-3.0))), X, SIG)
    assert not np.allclose(swapped, expected, atol=1e-4)
    assert Chain((*stages, FrameGain())).latency(SIG) == 160 + 1024


def test_neighbours_of_equal_frames_are_fused():
    """One transform, one latency; other frames and what stands between part them."""
    a, b, c = Timbre(), Heat(), Heat(n_fft=256, hop_length=64)
    assert Chain((a, b)).latency(SIG) == 511
    assert Chain((a, b, c)).latency(SIG) == 511 + 255
    assert Chain((a, Gain(), b)).latency(SIG) == 2 * 511
    assert Chain((a,)).latency(SIG) == a.latency(SIG)
    np.testing.assert_array_equal(run_whole(Chain((a,)), X, SIG), run_whole(a, X, SIG))


def test_fusion_defines_the_result():
    """Each stage sees the spectrum as the one before left it; y = x delayed + ISTFT((G - 1) X)."""
    first, second = Timbre(mode="frame", mix=0.5), Heat(max_boost_db=3.0)

    def change(spectra):
        power = (np.abs(spectra.astype(np.complex128)) ** 2).mean(axis=0).astype(np.float32)
        g1 = 1 + 0.5 * (first.gains(power, first.initial_gain_state(SIG), SIG)[0] - 1)
        g2, _ = second.gains(power * g1 * g1, second.initial_gain_state(SIG), SIG)
        return (spectra * (g1 * g2 - 1)).astype(np.complex64)

    state = stft.initial(2, 512)
    head, state = stft.process(X, state, 512, 128, change)
    expected = np.concatenate([head, stft.flush(state, 512, 128, change)], axis=1)[:, 511:]
    np.testing.assert_allclose(run_whole(Chain((first, second)), X, SIG), expected, atol=2e-6)


@dataclass(frozen=True)
class Gate(Spectral):
    """A spectral stage as a plug-in would write it: mutes what lies under a power."""

    name: ClassVar[str] = "gate"

    power: float = 1e-3
    n_fft: int = 512
    hop_length: int = 128
    mix: float = 1.0

    def initial_gain_state(self, sig):
        return None

    def gains(self, power, state, sig):
        return (power > self.power).astype(np.float32), state


def test_a_spectral_stage_of_ones_own():
    """It keeps the contract and gets the mean power of the channels, whatever their number."""
    check_stage(Gate())
    t = np.arange(8000) / 16000
    tone = np.sin(2 * np.pi * 1000 * t).astype(np.float32)
    # a full-scale sine in the middle of bin 32: half the sum of the window, squared
    power = (0.5 * stft.root_hann(512, 128).sum()) ** 2
    for n_channels in (1, 4):
        x = np.zeros((n_channels, 8000), np.float32)
        x[0] = tone
        loudest = power / n_channels
        for threshold, passes in ((0.9 * loudest, True), (1.1 * loudest, False)):
            y = run_whole(Gate(power=threshold), x, Signal(16000, n_channels))
            assert (np.abs(y[0, 2000:6000]).max() > 0.1) == passes


def test_all_channels_get_one_spectral_gain():
    """From their mean power: a channel that is a copy at another level stays a copy."""
    x = np.stack([X[0], np.float32(0.125) * X[0]])
    y = run_whole(Chain((Timbre(mode="frame"),)), x, SIG)
    np.testing.assert_allclose(y[1], 0.125 * y[0], atol=1e-7)


@pytest.mark.parametrize("name", [name for name in registry.available() if name != "onnx"])  # which needs a model
def test_every_stage_has_defaults_and_returns_from_json_types(name):
    """Names, parameters and class belong together."""
    stage = registry.create(name, {})
    document = registry.to_dict(stage)
    assert document.pop("stage") == name == type(stage).name
    assert registry.create(name, document) == stage


def test_a_plug_in_that_cannot_be_loaded_is_named(monkeypatch):
    """With what it is registered as."""
    point = EntryPoint("broken", "no_such_package.stages:Broken", registry.GROUP)
    monkeypatch.setattr(registry, "_points", lambda: {"broken": point})
    with pytest.raises(ParameterError, match=r"no_such_package\.stages:Broken, which cannot be loaded"):
        registry.create("broken", {})


@dataclass(frozen=True)
class Subtract:
    """Take the reference away from every channel."""

    name: ClassVar[str] = "subtract"
    takes_references: ClassVar[bool] = True

    def latency(self, sig: Signal) -> int:
        return 0

    def initial_state(self, sig: Signal) -> None:
        return None

    def step(self, x, state, sig):
        return x[: sig.n_channels] - x[sig.n_channels :], None

    def flush(self, state, sig):
        return np.zeros((sig.n_channels, 0), np.float32)


@pytest.mark.parametrize("cuts", [[], [1, 2, 700, 5000], list(range(0, 6000, 37))])
def test_references_keep_time_with_the_audio(cuts):
    """A reference arrives at its stage as late as the audio does, whatever is before and behind, to the last sample."""
    sig = Signal(16000, 1, n_references=1)
    chain = Chain((FrameGain(frame_length=256, mix=0.0), Subtract(), Timbre(mix=0.0), FrameGain(mix=0.0)))
    y = np.concatenate(list(run_blocks(chain, np.split(X, cuts, axis=1), sig)), axis=1)
    np.testing.assert_allclose(y, X[:1] - X[1:], atol=1e-6)
