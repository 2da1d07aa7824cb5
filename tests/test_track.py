"""One track through a whole job: no row and no byte depends on how it is cut into blocks."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import soundfile as sf

from corpusdiff import source, spool
from corpusdiff.dsp.resample import segment_bounds
from corpusdiff.errors import TrackError
from corpusdiff.finish import Sinks, TrackContext, loudness_gain
from corpusdiff.jobfile import load_job, ready_jobs
from corpusdiff.manifests.base import Track
from corpusdiff.specs import LoudnessSpec
from corpusdiff.track import process_track


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Five seconds of a wandering, noisy tone with loud peaks, stereo at 44.1 kHz and mono at 16 kHz."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(5)
    for name, sr, n_channels in [("stereo.flac", 44100, 2), ("mono.wav", 16000, 1)]:
        time_s = np.arange(5 * sr) / sr
        x = 10 ** (-1.5 + 0.8 * np.sin(2 * np.pi * time_s)) * np.sin(2 * np.pi * 330 * time_s)
        x = x[:, None] + 0.005 * rng.standard_normal((5 * sr, n_channels))
        x[:: sr // 3] = 0.99
        sf.write(folder / name, np.clip(x, -1, 1), sr)
    return folder


def processed(folder, name, job, sets=()):
    """Rows of a track, and the digest of its streams."""
    streams = io.BytesIO()
    context = TrackContext(load_job(job, sets), str(folder), 1 << 14)
    rows = process_track(Track(name, name), context, Sinks(streams), lambda seconds: None)
    return rows, hashlib.sha256(streams.getvalue()).hexdigest()


@pytest.mark.parametrize("job", ready_jobs())
@pytest.mark.parametrize("name", ["stereo.flac", "mono.wav"])
def test_blocks_change_nothing(recordings, monkeypatch, job, name):
    """Neither the source's blocks nor those between the passes, nor where the audio waits."""
    whole = processed(recordings, name, job)
    for source_block, block in [(1024, 1000), (5003, 70_001), (65536, 4096)]:
        monkeypatch.setattr(source, "BLOCK", source_block)
        monkeypatch.setattr(spool, "BLOCK", block)
        assert processed(recordings, name, job) == whole, (source_block, block)
    monkeypatch.setattr(spool.AudioSpool.__init__, "__defaults__", (None, 0))  # on disk from the first sample
    assert processed(recordings, name, job) == whole


@pytest.mark.parametrize(("segment_s", "overlap_s"), [(1.0, 0.0), (1.3, 0.4), (5.0, 0.0), (9.0, 1.0)])
def test_segments_are_those_of_the_plain_rule(recordings, segment_s, overlap_s):
    """Bounds as by `segment_bounds`, and each segment what processing it alone would give."""
    sets = [f"source.segment_s={segment_s}", f"source.overlap_s={overlap_s}"]
    rows, _ = processed(recordings, "mono.wav", "asr", sets)
    bounds = segment_bounds(5 * 16000, 16000, segment_s, overlap_s)
    assert [(row["start_s"], row["n_samples"]) for row in rows] == [
        (start / 16000, stop - start) for start, stop in bounds
    ]
    assert {row["parent"] for row in rows} == {"mono.wav"}
    for row, (start, stop) in zip(rows, bounds, strict=True):
        streams = io.BytesIO()
        part = Track("part", "mono.wav", offset_s=start / 16000, duration_s=(stop - start) / 16000)
        context = TrackContext(load_job("asr"), str(recordings), 1 << 14)
        alone = process_track(part, context, Sinks(streams), lambda seconds: None)[0]
        for name, value in alone["metrics"].items():
            if name not in {"header_diff_s", "encoded_bytes"}:
                assert row["metrics"][name] == pytest.approx(value, nan_ok=True), name


def test_every_track_ends_with_the_samples_it_should(recordings):
    """Resampled length is that of the source, rounded; a kept rate and both channels stay."""
    rows, _ = processed(recordings, "stereo.flac", "asr")
    assert rows[0]["n_samples"] == 5 * 16000
    assert rows[0]["metrics"]["header_diff_s"] == 0.0
    kept, _ = processed(recordings, "stereo.flac", "listing", ["source.sr=44100", "source.channels=2"])
    assert (kept[0]["n_samples"], kept[0]["n_channels"]) == (5 * 44100, 2)


