"""The guard: a chain that does too much is weakened, and taken back in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from corpusdiff.metrics import Meter
from corpusdiff.shape import shape, weakened, with_references
from corpusdiff.specs import GuardSpec
from corpusdiff.spool import AudioSpool
from corpusdiff.stages.base import Signal, run_whole
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.gain import Gain
from corpusdiff.stages.heat import Heat
from corpusdiff.stages.highpass import Highpass
from corpusdiff.stages.level import Level
from corpusdiff.stages.timbre import Timbre

SR = 16000
RNG = np.random.default_rng(2)
#: Muffled noise whose level comes and goes.
X = np.cumsum(RNG.standard_normal((1, 4 * SR)), axis=1) * (1.1 + np.sin(2 * np.pi * np.arange(4 * SR) / SR))
X = (0.1 * (X - X.mean()) / X.std()).astype(np.float32)
SIGNAL = Signal(SR, 1)


def spool_of(x):
    spool = AudioSpool(len(x))
    spool.write(x)
    return spool


def shaped(stages, guard=None, x=X, signal=SIGNAL):
    """What `shape` gives, and the samples."""
    result = shape(spool_of(x), None, stages, guard, signal, None)
    return result, np.concatenate(list(result.audio.blocks()), axis=1)


def test_within_its_bounds_a_chain_is_left_alone():
    """And without a guard, whatever it does."""
    stages = (Timbre(k=-0.5, steps=16, max_boost_db=40.0),)
    whole = run_whole(Chain(stages), X, SIGNAL)
    for guard in (None, GuardSpec(), GuardSpec(max_lsd_db=100.0, max_loudness_change_lu=100.0, max_clip_rate=1.0)):
        result, y = shaped(stages, guard)
        np.testing.assert_array_equal(y, whole)
        assert (result.guard, result.guard_by) == ("", "")


def test_over_a_bound_the_steps_are_halved_until_it_is_kept():
    """The result is that of the halved chain, the distance is under the bound, and twice the steps were over it."""
    stages = (Timbre(k=-0.05, steps=16, max_boost_db=40.0, max_cut_db=40.0),)
    distances = [shaped(weakened(stages, halvings))[0].change.lsd_db for halvings in range(5)]
    assert distances == sorted(distances, reverse=True)
    for halvings in (1, 2, 4):
        bound = (distances[halvings - 1] + distances[halvings]) / 2
        result, y = shaped(stages, GuardSpec(max_lsd_db=bound))
        assert (result.guard, result.guard_by) == (f"halved-{halvings}", "lsd_db")
        np.testing.assert_array_equal(y, run_whole(Chain(weakened(stages, halvings)), X, SIGNAL))
        assert result.change.lsd_db == distances[halvings] <= bound


def test_where_nothing_helps_the_source_is_kept():
    """A stage that cannot be weakened, over its bound: the track as it was, and the row says so."""
    result, y = shaped((Gain(gain_db=30.0),), GuardSpec(max_clip_rate=0.01))
    assert (result.guard, result.guard_by) == ("source", "clip_rate")
    np.testing.assert_array_equal(y, X)
    assert result.change.lsd_db == 0.0
    assert result.change.si_sdr_db == pytest.approx(100)


def test_the_loudness_has_a_bound_too():
    """Either way, measured before and after the chain."""
    for gain_db, kept in [(4.0, True), (-4.0, True), (6.0, False), (-6.0, False)]:
        result, _ = shaped((Gain(gain_db=gain_db),), GuardSpec(max_loudness_change_lu=5.0))
        assert result.guard == ("" if kept else "source"), gain_db
        assert result.guard_by == ("" if kept else "loudness_change_lu")


def test_what_is_weakened():
    """Steps where there are any, else the mix; nothing else."""
    stages = (Level(k=-0.1, steps=5), Heat(steps=8, mix=0.5), Highpass())
    level, heat, highpass = weakened(stages, 2)
    assert (level.steps, heat.steps, heat.mix) == (1, 2, 0.5)
    assert highpass == stages[2]
    assert weakened(stages, 0) == stages


@dataclass(frozen=True)
class Mixed:
    """A stage that has a mix and no steps."""

    name: ClassVar[str] = "mixed"
    mix: float = 1.0


def test_without_steps_the_mix_is_halved():
    """Down to a sixteenth."""
    assert [weakened((Mixed(),), halvings)[0].mix for halvings in range(5)] == [1.0, 0.5, 0.25, 0.125, 0.0625]


def test_the_spectrum_and_volume_are_those_of_the_output():
    """What `Meter` would find of it."""
    result, y = shaped((Highpass(cutoff_hz=300.0), Level(k=-0.1, steps=3)))
    meter = Meter(SR, 1)
    meter.update(y)
    found = meter.finish()
    known = Meter(SR, 1, result.volume.finish(), result.meter.spectrum)
    known.update(y)
    assert known.finish().metrics == found.metrics


@pytest.mark.parametrize("n_far", [0, 100, 4 * SR, 5 * SR])
def test_references_are_silent_where_they_end(n_far):
    """A far-end file may be shorter or longer than the call; no sample of the call is lost."""
    far = RNG.standard_normal((1, n_far)).astype(np.float32)
    rows = np.concatenate(list(with_references(spool_of(X), spool_of(far))), axis=1)
    np.testing.assert_array_equal(rows[:1], X)
    n = min(n_far, 4 * SR)
    np.testing.assert_array_equal(rows[1, :n], far[0, :n])
    assert not rows[1, n:].any()
