"""The causal form of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from corpusdiff.dsp.truepeak import TruePeakMeter
from corpusdiff.errors import JobError, UsageError
from corpusdiff.job import Job, Rule
from corpusdiff.jobfile import load_job, ready_jobs
from corpusdiff.live import LOOKAHEAD_S, causal_chain
from corpusdiff.specs import GuardSpec, LoudnessSpec, SourceSpec, VadSpec
from corpusdiff.stages.base import Measured, Signal, Spectrum
from corpusdiff.stages.gain import Gain
from corpusdiff.stages.level import Level
from corpusdiff.stages.limiter import Limiter
from corpusdiff.stages.running_loudness import RunningLoudness
from corpusdiff.stages.timbre import Timbre

SR = 16000


def measured(loudness_lufs=-30.0, snr_db=20.0):
    flat = Spectrum(np.array([0.0, SR / 2]), np.zeros(2))
    return Measured(loudness_lufs, -30.0, -25.0, flat, snr_db=snr_db)


def voice(n_channels=1, seconds=4.0, seed=1):
    """Bursts of noise with a wandering level; float32."""
    rng = np.random.default_rng(seed)
    n = round(seconds * SR)
    level = 10 ** (-1.5 + 0.7 * np.sin(2 * np.pi * np.arange(n) / SR / 1.7))
    return (0.5 * level * rng.standard_normal((n_channels, n))).astype(np.float32)


@dataclass(frozen=True)
class NeedsAll(Gain):
    """A stage that cannot do without the first pass."""

    name: ClassVar[str] = "needs-all"
    needs_measured: ClassVar[bool] = True


@dataclass(frozen=True)
class FarEnd(Gain):
    """Gives the far-end signal that it is handed."""

    name: ClassVar[str] = "far-end"
    takes_references: ClassVar[bool] = True

    def step(self, x, state, sig):
        return np.repeat(x[sig.n_channels :], sig.n_channels, axis=0), state


def test_the_loudness_is_one_gain_where_it_was_measured():
    """Else a running estimate; with the limiter behind either, and nothing where the job sets no loudness."""
    job = Job("j", chain=(Level(),), loudness=LoudnessSpec(-23.0, max_gain_db=20.0, ceiling_dbtp=-2.0))
    running = causal_chain(job, SR, 1).stages
    limiter = Limiter(ceiling_dbtp=-2.0, lookahead_s=LOOKAHEAD_S)
    assert running == (Level(), RunningLoudness(-23.0, max_boost_db=20.0), limiter)
    assert causal_chain(job, SR, 1, measured(-30.0)).stages[1] == Gain(7.0)
    assert causal_chain(job, SR, 1, measured(-60.0)).stages[1] == Gain(20.0), "no more than max_gain_db"
    assert causal_chain(job, SR, 1, measured(np.nan)).stages[1] == running[1], "nothing is known of silence"
    assert causal_chain(Job("j", chain=(Level(),)), SR, 1).stages == (Level(),)


def test_rules_are_asked_about_what_was_measured():
    """Without it the job's own chain is taken, and that is said."""
    rules = (Rule("noisy", "snr_db < 10", (Gain(-1.0),)), Rule("chinese", 'lang == "zh"', (Gain(-2.0),)))
    job = Job("j", chain=(Gain(-3.0),), rules=rules)
    blind = causal_chain(job, SR, 1, fields={"lang": "zh"})
    assert (blind.rule, blind.stages) == ("default", (Gain(-3.0),))
    assert "--measured FILE" in blind.notes[0]
    assert causal_chain(job, SR, 1, measured(snr_db=3.0)).rule == "noisy"
    assert causal_chain(job, SR, 1, measured(snr_db=30.0)).rule == "default"
    assert causal_chain(job, SR, 1, measured(snr_db=30.0), {"lang": "zh"}).stages == (Gain(-2.0),)
    assert causal_chain(job, SR, 1, measured(snr_db=np.nan)).rule == "default"


def test_rules_know_the_bandwidth_by_the_spectrum():
    """As a run would measure it, also where the document has but a few points of the spectrum."""
    job = Job("j", rules=(Rule("muffled", "bandwidth_hz < 3000", (Gain(-1.0),)),))
    for n_bins in (5, 257, 1025):
        freqs_hz = np.linspace(0, SR / 2, n_bins)
        steep = Spectrum(freqs_hz, -freqs_hz / 20)
        for spectrum, rule in ((steep, "muffled"), (Spectrum(freqs_hz, np.zeros(n_bins)), "default")):
            known = Measured(-23.0, -23.0, -20.0, spectrum)
            assert causal_chain(job, SR, 1, known).rule == rule