def test_what_does_not_fit_fails_with_a_remedy(recordings):
    """Channels that would have to be made up, and a track that goes on for too long."""
    with pytest.raises(TrackError, match="2 channels cannot become 3"):
        processed(recordings, "stereo.flac", "listing", ["source.channels=3"])
    with pytest.raises(TrackError, match="max_track_hours"):
        processed(recordings, "mono.wav", "asr", ["source.max_track_hours=0.001"])


@pytest.mark.parametrize(
    ("loudness", "peak", "db", "limiting", "bounded_by"),
    [
        (-30.0, -20.0, 7.0, 0.0, ""),
        (-20.0, -1.0, -3.0, 0.0, ""),
        (-70.0, -60.0, 30.0, 0.0, "max_gain_db"),
        (-30.0, -6.0, 7.0, 2.0, ""),
        (-40.0, -6.0, 11.0, 6.0, "max_limiting_db"),
        (float("nan"), -200.0, 0.0, 0.0, "silence"),
    ],
)
def test_the_gain_stays_within_its_bounds(loudness, peak, db, limiting, bounded_by):
    """Target -23 LUFS, at most 30 dB, ceiling -1 dBTP with at most 6 dB of limiting."""
    gain = loudness_gain(loudness, peak, LoudnessSpec(target_lufs=-23.0))
    assert (gain.db, gain.limiting_db, gain.bounded_by) == pytest.approx((db, limiting, bounded_by))


RULES = """
[source]
sr = 16000
channels = 1

[[rule]]
name = "quiet-zh"
when = 'lang == "zh" and snr_db > -100 and duration_s > 3'
[[rule.chain]]
stage = "gain"
gain_db = -20.0

[[rule]]
name = "by-path"
when = 'startswith(path, "stereo")'
chain = []

[[chain]]
stage = "gain"
gain_db = -6.0
"""


def test_the_first_rule_that_holds_gives_the_chain(recordings, tmp_path):
    """By what was measured and by the manifest's fields; the row says which, and the samples are its chain's."""
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    context = TrackContext(load_job(str(path)), str(recordings), 1 << 14)
    found = {}
    for name, fields in [("mono.wav", {"lang": "zh"}), ("mono.wav", {}), ("stereo.flac", {"lang": "en"})]:
        track = Track(name, name, fields=fields)
        (row,) = process_track(track, context, Sinks(io.BytesIO()), lambda seconds: None)
        found[row["rule"]] = row["metrics"]["out_rms_dbfs"] - row["metrics"]["rms_dbfs"]
    assert found == pytest.approx({"quiet-zh": -20.0, "default": -6.0, "by-path": 0.0}, abs=0.7)


def test_the_row_says_what_the_guard_did(recordings):
    """A budget that the job passes: fewer steps, and why."""
    sets = ["guard.max_lsd_db=0.5", "chain.timbre.steps=40", "chain.timbre.max_boost_db=30"]
    (row,), _ = processed(recordings, "mono.wav", "restore", sets)
    assert row["texts"]["guard"] in {"halved-1", "halved-2", "halved-3", "halved-4", "source"}
    assert row["texts"]["guard_by"] == "lsd_db"
    assert row["metrics"]["lsd_db"] <= 0.5


def test_a_reference_is_a_channel_or_a_file(recordings, tmp_path):
    """Either way a stage hears it beside the audio, and it is no part of what is measured or written."""
    x, sr = sf.read(recordings / "stereo.flac")
    sf.write(tmp_path / "near.wav", x[:, 0], sr, "FLOAT")
    sf.write(tmp_path / "far.wav", x[: 2 * sr, 1], sr, "FLOAT")
    x[2 * sr :, 1] = 0
    sf.write(tmp_path / "both.wav", x, sr, "FLOAT")
    rows = []
    for name, setting in [("both.wav", "source.reference_channel=1"), ("near.wav", "source.reference_field=far")]:
        context = TrackContext(load_job("codec-lossless", [setting]), str(tmp_path), 1 << 14)
        track = Track(name, name, fields={"far": "far.wav"})
        rows += process_track(track, context, Sinks(io.BytesIO()), lambda seconds: None)
    both, near = rows
    assert both["metrics"] | {"header_diff_s": 0} == near["metrics"] | {"header_diff_s": 0}
    assert both["n_channels"] == 1
    context = TrackContext(load_job("codec-lossless", ["source.reference_field=absent"]), str(tmp_path), 1 << 14)
    with pytest.raises(TrackError, match="no absent for it"):
        process_track(Track("near.wav", "near.wav"), context, Sinks(io.BytesIO()), lambda seconds: None)
    context = TrackContext(load_job("codec-lossless", ["source.reference_channel=1"]), str(tmp_path), 1 << 14)
    with pytest.raises(TrackError, match="reference_channel is 1"):
        process_track(Track("near.wav", "near.wav"), context, Sinks(io.BytesIO()), lambda seconds: None)


