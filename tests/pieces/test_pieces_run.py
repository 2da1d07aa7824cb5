"""Long recordings through the command line, cut and uncut."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile as sf
from corpus_voices import VOICES, pink_noise, read_aloud, resampled
from test_promises import assert_same_bytes, run

import corpusdiff

SECONDS = 200


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A FLAC file of voices in noise at 44.1 kHz, beside a clip."""
    folder = tmp_path_factory.mktemp("long") / "recordings"
    folder.mkdir()
    rng = np.random.default_rng(3)
    voices = [resampled(*read_aloud(voice, 5, use_espeak=False), 44100) for voice in VOICES]
    voice = np.resize(np.concatenate([0.7 * voices[0], 0.1 * voices[-1]]), SECONDS * 44100)
    voice[: 3 * 44100] = 0.0
    noise = pink_noise(len(voice), rng) * 0.01
    noise[: 2 * 44100] = noise[80 * 44100 : 84 * 44100] = 0.0  # as it is before a recording begins
    sf.write(folder / "long.flac", np.stack([voice + noise, 0.5 * voice + noise], axis=1), 44100)
    sf.write(folder / "clip.wav", voice[: 4 * 44100], 44100)
    return folder


def made(recordings, out, *options):
    """The corpus of a run."""
    run("run", recordings, out, *options)
    run("verify", out)
    return corpusdiff.open(str(out))


CUT = ("--cut-s", 30)

#: The ready job with its rules, every kind of stage that follows what it hears, and one that nothing settles.
JOBS = {
    "asr": ("--job", "asr"),
    "music": ("--job", "music"),
    "levels": ("--job", "LEVELS"),
    "ramp": ("--job", "RAMP"),
}

LEVELS = """
[source]
sr = 16000
channels = 1

[[chain]]
stage = "highpass"

[[chain]]
stage = "denoise"
max_snr_db = 60.0
hop_length = 256

[[chain]]
stage = "level"
act_on = "speech"
local_gate_db = 15.0

[guard]
max_lsd_db = 12.0

[loudness]
target_lufs = -14.0
max_gain_db = 30.0
ceiling_dbtp = -1.0
max_limiting_db = 12.0

[[output]]
encoding = "pcm"
bits = 32
"""

RAMP = """
[source]
sr = 16000

[[chain]]
stage = "ramp"
k = 0.01

[[chain]]
stage = "level"

[[output]]
encoding = "pcm"
bits = 32
"""


@pytest.fixture(params=JOBS)
def job(request, tmp_path):
    """Options that choose a job."""
    for name, text in (("LEVELS", LEVELS), ("RAMP", RAMP)):
        (tmp_path / f"{name}.toml").write_text(f'name = "{name.lower()}"\n{text}')
    return tuple(str(tmp_path / f"{word}.toml") if word.isupper() else word for word in JOBS[request.param])


def test_any_workers_and_the_whole(recordings, tmp_path, job):
    """Without workers and with three the same bytes; within 1e-6, or a step of 16 bits, of the uncut track."""
    cut = made(recordings, tmp_path / "cut", *job, *CUT, "--cluster", "none")
    assert json.loads((tmp_path / "cut" / "plan" / "0000" / "plan.json").read_text())["plan"]["cut_s"] == 30
    made(recordings, tmp_path / "three", *job, *CUT, "--workers", 3)
    assert_same_bytes(tmp_path / "cut" / "data.zarr", tmp_path / "three" / "data.zarr")
    whole = made(recordings, tmp_path / "whole", *job, "--cut-s", 0, "--cluster", "none")
    for number in range(2):
        ours, theirs = cut[number], whole[number]
        assert ours.id == theirs.id
        difference = np.abs(ours.audio.astype(np.float64) - theirs.audio).max()
        assert difference <= (1e-6 if job[1].endswith(".toml") else 2.01 * 2.0**-16 if job[1] == "asr" else 2.0**-22)
        assert ours.fields == theirs.fields
        for name, value in theirs.metrics.items():
            tolerance = {"out_true_peak_dbtp": 2e-3, "encoded_bytes": 0.01 * value, "out_clip_rate": 1e-5}
            assert ours.metrics[name] == pytest.approx(value, rel=1e-4, abs=tolerance.get(name, 1e-3), nan_ok=True), (
                name
            )


def test_a_recording_that_breaks_off(recordings, tmp_path):
    """What is wrong with it, its row says as that of the uncut one does; the rest goes on."""
    source = tmp_path / "source"
    source.mkdir()
    data = (recordings / "long.flac").read_bytes()
    (source / "long.flac").write_bytes(data[: len(data) * 2 // 3])
    rows = []
    for options in (CUT, ("--cut-s", 0)):
        out = tmp_path / f"out{len(rows)}"
        run("run", source, out, *options, "--cluster", "none", code=3)
        rows.append(corpusdiff.open(str(out)).table().to_pylist()[0])
    assert rows[0]["error"] == rows[1]["error"]
    assert rows[0]["status"] == "failed"
    assert "claimed samples" in rows[0]["error"]


def test_what_is_not_cut(recordings, tmp_path):
    """A job that cuts by itself, and one of a lossy stream, take the recording whole: the same as ever."""
    for name, options in {"segments": ("--set", "source.segment_s=10"), "stream": ("--job", "codec")}.items():
        made(recordings, tmp_path / name, *options, *CUT, "--cluster", "none")
        made(recordings, tmp_path / f"{name}-whole", *options, "--cut-s", 0, "--cluster", "none")
        assert_same_bytes(tmp_path / name / "data.zarr", tmp_path / f"{name}-whole" / "data.zarr")


def test_plans_of_short_tracks_are_as_they_were(tmp_path):
    """Where no track is so long the plan says nothing of pieces, and its digest is that of before there were any."""
    source = tmp_path / "source"
    source.mkdir()
    sf.write(source / "a.wav", np.zeros(16000), 16000)
    run("run", source, tmp_path / "out", "--cluster", "none")
    assert "cut_s" not in json.loads((tmp_path / "out" / "plan" / "0000" / "plan.json").read_text())["plan"]