def test_a_stage_that_needs_the_whole_recording_is_refused_by_name():
    """With the remedy, which works."""
    job = Job("j", chain=(NeedsAll(),))
    with pytest.raises(JobError, match=r"j: needs-all needs to know .*--measured FILE"):
        causal_chain(job, SR, 1)
    assert causal_chain(job, SR, 1, measured()).signal.measured is not None


def test_what_differs_from_a_run_is_said():
    """The guard is off, and nothing is cut."""
    job = Job("j", vad=VadSpec(), guard=GuardSpec(max_lsd_db=3.0))
    guard, cut = causal_chain(job, SR, 1).notes
    assert "guard" in guard
    assert "nothing is cut" in cut
    assert causal_chain(Job("j"), SR, 1).notes == ()


@pytest.mark.parametrize(
    ("job", "sr", "n_inputs", "words"),
    [
        (Job("j", source=SourceSpec(sr=SR)), 48000, 1, "give --sr 16000 .* or --set source.sr=48000"),
        (Job("j", source=SourceSpec(speed=0.9)), SR, 1, "change the length"),
        (Job("j", source=SourceSpec(tempo=1.1)), SR, 1, "change the length"),
        (Job("j", source=SourceSpec(reference_field="far")), SR, 2, "source.reference_channel"),
        (Job("j", source=SourceSpec(reference_channel=1)), SR, 1, "there are 1 channels"),
        (Job("j", source=SourceSpec(reference_channel=0)), SR, 1, "one more to process"),
        (Job("j", source=SourceSpec(channels=6)), SR, 2, "2 channels cannot become 6"),
        (Job("j", chain=(Timbre(low_hz=9000.0),)), SR, 1, "chain.timbre.low_hz"),
    ],
)
def test_what_cannot_be_done_is_refused(job, sr, n_inputs, words):
    """Before anything is heard."""
    with pytest.raises(UsageError, match=words):
        causal_chain(job, sr, n_inputs)


def test_channels_are_mixed_and_the_far_end_is_set_apart():
    """Whichever channel it is; the stages that ask for it get it at the time of their own input."""
    x = voice(3)
    mono = causal_chain(Job("j", source=SourceSpec(channels=1)), SR, 3)
    np.testing.assert_array_equal(mono.rows(x)[0], (x[0] + x[1] + x[2]) * np.float32(1 / 3))
    for channel in range(3):
        others = [i for i in range(3) if i != channel]
        live = causal_chain(Job("j", source=SourceSpec(reference_channel=channel), chain=(Level(), FarEnd())), SR, 3)
        assert live.signal == Signal(SR, 2, n_references=1)
        np.testing.assert_array_equal(live.rows(x), x[[*others, channel]])
        y = np.concatenate([*live.run([live.rows(x)])], axis=1)
        np.testing.assert_array_equal(y, x[[channel, channel]])


@pytest.mark.parametrize("job", ready_jobs())
def test_the_ready_jobs_do_not_depend_on_the_blocks(job):
    """Bit for bit, and with as many samples out as in."""
    sr = load_job(job).source.sr or SR
    live = causal_chain(load_job(job), sr, 2)
    x = voice(2)
    whole = np.concatenate([*live.run([live.rows(x)])], axis=1)
    assert whole.shape[1] == x.shape[1]
    cuts = np.sort(np.random.default_rng(3).integers(0, x.shape[1], 300))
    parts = np.concatenate([*live.run(live.rows(part) for part in np.split(x, cuts, axis=1))], axis=1)
    np.testing.assert_array_equal(parts, whole)


def test_latencies_add_up():
    """Stages that share a transform count once, by their joined names."""
    job = Job("j", chain=(Timbre(), Timbre(mode="frame"), Level()), loudness=LoudnessSpec(-23.0))
    live = causal_chain(job, SR, 1)
    assert [name for name, _ in live.latencies()] == ["timbre+timbre", "level", "running-loudness", "limiter"]
    assert sum(samples for _, samples in live.latencies()) == live.latency
    click = np.zeros((1, 8000), np.float32)
    click[0, 4000] = 0.01
    y, _ = live.chain.step(click, live.chain.initial_state(live.signal), live.signal)
    assert np.abs(y[0]).argmax() == 4000 + live.latency


def test_the_ceiling_holds():
    """Also behind the shorter look-ahead: bursts far over it come out under it, by the true peak."""
    job = Job("j", chain=(Gain(20.0),), loudness=LoudnessSpec(-14.0, ceiling_dbtp=-1.0))
    x = voice(2)
    meter = TruePeakMeter(2)
    live = causal_chain(job, SR, 2)
    for y in live.run([live.rows(x)]):
        meter.update(y)
    assert -1.1 < meter.finish() < -0.95