@pytest.fixture(scope="module")
def utterances(tmp_path_factory):
    """Three words of a voice-like buzz in near silence, and nothing but faint noise; in stereo at 22.05 kHz."""
    folder = tmp_path_factory.mktemp("utterances")
    rng = np.random.default_rng(6)
    sr = 22050
    x = 1e-4 * rng.standard_normal((8 * sr, 2))
    sf.write(folder / "silent.wav", x, sr)
    for start_s in (1.0, 3.0, 6.0):
        t = np.arange(sr) / sr
        pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 3 * t)) / sr
        word = sum(np.sin(n * pitch) / (1 + abs(n - 5)) for n in range(1, 25)) * np.sin(np.pi * t)
        x[int(start_s * sr) : int(start_s * sr) + sr] += 0.1 * word[:, None]
    sf.write(folder / "words.wav", x, sr)
    return folder


def test_utterances_become_tracks(utterances):
    """Each a row with its parent and where it begins; what no speech was found in is one row that says so."""
    sets = ["vad.mode=segment", "vad.padding_s=0.1"]
    rows, streams = processed(utterances, "words.wav", "codec-lossless", sets)
    assert [row["id"] for row in rows] == [f"words.wav#{number:05d}" for number in range(3)]
    assert {row["parent"] for row in rows} == {"words.wav"}
    for row, start_s in zip(rows, (1.0, 3.0, 6.0), strict=True):
        assert start_s - 0.3 < row["start_s"] < start_s + 0.2
        assert 0.7 < row["n_samples"] / 16000 < 1.5
        assert row["metrics"]["duration_s"] == pytest.approx(row["n_samples"] / 16000, abs=1e-4)
    assert processed(utterances, "words.wav", "codec-lossless", sets)[1] == streams
    (row,), _ = processed(utterances, "silent.wav", "codec-lossless", sets)
    assert (row["id"], row["status"], row["reason"], row["outputs"]) == ("silent.wav", "filtered", "no-speech", [])
    assert row["metrics"]["duration_s"] == 8.0


def test_trimming_leaves_one_track(utterances):
    """From the first word to the last, under its own name."""
    (row,), _ = processed(utterances, "words.wav", "codec-lossless", ["vad.mode=trim"])
    assert (row["id"], row["parent"]) == ("words.wav", None)
    assert 0.6 < row["start_s"] < 1.2
    assert 5.5 < row["n_samples"] / 16000 < 6.6


def test_a_job_cancels_the_echo_of_the_reference(tmp_path):
    """Channel 1 is the far end, which channel 0 hears late and through a room; what is written is rid of it."""
    (tmp_path / "calls.toml").write_text(
        '[source]\nsr = 16000\nreference_channel = 1\n[[chain]]\nstage = "echo"\n[[output]]\nbits = 24\n'
    )
    rng = np.random.default_rng(8)
    far = 0.1 * rng.standard_normal(10 * 16000) * np.repeat(rng.uniform(0.2, 1.0, 100), 1600)
    room = rng.standard_normal(800) * np.exp(-np.arange(800) / 150)
    echo = 0.2 * np.convolve(np.concatenate([np.zeros(900), far]), room)[: len(far)]
    sf.write(tmp_path / "call.wav", np.stack([echo, far], axis=1), 16000, "FLOAT")
    context = TrackContext(load_job(str(tmp_path / "calls.toml")), str(tmp_path), 1 << 14)
    (row,) = process_track(Track("call", "call.wav"), context, Sinks(io.BytesIO()), lambda seconds: None)
    assert (row["n_channels"], row["n_samples"]) == (1, len(far))
    assert row["metrics"]["rms_dbfs"] - row["metrics"]["out_rms_dbfs"] > 10.0
