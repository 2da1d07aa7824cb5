"""States that agree, the places where pieces begin, and what may travel between processes."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from corpusdiff.dsp.loudness import PRIME_S
from corpusdiff.pieces.packing import packed, unpacked
from corpusdiff.pieces.shape import JOIN_S, WARM_S, agree, planned_run, run_over
from corpusdiff.pieces.share import Stretch
from corpusdiff.stages import registry
from corpusdiff.stages.base import Measured, Signal, Spectrum, run_whole
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.limiter import Limiter
from corpusdiff.testing import make_signal

SR = 16000
SPECTRUM = Spectrum(np.linspace(0, 8000, 65), np.zeros(65))
SIGNAL = Signal(SR, 2, Measured(-25.0, -26.0, -18.0, SPECTRUM, snr_db=5.0))
STAGES = ("highpass", "level", "denoise", "timbre", "heat", "limiter", "running-loudness", "gain", "ramp")


@pytest.mark.parametrize("name", STAGES)
def test_from_a_state_in_the_middle_on(name):
    """A stage that goes on from its own state at any place gives the samples of the whole; the state is that there."""
    stage = registry.create(name, {"gain_db": 3.0} if name == "gain" else {"k": 0.1} if name == "ramp" else {})
    x = make_signal(SR, 2, 3 * SR)
    whole = run_whole(stage, x, SIGNAL)
    marks = {20_000: None, 40_001: None}
    begun = stage.initial_state(SIGNAL)
    first = [*run_over(stage, begun, [x[:, :7000], x[:, 7000:]], 0, Stretch(0, 30_000), SIGNAL, marks)]
    later = [*run_over(stage, marks[20_000], [x[:, 20_000:]], 20_000, Stretch(30_000), SIGNAL)]
    np.testing.assert_array_equal(np.concatenate([*first, *later], axis=1), whole)
    again = {40_001: None}
    list(run_over(stage, marks[20_000], [x[:, 20_000:33_000], x[:, 33_000:]], 20_000, Stretch(0), SIGNAL, again))
    assert agree(again[40_001], marks[40_001])
    assert not agree(marks[20_000], marks[40_001]) or name == "gain"


def test_runs_begin_where_the_stages_clocks_do():
    """A multiple of every hop, half a minute and more before a piece; at the start where that is near."""
    chain = Chain(tuple(registry.create(name, {}) for name in ("level", "denoise", "heat")))
    grid = chain.period(SIGNAL)
    run = planned_run(chain, Stretch(600 * SR, 1200 * SR), SIGNAL)
    assert run.first % grid == 0
    assert grid % 160 == 0
    assert run.begins - run.first >= WARM_S * SR
    assert (run.begins, run.ends) == ((600 - JOIN_S) * SR, (1200 - JOIN_S) * SR)
    assert planned_run(chain, Stretch(0, 600 * SR), SIGNAL).first == 0


def test_what_follows_the_chain_hears_enough():
    """The limiter has let go, and the filters of the loudness have settled, within what is heard before a piece."""
    limiter = Limiter()
    let_go_s = limiter.release_s * np.log(2.0**41) + 3 * limiter.lookahead_s
    assert let_go_s + PRIME_S < JOIN_S


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, 2.0), (1, 2.0000000000000004)),
        (np.zeros(3), np.zeros(4)),
        (np.zeros(3, np.float32), np.zeros(3)),
        ({"a": 1}, {"b": 1}),
        (None, 0),
    ],
)
def test_states_that_differ(one, other):
    """In the last bit, in shape, type and name."""
    assert agree(one, one)
    assert not agree(one, other)


class Foreign:
    """Of no package that is let in."""


class Evil:
    """What would run a program where it is unpickled."""

    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize("value", [Foreign(), Evil(), np.load, pickle.loads, [Stretch(0), Evil()]])
def test_only_what_is_ours_is_unpacked(value):
    """Functions, foreign classes and calls are refused; stretches, states and arrays come through."""
    with pytest.raises(pickle.UnpicklingError, match="is not taken from elsewhere"):
        unpacked(packed(value))
    state = (Stretch(3), Chain(()).initial_state(SIGNAL), np.arange(3.0), np.float64(2.0), {"a": [None, "b", 1.5]})
    found = unpacked(packed(state))
    assert agree(found[2], state[2])
    assert found[0] == Stretch(3)


def test_functions_of_ours_are_no_values():
    """A pickle that names a function of this package, or what a module of it has imported, is refused."""
    for module, name in (("corpusdiff.confine", "confine"), ("corpusdiff.spread", "hashlib"), ("os", "system")):
        text = f"c{module}\n{name}\n.".encode()
        with pytest.raises(pickle.UnpicklingError, match="not taken"):
            unpacked(text)
