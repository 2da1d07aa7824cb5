"""Parameters that change while a chain runs."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import pytest

from corpusdiff.control import FADE_S, Adjustable, ControlFile, Setting, carried_over
from corpusdiff.errors import ParameterError, UsageError
from corpusdiff.stages import registry
from corpusdiff.stages.base import Measured, Signal, Spectrum, run_whole, takes_references
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.gain import Gain
from corpusdiff.stages.heat import Heat
from corpusdiff.stages.highpass import Highpass
from corpusdiff.stages.level import Level
from corpusdiff.stages.limiter import Limiter
from corpusdiff.stages.ramp import Ramp
from corpusdiff.stages.running_loudness import RunningLoudness
from corpusdiff.stages.timbre import Timbre

SR = 16000
SIG = Signal(SR, 1)


def tone(seconds=2.0, hz=200.0, amplitude=0.3):
    """(1, n) float32."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * SR)) / SR)).astype(np.float32)[None]


def run(stages, x, changes, sig=SIG, block=160):
    """The whole output, with settings made before the blocks that begin at their samples."""
    player = Adjustable(stages, sig)
    parts = []
    for start in range(0, x.shape[1], block):
        for line in changes.get(start, ()):
            player.change(Setting.parse(line))
        parts.append(player.step(x[:, start : start + block]))
    return np.concatenate([*parts, player.finish()], axis=1)


def bend(y):
    """Largest second difference."""
    return np.abs(np.diff(y.astype(np.float64), 2)).max()


