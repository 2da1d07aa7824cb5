"""Odd recordings: every ready job gives finite audio of the right length, or one clear failure."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile as sf

from corpusdiff.errors import ParameterError, TrackError
from corpusdiff.finish import Sinks, TrackContext
from corpusdiff.job import OutputSpec, SourceSpec
from corpusdiff.jobfile import load_job, ready_jobs
from corpusdiff.manifests.base import Track
from corpusdiff.source import open_source
from corpusdiff.stages import registry
from corpusdiff.stages.base import Signal, run_blocks
from corpusdiff.track import process_track

SR = 16000
RNG = np.random.default_rng(3)

#: A second of each; (n_samples, n_channels).
ODD = {
    "silence": np.zeros((SR, 1)),
    "dc": np.full((SR, 1), 0.5),
    "one-sample": np.full((1, 1), 0.7),
    "square": np.sign(np.sin(2 * np.pi * 100 * (np.arange(SR) + 0.5) / SR))[:, None],
    "denormal": np.full((SR, 1), 1e-40),
    "click": np.eye(1, SR, 777).T,
    "loud": 100.0 * RNG.standard_normal((SR, 1)),
}


def processed(folder, name, job):
    """The row of a track and its audio as the first output has it."""
    streams = io.BytesIO()
    context = TrackContext(job, str(folder), 1 << 14)
    (row,) = process_track(Track(name, name), context, Sinks(streams), lambda seconds: None)
    return row


def check(row, n_samples):
    """The right length, and no number that is none where it must be one."""
    assert row["status"] == "ok"
    assert row["n_samples"] == n_samples
    for name in ("out_peak_dbfs", "out_rms_dbfs", "gain_db"):
        assert np.isfinite(row["metrics"][name]), name
    assert row["metrics"]["out_peak_dbfs"] <= 60


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("job", ready_jobs())
def test_odd_signals_give_finite_audio_of_the_right_length(tmp_path, job, name):
    """Silence, DC, a single sample, square waves, denormals, a click, and a hundred times full scale."""
    sf.write(tmp_path / "odd.wav", ODD[name], SR, "FLOAT")
    loaded = load_job(job)
    expected = round(len(ODD[name]) * (loaded.source.sr or SR) / SR)
    row = processed(tmp_path, "odd.wav", loaded)
    if expected:
        check(row, expected)
    if name in {"silence", "denormal"}:
        assert row["metrics"]["gain_db"] == 0.0


@pytest.mark.parametrize("job", ready_jobs())
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_fails_by_name(tmp_path, job, value):
    """NaN and infinities of float files: the failure says where."""
    x = np.zeros((SR, 2), np.float32)
    x[1234, 1] = value
    sf.write(tmp_path / "odd.wav", x, SR, "FLOAT")
    with pytest.raises(TrackError, match=r"sample 1234 of channel 1 is .*, no number") as failure:
        processed(tmp_path, "odd.wav", load_job(job))
    assert failure.value.reason == "decode"


@pytest.mark.parametrize("sr", [8000, 11025, 22050, 48000, 96000, 192000])
@pytest.mark.parametrize("job", ready_jobs())
def test_any_rate_becomes_the_jobs(tmp_path, job, sr):
    """From telephone to studio, to the sample."""
    x = 0.1 * RNG.standard_normal((sr // 2, 1))
    sf.write(tmp_path / "odd.wav", x, sr)
    loaded = load_job(job)
    check(processed(tmp_path, "odd.wav", loaded), round(len(x) * (loaded.source.sr or sr) / sr))


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6, 8])
@pytest.mark.parametrize("sr", [8000, 44100, 192000])
@pytest.mark.parametrize("job", ready_jobs())
def test_a_job_keeps_rate_and_channels_where_it_is_told_to(tmp_path, job, n_channels, sr):
    """The chains themselves, from 8 to 192 kHz and 1 to 8 channels, or one clear refusal."""
    loaded = load_job(job)
    try:
        kept = type(loaded)(
            "kept", rules=loaded.rules, chain=loaded.chain, guard=loaded.guard, loudness=loaded.loudness,
            source=SourceSpec(), outputs=(OutputSpec(),),
        )  # fmt: skip
        sf.write(tmp_path / "odd.wav", 0.1 * RNG.standard_normal((sr // 2, n_channels)), sr)
        row = processed(tmp_path, "odd.wav", kept)
    except (TrackError, ParameterError) as error:
        assert "Hz" in str(error) or "channel" in str(error)  # noqa: PT017  # either way is right
        return
    assert row["n_channels"] == n_channels
    check(row, sr // 2)


def test_a_file_is_read_as_it_is(tmp_path):
    """Full scale and over come through a float file untouched."""
    sf.write(tmp_path / "odd.wav", ODD["loud"], SR, "FLOAT")
    with open_source(Track("odd.wav", "odd.wav"), str(tmp_path)) as reader:
        x = np.concatenate(list(reader.blocks()), axis=1)
    np.testing.assert_array_equal(x.T, ODD["loud"].astype(np.float32))


#: Parameters that make a stage act, where its defaults need more than a signal.
_ACTIVE = {"gain": {"gain_db": -6.0}, "ramp": {"k": 0.5}}

#: Stages of extras, and those whose nature it is to jump at their own frames.
_EXCEPT = {"frame-gain", "onnx", "rnnoise"}


@pytest.mark.parametrize("name", [name for name in registry.available() if name not in _EXCEPT])
@pytest.mark.parametrize("size", [160, 997])
def test_no_click_at_the_borders_of_blocks(name, size):
    """The second difference of the output of a smooth signal is no larger there than elsewhere."""
    stage = registry.create(name, _ACTIVE.get(name, {}))
    n_references = int(getattr(stage, "takes_references", False))
    time_s = np.arange(4 * SR) / SR
    swell = 0.25 * (1.2 + np.sin(2 * np.pi * 0.7 * time_s))
    rows = [swell * np.sin(2 * np.pi * (110 + 20 * c) * time_s) for c in range(1 + n_references)]
    x = np.stack(rows).astype(np.float32)
    signal = Signal(SR, 1, n_references=n_references)
    blocks = np.split(x, range(size, x.shape[1], size), axis=1)
    y = np.concatenate(list(run_blocks(stage, blocks, signal)), axis=1)[0].astype(np.float64)
    bend = np.abs(np.diff(y, 2))
    latency = stage.latency(signal)
    at_border = np.zeros(len(bend), bool)
    for border in range(size - latency % size, len(y), size):
        at_border[max(0, border - 2) : border + 1] = True
    at_border[: SR // 2] = False  # what swings in at the start is no border
    elsewhere = ~at_border
    elsewhere[: SR // 2] = False
    assert bend[at_border].max() <= 1.2 * bend[elsewhere].max()
