"""A track in pieces against the track processed whole."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
from numcodecs.blosc import Blosc

from corpusdiff.finish import Sinks, TrackContext
from corpusdiff.jobfile import load_job
from corpusdiff.manifests.base import Track
from corpusdiff.pieces.decode import Cut
from corpusdiff.pieces.joint import piece_length, planned, process_pieces
from corpusdiff.pieces.kept import Kept
from corpusdiff.pieces.phases import PHASES, Means
from corpusdiff.pieces.share import Stretch
from corpusdiff.specs import OutputSpec
from corpusdiff.stages import registry
from corpusdiff.track import process_track

CHUNK = 1 << 14
EXACT = OutputSpec(encoding="pcm", bits=32)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A minute or two of a tone over little noise, with a pause and clipped peaks."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(5)
    for name, sr, n_channels, length_s in [
        ("stereo.flac", 44100, 2, 70),
        ("mono.wav", 16000, 1, 100),
        ("low.wav", 8000, 1, 60),
    ]:
        n = length_s * sr + 123
        time_s = np.arange(n) / sr
        x = 10 ** (-1.2 + 0.3 * np.sin(2 * np.pi * time_s / 7)) * np.sin(2 * np.pi * 330 * time_s)
        x *= np.sin(2 * np.pi * 1.5 * time_s) > -0.5
        x = x[:, None] + 0.0003 * rng.standard_normal((n, n_channels))
        x[:: 5 * sr] = 0.99
        x[20 * sr : 24 * sr] = 0.0
        sf.write(folder / name, np.clip(x, -1, 1), sr)
    return folder


#: Every kind of stage whose past is bounded, and all that follows the chain.
JOB = """
name = "long"

[source]
sr = 16000
channels = 1

[[rule]]
name = "peaky"
when = "peak_dbfs > -20"

[[rule.chain]]
stage = "highpass"
cutoff_hz = 50.0

[[rule.chain]]
stage = "timbre"
mode = "flat"

[[chain]]
stage = "level"

[guard]
max_lsd_db = 12.0

[loudness]
target_lufs = -23.0
max_gain_db = 30.0
ceiling_dbtp = -1.0
max_limiting_db = 6.0