@pytest.mark.parametrize(
    ("stages", "line", "after"),
    [
        ((Gain(0.0),), "gain.gain_db=-20", (Gain(-20.0),)),
        ((Gain(0.0), Gain(6.0)), "1.gain_db=0", (Gain(0.0), Gain(0.0))),
        ((Level(reference_dbfs=-20.0, steps=0),), "level.steps=10", (Level(reference_dbfs=-20.0),)),
        ((Level(reference_dbfs=-20.0),), "chain.level.k = -0.02", (Level(reference_dbfs=-20.0, k=-0.02),)),
        ((Level(reference_dbfs=-20.0),), "level.mix=0", (Level(reference_dbfs=-20.0, mix=0.0),)),
        ((Timbre(mode="frame"),), "timbre.steps=20", (Timbre(mode="frame", steps=20),)),
        ((Timbre(mode="frame"),), "timbre.mode=flat", (Timbre(mode="flat"),)),
        ((Timbre(), Heat()), "heat.mix=0.2", (Timbre(), Heat(mix=0.2))),
        ((Highpass(50.0),), "highpass.cutoff_hz=300", (Highpass(300.0),)),
        ((Limiter(),), "limiter.ceiling_dbtp=-20", (Limiter(ceiling_dbtp=-20.0),)),
        ((RunningLoudness(gain_tau_s=0.1),), "running-loudness.target_lufs=-40",
         (RunningLoudness(target_lufs=-40.0, gain_tau_s=0.1),)),
    ],
)  # fmt: skip
def test_a_change_takes_effect_without_a_click(stages, line, after):
    """The output ends as that of the new parameters, and nowhere bends more than the signals on both sides do."""
    x = tone(seconds=4.0)
    y = run(stages, x, {SR: [line]})
    old, new = run_whole(Chain(stages), x, SIG), run_whole(Chain(after), x, SIG)
    assert y.shape == x.shape
    np.testing.assert_array_equal(y[:, : SR - 1000], old[:, : SR - 1000])
    # the memory of a follower of five seconds decides by how much they still differ
    assert np.abs(y[:, -SR // 2 :] - new[:, -SR // 2 :]).max() < 0.05 * np.abs(new).max()
    swept = slice(SR - 1000, SR + 4000)
    steady = max(bend(old[:, swept]), bend(new[:, swept]))
    assert bend(y[:, swept]) < 1.1 * steady + 1e-4, (bend(y[:, swept]), steady)


def test_the_measure_of_clicks_would_hear_one():
    """A gain that jumps bends the output by far more than allowed above."""
    x = tone()
    jumped = np.concatenate([x[:, : SR + 20], 0.1 * x[:, SR + 20 :]], axis=1)
    assert bend(jumped) > 5 * bend(x)


def test_a_change_of_what_was_measured_beforehand_takes_effect():
    """A spectral stage that knows the long-term spectrum works its gains out at the start, and anew at a change."""
    tilted = Spectrum(np.array([0.0, SR / 2]), np.array([0.0, -40.0]))
    sig = replace(SIG, measured=Measured(-23.0, -23.0, -20.0, tilted))
    x = np.random.default_rng(1).standard_normal((1, 2 * SR)).astype(np.float32)
    y = run((Timbre(steps=0),), x, {SR // 2 // 160 * 160: ["timbre.steps=30"]}, sig)
    expected = run_whole(Timbre(steps=30), x, sig)
    np.testing.assert_array_equal(y[:, -SR:], expected[:, -SR:])
    assert np.abs(expected - x).max() > 0.1


def test_several_changes_at_once_are_one_fade():
    """And the next ones wait until it is over."""
    player = Adjustable((Gain(0.0), Level(steps=0)), SIG)
    player.change(Setting.parse("gain.gain_db=-6"))
    assert not player.is_fading
    player.change(Setting.parse("level.mix=0.5"))
    player.step(tone()[:, :100])
    assert player.is_fading
    player.step(tone()[:, : round(FADE_S * SR)])
    assert not player.is_fading


@pytest.mark.parametrize("block", [1, 37, 480, 10_000])
def test_a_fade_does_not_depend_on_the_blocks(block):
    """Given the sample at which it begins."""
    x = tone()
    stages = (Level(), Timbre(mode="frame"))

    def played(size):
        player = Adjustable(stages, SIG)
        parts = [player.step(x[:, :5000])]
        player.change(Setting.parse("level.steps=3"))
        parts += [player.step(x[:, i : i + size]) for i in range(5000, x.shape[1], size)]
        return np.concatenate([*parts, player.finish()], axis=1)

    np.testing.assert_array_equal(played(block), played(x.shape[1]))


def test_a_stream_may_end_within_a_fade():
    """The rest of the fade falls on what the chain still holds."""
    x = tone()
    player = Adjustable((Limiter(),), SIG)
    head = player.step(x)
    player.change(Setting.parse("limiter.ceiling_dbtp=-40"))
    y = np.concatenate([head, player.finish()], axis=1)
    assert y.shape == x.shape
    assert bend(y) < 1.05 * bend(x)


#: Stages of extras: they need a package or a model, and are tested beside it.
EXTRAS = {"onnx", "rnnoise"}


@pytest.mark.parametrize("name", [name for name in registry.available() if name not in EXTRAS])
def test_every_stage_can_be_weakened_while_it_runs(name):
    """Steps, mix and k where it has them: no click, but at the frames of the one stage whose nature that is."""
    stage = registry.create(name, {})
    sig = replace(SIG, n_references=int(takes_references(stage)))
    x = np.concatenate([tone()] * (1 + sig.n_references))
    before = run((stage,), x, {}, sig)
    for parameter in {"steps", "mix", "k"} & {item.name for item in fields(stage)}:
        value = getattr(stage, parameter) or 0
        weaker = value // 2 if parameter == "steps" else value / 2
        y = run((stage,), x, {SR: [f"0.{parameter}={weaker}"]}, sig)
        after = run((replace(stage, **{parameter: weaker}),), x, {}, sig)
        assert y.shape == before.shape
        if name != "frame-gain":
            assert bend(y) < 1.1 * max(bend(before), bend(after)) + 1e-4, parameter


@dataclass(frozen=True)
class Built(Gain):
    """A stage whose state grows out of its parameter."""

    name: ClassVar[str] = "built"

    def initial_state(self, sig):
        return self.gain_db

    def step(self, x, state, sig):
        return x, state + 1.0


@pytest.mark.parametrize(
    ("stages", "line", "words"),
    [
        ((Level(),), "levle.steps=4", "levle: is no stage of this chain; there are 0 level"),
        ((Level(), Level()), "level.steps=4", "names more than one, give its number; there are 0 level, 1 level"),
        ((Level(),), "1.steps=4", "is no stage of this chain"),
        ((Level(),), "level.stepz=4", "level has no such parameter; it has k, steps"),
        ((Level(),), "level.steps=4.5", "got 4.5 where level has 10"),
        ((Level(),), "level.steps=many", "got 'many' where level has 10"),
        ((Level(),), "level.steps=-1", "got -1; give a whole number, 0 or more"),
        ((Level(),), "level.k=-3", "overshoots the reference"),
        ((Level(),), "level.steps", "expected STAGE.PARAMETER=VALUE"),
        ((Level(),), "steps=4", "expected STAGE.PARAMETER=VALUE"),
        ((Level(),), "level.steps=", "expected STAGE.PARAMETER=VALUE"),
        ((Timbre(),), "timbre.n_fft=1024", "changes the latency"),
        ((Timbre(),), "timbre.mode=profile", "profile"),
        ((Highpass(),), "highpass.cutoff_hz=9000", "is not under half"),
        ((Built(),), "built.gain_db=3", "is built into what the stage remembers: start the stream anew"),
    ],
)
def test_what_cannot_change_is_refused_and_nothing_changes(stages, line, words):
    """With what is wrong, and the chain goes on as it was."""
    x = tone(0.5)
    player = Adjustable(stages, SIG)
    head = player.step(x[:, :4000])
    with pytest.raises(ParameterError, match=words):
        player.change(Setting.parse(line))
    y = np.concatenate([head, player.step(x[:, 4000:]), player.finish()], axis=1)
    np.testing.assert_array_equal(y, run_whole(Chain(stages), x, SIG))


def test_a_state_is_carried_over_where_the_parameters_do_not_enter_it():
    """Parts that are constants of the parameters are exchanged, parts that have moved on since are not."""
    first, fresh = (0, np.zeros(2), (1.0, None)), (0, np.zeros(2), (2.0, None))
    moved = (7, np.ones(2), (1.0, "x"))
    found = carried_over(moved, first, fresh)
    assert (found[0], found[2]) == (7, (2.0, "x"))
    np.testing.assert_array_equal(found[1], np.ones(2))
    with pytest.raises(ValueError, match="remembers"):
        carried_over((7, np.ones(2), (1.5, "x")), first, fresh)
    assert carried_over(5, Ramp().initial_state(SIG), Ramp(k=1.0).initial_state(SIG)) == 5


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_lines_come_as_they_are_written(tmp_path, kind):
    """Never waited for; a line that is not complete is kept; wrong ones are complained about."""
    path = tmp_path / "control"
    path.touch() if kind == "file" else os.mkfifo(path)
    complaints = []
    control = ControlFile(str(path), complaints.append)
    assert [*control.settings()] == []
    with path.open("ab", buffering=0) as writer:
        assert [*control.settings()] == []
        writer.write(b"level.steps=4\n\n# a word\nnonsense\n0.k=-0.")
        assert [*control.settings()] == [Setting("level", "steps", 4)]
        writer.write(b"2\n")
        assert [*control.settings()] == [Setting("0", "k", -0.2)]
    assert [*control.settings()] == []
    assert len(complaints) == 1
    assert complaints[0].startswith("nonsense: ")
    control.close()


def test_a_control_file_that_is_not_there_is_refused(tmp_path):
    """With how to make one."""
    with pytest.raises(UsageError, match="mkfifo"):
        ControlFile(str(tmp_path / "nothing"), print)
    with pytest.raises(UsageError, match="neither a pipe nor a file"):
        ControlFile(str(tmp_path), print)
