"""One file in, one out: the same as a run makes of it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

import corpusdiff
from corpusdiff.cli import main
from corpusdiff.encode.audiofile import write_audio
from corpusdiff.errors import JobError, ManifestError, TrackError, UsageError
from corpusdiff.jobfile import load_job
from corpusdiff.onefile import apply_file, summary
from corpusdiff.profiles import write_profile
from corpusdiff.source.audiofile import read_audio
from corpusdiff.stages.base import Measured, Spectrum

NAMES = {"stereo.flac": (44100, 2), "mono.wav": (16000, 1)}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Four seconds of a wandering, noisy tone with loud peaks, stereo at 44.1 kHz and mono at 16 kHz."""
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(5)
    for name, (sr, n_channels) in NAMES.items():
        time_s = np.arange(4 * sr) / sr
        x = 10 ** (-1.5 + 0.8 * np.sin(2 * np.pi * time_s)) * np.sin(2 * np.pi * 330 * time_s)
        x = x[:, None] * [1.0, 0.6][:n_channels] + 0.005 * rng.standard_normal((4 * sr, n_channels))
        x[:: sr // 3] = 0.99
        sf.write(folder / name, np.clip(x, -1, 1), sr)
    return folder


def job_file(folder, text):
    path = folder / "job.toml"
    path.write_text(text)
    return str(path)


def command(*arguments, code=0):
    """Standard output of the command; its errors where it shall fail."""
    done = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == code, done.stderr
    return done.stderr if code else done.stdout


@pytest.mark.parametrize(("job", "extension"), [("asr", ".flac"), ("codec-lossless", ".w64"), ("codec", ".opus")])
def test_it_is_what_a_run_makes_of_the_file(recordings, tmp_path, job, extension):
    """Sample for sample, dither and all, in any lossless format; a lossy stream decodes to the same; equal rows."""
    corpus = corpusdiff.run(str(recordings), str(tmp_path / "out"), job=job, cluster="none")
    for name in NAMES:
        target = tmp_path / f"{name}{extension}"
        row = apply_file(str(recordings / name), str(target), job).row
        expected = corpus.by_id(name)
        y, sr = read_audio(target)
        assert (sr, row["rule"]) == (expected.sr, expected["rule"])
        np.testing.assert_array_equal(y, expected.audio)
        for metric, value in row["metrics"].items():
            if metric not in {"encoded_bytes"}:
                assert np.float32(value) == pytest.approx(expected[metric], nan_ok=True), metric


def test_an_array_is_what_a_run_makes_of_a_float_file(recordings, tmp_path):
    """Exactly, before encoder and dither."""
    job = job_file(tmp_path, load_text("asr").replace('encoding = "flac"\nbits = 16', 'encoding = "pcm"\nbits = 32'))
    corpus = corpusdiff.run(str(recordings), str(tmp_path / "out"), job=job, cluster="none")
    for name in NAMES:
        x, sr = read_audio(recordings / name)
        y = corpusdiff.apply(x, sr, job)
        assert y.dtype == np.float32
        np.testing.assert_array_equal(y, corpus.by_id(name).audio)
    np.testing.assert_array_equal(corpusdiff.apply(x[0], sr), y)
    np.testing.assert_array_equal(corpusdiff.apply(x[0].astype(np.float64), sr, load_job("asr")), y)


def load_text(name):
    from corpusdiff.jobfile import ready_jobs

    return ready_jobs()[name].read_text()


@pytest.mark.parametrize(
    "x", [np.zeros(100, np.int16), np.zeros((2, 3, 4)), np.zeros(0), np.zeros((100, 2)), np.float32(1.0)]
)
def test_an_array_that_is_no_audio_is_refused(x):
    """With what is wanted."""
    with pytest.raises(UsageError, match="give"):
        corpusdiff.apply(x, 16000)


def test_an_array_of_no_numbers_is_refused():
    """With the sample's place."""
    x = np.zeros((2, 100), np.float32)
    x[1, 7] = np.nan
    with pytest.raises(TrackError, match="sample 7 of channel 1 is nan"):
        corpusdiff.apply(x, 16000)


def test_bits_follow_the_job_unless_given(recordings, tmp_path):
    """24 by the job's output; 32 as floats by the option; a lossless file takes them from another encoding's too."""
    job = job_file(tmp_path, '[[output]]\nencoding = "flac"\nbits = 24\n')
    source = str(recordings / "mono.wav")
    apply_file(source, str(tmp_path / "a.wav"), job)
    assert sf.info(tmp_path / "a.wav").subtype == "PCM_24"
    apply_file(source, str(tmp_path / "b.wav"), job, bits=32)
    assert sf.info(tmp_path / "b.wav").subtype == "FLOAT"


def test_the_row_is_printed(recordings, tmp_path):
    """Its main metrics for people, all of it for programs: JSON without NaN."""
    text = command("apply", recordings / "mono.wav", tmp_path / "a.flac")
    found = dict(line.split(None, 1) for line in text.splitlines())
    assert found["gain_db"].endswith(" dB")
    assert "out_loudness_lufs" in found
    row = json.loads(command("apply", recordings / "mono.wav", tmp_path / "a.flac", "--json"), parse_constant=float)
    assert (row["status"], row["rule"]) == ("ok", found["rule"])
    assert row["metrics"]["encoded_bytes"] == (tmp_path / "a.flac").stat().st_size
    assert float(found["gain_db"][:-3]) == pytest.approx(row["metrics"]["gain_db"], abs=0.01)


def test_rules_and_guard_have_their_say(recordings, tmp_path):
    """On a field that is given, and on what was measured."""
    rule = '[[rule]]\nname = "chinese"\nwhen = \'lang == "zh"\'\n[[rule.chain]]\nstage = "gain"\ngain_db = -6\n'
    job = job_file(tmp_path, rule + '[[chain]]\nstage = "heat"\nsteps = 400\n[guard]\nmax_lsd_db = 0.01\n')
    source, target = recordings / "mono.wav", tmp_path / "a.wav"
    assert apply_file(str(source), str(target), job).row["texts"]["guard"] == "source"
    x, _ = read_audio(source)
    text = command("apply", source, target, "--job", job, "--bits", 32, "--field", "lang=zh")
    assert "chinese" in text
    np.testing.assert_allclose(read_audio(target)[0], x * 10 ** (-6 / 20), rtol=1e-6)


def test_a_file_may_replace_itself(recordings, tmp_path):
    """It is read to its end before its name changes hands."""
    path = tmp_path / "a.flac"
    x, sr = read_audio(recordings / "mono.wav")
    write_audio(path, [x], sr, 1)
    apply_file(str(path), str(tmp_path / "b.flac"))
    apply_file(str(path), str(path))
    # the name keys the dither: the two differ by it alone
    assert np.abs(read_audio(path)[0] - read_audio(tmp_path / "b.flac")[0]).max() <= 2 / 2**15
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.flac", "b.flac"]


@pytest.mark.parametrize(
    ("source", "target", "sets", "options", "error", "words"),
    [
        ("mono.wav", "a.xyz", (), {}, UsageError, "no audio format is called .xyz"),
        ("mono.wav", "no/a.wav", (), {}, UsageError, "there is no folder"),
        ("mono.wav", "a.opus", ("source.sr=44100",), {}, UsageError, "opus has no 44100 Hz"),
        ("none.wav", "a.wav", (), {}, TrackError, "there is no file"),
        ("bad.wav", "a.wav", (), {}, TrackError, "[a-z]{3}"),
        ("mono.wav", "a.wav", ("source.segment_s=1",), {}, UsageError, "`corpusdiff run` makes a corpus"),
        ("mono.wav", "a.wav", ("vad.mode=segment",), {}, UsageError, "`corpusdiff run` makes a corpus"),
        ("mono.wav", "a.wav", ("source.min_duration_s=60",), {}, TrackError, "leaves it out: 4.000 s is shorter"),
        ("mono.wav", "a.wav", ("source.speed=2",), {"causal": True}, JobError, "change the length"),
        ("mono.wav", "a.wav", ("source.reference_channel=1",), {}, TrackError, "has 1 channels"),
        ("mono.wav", "a.wav", ("source.reference_field=far",), {}, TrackError, "has no far"),
        ("a\nb.wav", "a.wav", (), {}, ManifestError, "control character"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_leaves_nothing(recordings, tmp_path, source, target, sets, options, error, words):
    """One clear error, and no file."""
    (recordings / "bad.wav").write_bytes(b"RIFF" + bytes(100))
    with pytest.raises(error, match=words):
        apply_file(str(recordings / source), str(tmp_path / target), "asr", sets, **options)
    assert not [*tmp_path.iterdir()]
    (recordings / "bad.wav").unlink()


def test_errors_of_the_command_are_one_line(recordings, tmp_path):
    """And their own exit code."""
    words = command("apply", recordings / "mono.wav", tmp_path / "a.xyz", code=2)
    assert words.startswith("corpusdiff: ")
    assert words.count("\n") == 1


def test_the_far_end_may_be_a_file(recordings, tmp_path):
    """Named by the field that the job asks for; a chain without use for it is not changed by it."""
    sets = ["source.reference_field=far_end"]
    fields = {"far_end": str(recordings / "stereo.flac")}
    apply_file(str(recordings / "mono.wav"), str(tmp_path / "a.wav"), "asr", sets, fields=fields)
    apply_file(str(recordings / "mono.wav"), str(tmp_path / "b.wav"), "asr")
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav")[0], read_audio(tmp_path / "b.wav")[0])


def test_the_causal_form_knows_what_is_measured(recordings, tmp_path):
    """One gain sets the loudness; without it the gain is found on the way, and both say their delay."""
    source = str(recordings / "mono.wav")
    x, sr = read_audio(source)
    job = job_file(tmp_path, "[source]\nsr = 16000\n[loudness]\ntarget_lufs = -33\n")
    flat = Spectrum(np.array([0.0, 8000.0]), np.zeros(2))
    known = Measured(-20.0, math.nan, math.nan, flat)
    found = apply_file(source, str(tmp_path / "a.wav"), job, causal=True, measured=known, bits=32)
    assert found.row["latency"] > 0
    lines = dict(line.split(None, 1) for line in summary(found))
    assert lines["latency"].startswith(f"{found.row['latency']} samples")
    assert "out_loudness_lufs" in lines
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav")[0], x * 10 ** (-13 / 20), rtol=1e-6)
    np.testing.assert_array_equal(
        corpusdiff.apply(x, sr, job, causal=True, measured=known), read_audio(tmp_path / "a.wav")[0]
    )
    x = 0.05 * x  # no work for the limiter
    y = corpusdiff.apply(x, sr, job, causal=True)
    assert np.abs(y[0, :1600] - x[0, :1600]).max() == 0.0, "nothing is known yet"
    assert np.abs(y[0, -1600:]).max() > 2 * np.abs(x[0, -1600:]).max()
    with pytest.raises(UsageError, match="causal"):
        corpusdiff.apply(x, sr, job, measured=known)


def test_what_was_measured_is_read_from_a_file(recordings, tmp_path):
    """By the command, which hands it to the stages and the rules, and says which of these has the chain."""
    flat = Spectrum(np.array([0.0, 8000.0]), np.zeros(2))
    write_profile(tmp_path / "known.json", Measured(-20.0, math.nan, math.nan, flat, snr_db=3.0), 1, 4.0)
    rule = '[[rule]]\nname = "noisy"\nwhen = "snr_db < 10"\n[[rule.chain]]\nstage = "gain"\ngain_db = -6\n'
    job = job_file(tmp_path, rule + "[source]\nsr = 16000\n")
    source, target = recordings / "mono.wav", tmp_path / "a.wav"
    options = ("--causal", "--measured", tmp_path / "known.json", "--job", job, "--bits", 32)
    assert "noisy" in command("apply", source, target, *options)
    np.testing.assert_allclose(read_audio(target)[0], read_audio(source)[0] * 10 ** (-6 / 20), rtol=1e-6)
    assert "--causal" in command("apply", source, target, *options[1:], code=2)


def test_the_causal_form_resamples_and_mixes(recordings, tmp_path):
    """Stereo at 44.1 kHz becomes what the job wants, aligned with what a run makes of it."""
    source = str(recordings / "stereo.flac")
    apply_file(source, str(tmp_path / "a.wav"), "asr", causal=True)
    apply_file(source, str(tmp_path / "b.wav"), "asr")
    (causal, sr), (whole, _) = read_audio(tmp_path / "a.wav"), read_audio(tmp_path / "b.wav")
    assert sr == 16000
    assert causal.shape == whole.shape == (1, 64000)
    part = slice(20000, 60000)
    correlation = [np.corrcoef(causal[0, part], np.roll(whole[0], lag)[part])[0, 1] for lag in range(-3, 4)]
    assert int(np.argmax(correlation)) == 3


def test_the_sound_of_a_film_is_taken(corpora, tmp_path):
    """Its audio track, like any file's."""
    video = next((corpora / "video").glob("*.mp4"))
    found = apply_file(str(video), str(tmp_path / "a.flac"))
    assert found.row["metrics"]["duration_s"] > 1
    assert any("rule" in line for line in summary(found))
