"""Every stage keeps the contract, at its defaults and elsewhere."""

from __future__ import annotations

import pytest

from corpusdiff.errors import ParameterError
from corpusdiff.stages import registry
from corpusdiff.stages.chain import Chain
from corpusdiff.testing import ForgetsItsState, check_stage

CASES = [
    ("gain", {}),
    ("gain", {"gain_db": -6.0}),
    ("highpass", {}),
    ("highpass", {"cutoff_hz": 300.0, "order": 5}),
    ("ramp", {"k": 5.0}),
    ("ramp", {"k": -20.0, "a_ref": 0.3, "steps": 4000}),
    ("level", {}),
    ("level", {"reference_dbfs": -20.0, "tau_s": 0.05, "release_s": 0.3, "mix": 0.5}),
    ("level", {"k": 0.05, "steps": 3}),
    ("level", {"reference_lufs": -23.0}),
    ("frame-gain", {}),
    ("frame-gain", {"k": -0.5, "steps": 2, "frame_length": 77}),
    ("timbre", {"mode": "flat"}),
    ("timbre", {"mode": "frame", "n_fft": 256, "hop_length": 128}),
    ("timbre", {"mode": "running", "k": 0.05, "mix": 0.3}),
    ("timbre", {"mode": "profile", "profile": [[0.0, 0.0], [1000.0, -6.0], [8000.0, -30.0]]}),
    ("heat", {}),
    ("heat", {"diffusivity_hz2": -50.0, "n_fft": 384, "hop_length": 96}),
    ("limiter", {}),
    ("limiter", {"ceiling_dbtp": -12.0}),
]


@pytest.mark.parametrize(("name", "params"), CASES)
def test_a_stage_keeps_the_contract(name, params):
    """Splits, pickling, purity, causality, finiteness, JSON, identity."""
    check_stage(registry.create(name, params))


@pytest.mark.parametrize("sr", [8000, 44100, 192000])
@pytest.mark.parametrize("n_channels", [1, 8])
@pytest.mark.parametrize("name", ["highpass", "level", "timbre", "limiter"])
def test_other_rates_and_channels(name, sr, n_channels):
    """The stages of the asr job keep it from 8 to 192 kHz and from 1 to 8 channels."""
    check_stage(registry.create(name, {}), sr=sr, n_channels=n_channels, n_samples=6000, measured=False)


def test_a_chain_is_a_stage():
    """The whole of asr, with two fused spectral stages, keeps the contract too."""
    stages = [registry.create(name, {}) for name in ("highpass", "level", "timbre", "heat", "frame-gain", "gain")]
    chain = Chain(tuple(stages))
    assert [stage.name for stage in chain.stages] == ["highpass", "level", "fused", "frame-gain", "gain"]
    check_stage(chain)


def test_a_stage_that_forgets_its_state_is_refused():
    """The check can fail."""
    with pytest.raises(AssertionError, match="differ from the whole"):
        check_stage(ForgetsItsState())


@pytest.mark.parametrize("name", ["level", "frame-gain", "timbre"])
def test_an_overshooting_k_is_refused(name):
    """k under -1 per step is named, with the bound."""
    with pytest.raises(ParameterError, match="got -1.5; under -1"):
        registry.create(name, {"k": -1.5})


def test_unknown_stages_and_parameters_are_named():
    """With what there is, and the nearest name."""
    with pytest.raises(ParameterError, match="did you mean level"):
        registry.create("levle", {})
    with pytest.raises(ParameterError, match="did you mean steps"):
        registry.create("level", {"step": 3})
