"""Checks that every stage must pass, ours and a plug-in's.

>>> from corpusdiff.stages.gain import Gain
>>> check_stage(Gain(gain_db=-6.0))

A stage that cannot give bitwise equal results for all splits declares the largest difference as its class
attribute ``tolerance``, at most 1e-6.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from corpusdiff.stages import registry
from corpusdiff.stages.base import Audio, Measured, Signal, Spectrum, Stage, State, run_whole, takes_references

#: The largest ``tolerance`` that a stage may declare.
MAX_TOLERANCE = 1e-6


def check_stage(
    stage: Stage, *, sr: int = 16000, n_channels: int = 2, n_samples: int = 12000, measured: bool = True
) -> None:
    """Hold a stage to the contract of `corpusdiff.stages.base`.

    Parameters
    ----------
    stage : what to check; one that takes references gets one
    sr, n_channels : of the test signals
    n_samples : length of the test signals; more than a few times the stage's latency
    measured : check with the first pass's findings too, and not only causally

    Raises
    ------
    AssertionError : says which promise does not hold
    """
    _check_frozen(stage)
    causal = Signal(sr, n_channels, n_references=int(takes_references(stage)))
    x = make_signal(sr, n_channels + causal.n_references, n_samples)
    for sig in [causal, replace(causal, measured=_measured(sr))] if measured else [causal]:
        whole = run_whole(stage, x, sig)
        expected = (n_channels, n_samples)
        assert whole.shape == expected, f"{n_samples} samples in, {whole.shape[1]} out: {whole.shape} for {expected}"
        assert whole.dtype == np.float32, f"float32 in, {whole.dtype} out"
        _check_splits(stage, x, sig)
        _check_purity(stage, x, sig)
        _check_causality(stage, x, sig)
        _check_finite(stage, x, sig)
    _check_silent(stage, np.zeros_like(x), causal)
    _check_json(stage)
    _check_identity(stage, x, causal)


def make_signal(sr: int, n_channels: int, n_samples: int) -> Audio:
    """Noise and a tone whose level wanders, with a silent stretch; (n_channels, n_samples) float32."""
    rng = np.random.default_rng(0)
    time_s = np.arange(n_samples) / sr
    level = 10 ** (-1.5 + np.sin(2 * np.pi * 3 * time_s))
    x = level * (0.3 * rng.standard_normal((n_channels, n_samples)) + np.sin(2 * np.pi * 440 * time_s))
    x[:, n_samples // 2 : n_samples // 2 + n_samples // 8] = 0.0
    return np.clip(x, -1, 1).astype(np.float32)


@dataclass(frozen=True)
class ForgetsItsState:
    """A stage that is wrong on purpose: a delay that starts anew in every block. `check_stage` must refuse it."""

    name: ClassVar[str] = "forgets-its-state"

    n_samples: int = 3

    def latency(self, sig: Signal) -> int:
        """Pretends to have none."""
        return 0

    def initial_state(self, sig: Signal) -> State:
        """Nothing, which is the mistake."""
        return None

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Delay, filling with zeros."""
        y = np.zeros_like(x)
        y[:, self.n_samples :] = x[:, : max(0, x.shape[1] - self.n_samples)]
        return y, state

    def flush(self, state: State, sig: Signal) -> Audio:
        """Nothing is left."""
        return np.zeros((sig.n_channels, 0), np.float32)


def _steps(stage: Stage, blocks: Sequence[Audio], sig: Signal, pickled: bool = False) -> Audio:
    """Everything that comes out, latency included."""
    state = stage.initial_state(sig)
    parts = []
    for x in blocks:
        if pickled:
            state = pickle.loads(pickle.dumps(state))
        before = x.copy()
        y, state = stage.step(x, state, sig)
        assert y.shape == (sig.n_channels, x.shape[1]), f"a block of {x.shape[1]} samples gave {y.shape}"
        assert np.array_equal(before, x), "the input was changed"
        parts.append(y.copy())
    tail = stage.flush(state, sig)
    assert tail.shape[1] == stage.latency(sig), f"flush gave {tail.shape[1]} samples, latency is {stage.latency(sig)}"
    return np.concatenate([*parts, tail], axis=1)