[[output]]
encoding = "flac"
bits = 16
"""


def context(folder, sets=(), exact=True, job=None):
    """A job, its output exact samples instead of FLAC."""
    (folder / "long.toml").write_text(JOB, encoding="utf-8")
    found = load_job(job or str(folder / "long.toml"), sets)
    return TrackContext(replace(found, outputs=(EXACT,)) if exact else found, str(folder), CHUNK)


def whole(name, context):
    """The row and the streams of a track processed whole."""
    streams = io.BytesIO()
    rows = process_track(Track(name, name), context, Sinks(streams), lambda seconds: None)
    return rows[0], streams.getvalue()


class Here:
    """Runs phases over pieces in this process, whatever travels pickled."""

    def __init__(self, cut):
        self.cut, self.streams, self.asked, self.kept = cut, io.BytesIO(), [], Kept()

    def __call__(self, phase, pieces):
        found = []
        for arguments in pieces:
            self.asked.append((phase, arguments[0].start))
            piece, *rest = pickle.loads(pickle.dumps(arguments))
            own = io.BytesIO()
            result = PHASES[phase](self.cut, piece, Means(lambda seconds: None, Sinks(own), self.kept), *rest)
            found.append((pickle.loads(pickle.dumps(result)), self.streams.tell()))
            self.streams.write(own.getvalue())
        return found


def in_pieces(name, context, length=20 * CHUNK):
    """The row and the streams of a track in pieces."""
    cut = planned(Track(name, name), context)
    assert isinstance(cut, Cut), cut
    assert len(cut.pieces(length)) > 1
    each = Here(cut)
    row = process_pieces(cut, length, each)
    return row, each.streams.getvalue()


def samples(row, streams):
    """(n_channels, n) float32."""
    output = row["outputs"][0]
    audio = np.zeros((row["n_channels"], output["size"]), np.float32)
    for index, offset, n_bytes in output["chunks"]:
        raw = Blosc().decode(streams[offset : offset + n_bytes])
        x = np.frombuffer(raw, np.float32).reshape(row["n_channels"], CHUNK)
        part = audio[:, index * CHUNK : (index + 1) * CHUNK]
        part[:] = x[:, : part.shape[1]]
    return audio


def assert_equal(found, expected):
    """Samples within 1e-6, all else within what that makes of it."""
    row, wanted = found[0], expected[0]
    metrics, texts = row["metrics"], row["texts"]
    assert texts == wanted["texts"]
    assert set(metrics) == set(wanted["metrics"])
    for name, value in wanted["metrics"].items():
        tolerance = {"encoded_bytes": 0.01 * value, "si_sdr_db": 0.1}.get(name, 1e-4)
        assert metrics[name] == pytest.approx(value, abs=tolerance, nan_ok=True), name
    for name in set(wanted) - {"metrics", "texts", "outputs"}:
        assert row[name] == wanted[name], name
    difference = samples(*found).astype(np.float64) - samples(*expected)
    assert np.abs(difference).max() <= 1e-6


@pytest.mark.parametrize("name", ["stereo.flac", "mono.wav", "low.wav"])
@pytest.mark.parametrize("target_lufs", [-45.0, -10.0])
def test_the_whole_within_a_millionth(recordings, name, target_lufs):
    """Row and samples are those of the track processed whole, without and with a limiter."""
    chosen = context(recordings, [f"loudness.target_lufs={target_lufs}"])
    expected = whole(name, chosen)
    assert (expected[0]["metrics"]["limiter_db"] > 0) == (target_lufs == -10.0)
    assert_equal(in_pieces(name, chosen), expected)


def test_rates_that_are_kept_and_a_guard(recordings):
    """Stereo at 44.1 kHz stays so; a chain that does too much is weakened as it is in the whole."""
    chosen = context(recordings)
    job = chosen.job
    source = replace(job.source, sr=None, channels=None)
    chosen = replace(chosen, job=replace(job, source=source, guard=replace(job.guard, max_lsd_db=0.5)))
    expected = whole("stereo.flac", chosen)
    assert expected[0]["texts"]["guard"]
    assert_equal(in_pieces("stereo.flac", chosen, 30 * CHUNK), expected)


def test_pieces_are_planned():
    """Whole pieces, the last at least half as long as the others and open."""
    cut = Cut(Track("a", "a.wav"), None, 44100, 2, 16000, 1, 44100 * 100)
    assert cut.pieces(1 << 19) == [Stretch(0, 1 << 19), Stretch(1 << 19, 1 << 20), Stretch(1 << 20)]
    assert cut.pieces(1 << 20) == [Stretch(0, 1 << 20), Stretch(1 << 20)]
    assert cut.pieces(1 << 21) == [Stretch(0)]
    assert cut.at_source(Stretch(160, 480)) == Stretch(441, 1323)


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        (["source.segment_s=10"], "the job has source.segment_s"),
        (["source.speed=1.1"], "the job has source.speed"),
        (["source.max_duration_s=1000"], "the job has source.max_duration_s"),
    ],
)
def test_what_stays_whole_says_why(recordings, sets, reason):
    """Jobs whose segments or time depend on the whole."""
    assert planned(Track("mono.wav", "mono.wav"), context(recordings, sets)) == reason


def test_formats_without_exact_seeking_stay_whole(recordings, tmp_path):
    """MP3 is decoded from its start."""
    sf.write(tmp_path / "a.mp3", np.zeros(16000), 16000)
    assert "does not land on the sample" in planned(Track("a.mp3", "a.mp3"), context(tmp_path))


STAGES = {
    "level": [("level", {"act_on": "speech", "local_gate_db": 15.0, "lookahead_s": 0.4, "release_s": 0.2})],
    "denoise": [("highpass", {"cutoff_hz": 50.0}), ("denoise", {"hop_length": 256, "max_snr_db": None})],
    "expander": [("denoise", {"estimator": "expander", "max_snr_db": None})],
    "running": [("running-loudness", {}), ("timbre", {"mode": "flat"})],
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_that_follow_what_they_hear(recordings, name):
    """Level, noise floor and loudness are followed over the cuts."""
    chosen = context(recordings)
    chain = tuple(registry.create(*each) for each in STAGES[name])
    chosen = replace(chosen, job=replace(chosen.job, chain=chain, guard=None))
    assert_equal(in_pieces("mono.wav", chosen), whole("mono.wav", chosen))


def test_pieces_are_no_shorter_than_what_they_share():
    """However short they are asked for: a piece's state is compared some seconds before its start."""
    cut = Cut(Track("a", "a.wav"), TrackContext(None, "/", 4096), 16000, 1, 16000, 1, 16000 * 100)
    assert piece_length(cut, 0.1) == -(-12 * 16000 // 4096) * 4096
    assert piece_length(cut, 60.0) == -(-60 * 16000 // 4096) * 4096