def _check_splits(stage: Stage, x: Audio, sig: Signal) -> None:
    whole = _steps(stage, [x], sig)
    tolerance = getattr(stage, "tolerance", 0.0)
    assert tolerance <= MAX_TOLERANCE, f"tolerance {tolerance:g}, at most {MAX_TOLERANCE:g} is allowed"
    n = x.shape[1]
    n_single = min(
        max(300, stage.latency(sig) + 100), 1500, n // 2
    )  # over the end of a frame, where it is not too long
    splits = {
        "halves": [n // 2],
        "random blocks": np.sort(np.random.default_rng(1).integers(0, n, 12)).tolist(),
        "single samples": list(range(n // 3, n // 3 + n_single)),
        "empty blocks": [0, 7, 7],
    }
    for name, cuts in splits.items():
        split = _steps(stage, np.split(x, cuts, axis=1), sig, pickled=True)
        worst = float(np.abs(split.astype(np.float64) - whole).max())
        assert np.array_equal(split, whole) or worst <= tolerance, f"{name} differ from the whole by {worst:g}"


def _check_purity(stage: Stage, x: Audio, sig: Signal) -> None:
    """The same state gives the same answer twice."""
    _, state = stage.step(x[:, :777], stage.initial_state(sig), sig)
    kept = pickle.dumps(state)
    first, _ = stage.step(x[:, 777:], state, sig)
    first = first.copy()
    assert pickle.dumps(state) == kept, "step changed the state that it was given"
    second, _ = stage.step(x[:, 777:], state, sig)
    assert np.array_equal(first, second), "the same state and block gave two answers"
    stage.flush(state, sig)
    assert pickle.dumps(state) == kept, "flush changed the state that it was given"


def _check_causality(stage: Stage, x: Audio, sig: Signal) -> None:
    """No output sample depends on input later than the declared latency."""
    cut = x.shape[1] // 3
    changed = x.copy()
    changed[:, cut:] = -0.5 * x[:, cut:][:, ::-1]
    before = _steps(stage, [x], sig)[:, :cut]
    after = _steps(stage, [changed], sig)[:, :cut]
    assert np.array_equal(before, after), (
        "output before a change of the input differs: the latency is more than it says"
    )


def _check_finite(stage: Stage, x: Audio, sig: Signal) -> None:
    for name, signal in {"silence": np.zeros_like(x), "full scale": np.sign(x), "DC": np.ones_like(x)}.items():
        assert np.isfinite(run_whole(stage, signal, sig)).all(), f"{name} gives NaN or infinity"
    for n in (0, 1):
        assert run_whole(stage, x[:, :n], sig).shape == (sig.n_channels, n), (
            f"a track of {n} samples changes its length"
        )


def _check_silent(stage: Stage, silence: Audio, sig: Signal) -> None:
    """What the first pass says of silence is no number for most of it."""
    spectrum = Spectrum(np.array([0.0, sig.sr / 2]), np.array([-200.0, -200.0]))
    found = Measured(loudness_lufs=np.nan, level_dbfs=np.nan, peak_level_dbfs=np.nan, spectrum=spectrum)
    y = run_whole(stage, silence, replace(sig, measured=found))
    assert np.isfinite(y).all(), "silence that was measured before gives NaN or infinity"


def _check_frozen(stage: Stage) -> None:
    parameters = getattr(stage, "__dataclass_params__", None)
    assert getattr(parameters, "frozen", False), "a stage is a frozen dataclass"


def _check_json(stage: Stage) -> None:
    if stage.name not in registry.available():
        return
    document = json.loads(json.dumps(registry.to_dict(stage)))
    name = document.pop("stage")
    assert registry.create(name, document) == stage, "does not come back from JSON"


def _check_identity(stage: Stage, x: Audio, sig: Signal) -> None:
    """mix = 0 and steps = 0 change nothing."""
    names = {item.name for item in fields(stage)}  # type: ignore[arg-type]  # a stage is a dataclass
    for name, zero in {"mix": 0.0, "steps": 0}.items():
        if name in names:
            idle: Any = replace(stage, **{name: zero})  # type: ignore[type-var]
            assert np.array_equal(run_whole(idle, x, sig), x[: sig.n_channels]), f"{name} = 0 is not the identity"


def _measured(sr: int) -> Measured:
    freqs_hz = np.linspace(0, sr / 2, 65)
    spectrum = Spectrum(freqs_hz, -20 * np.log10(1 + freqs_hz / 500))
    return Measured(loudness_lufs=-25.0, level_dbfs=-26.0, peak_level_dbfs=-18.0, spectrum=spectrum)
