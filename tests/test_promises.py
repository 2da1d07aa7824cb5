"""What a run holds to, on real files and through the command line."""

from __future__ import annotations

import filecmp
import io
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.manifests.media import MEDIA_EXTENSIONS

COMMAND = str(Path(sys.executable).parent / "corpusdiff")


def run(*arguments, code=0):
    """The command's standard error, after checking its exit code."""
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"exit {done.returncode}, not {code}: {done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


def tree(folder):
    """All files below a folder by relative path."""
    return sorted(path.relative_to(folder) for path in Path(folder).rglob("*") if path.is_file())


def times(folder):
    """When each file below a folder was written."""
    return {path: (folder / path).stat().st_mtime_ns for path in tree(folder)}


def assert_same_bytes(one, other):
    """Two folders hold the same files with the same bytes."""
    assert tree(one) == tree(other)
    _, different, errors = filecmp.cmpfiles(one, other, map(str, tree(one)), shallow=False)
    assert not different, different
    assert not errors, errors


@pytest.fixture(scope="module")
def digits(corpora, tmp_path_factory):
    """The corpus of 1500 digits, made serially."""
    out = tmp_path_factory.mktemp("digits") / "out"
    run("run", corpora / "digits", out, "--job", "asr", "--cluster", "none")
    return out


@pytest.mark.parametrize("n_workers", [1, 4])
def test_workers_do_not_change_a_byte(corpora, digits, tmp_path, n_workers):
    """One worker and four make the same data.zarr as none."""
    run("run", corpora / "digits", tmp_path / "out", "--workers", n_workers)
    assert_same_bytes(digits / "data.zarr", tmp_path / "out" / "data.zarr")


def test_every_digit_has_its_row_and_nothing_is_done_twice(corpora, digits):
    """1500 rows, all ok; the same command again changes nothing."""
    corpus = corpusdiff.open(str(digits))
    assert Counter(corpus.table()["status"].to_pylist()) == {"ok": 1500}
    before = times(digits / "commits")
    run("run", corpora / "digits", digits, "--job", "asr", "--cluster", "none")
    assert before == times(digits / "commits")
    run("verify", digits)


def test_digits_are_packed_tightly(digits):
    """At most 12 objects per 1000 tracks, and 1.02 of the bytes of the same audio as FLAC files."""
    audio = [path for path in tree(digits / "data.zarr" / "audio") if path.name != "zarr.json"]
    assert len(audio) + len(tree(digits / "commits")) <= 12 * 1.5
    corpus = corpusdiff.open(str(digits))
    n_bytes = 0
    for item in corpus:
        file = io.BytesIO()
        sf.write(file, item.audio.T, item.sr, format="FLAC", subtype="PCM_16", compression_level=5 / 8)
        n_bytes += file.getbuffer().nbytes
    assert sum((digits / "data.zarr" / "audio" / path).stat().st_size for path in audio) <= 1.02 * n_bytes


def test_a_folder_of_everything(corpora, tmp_path):
    """One row for each media file; what is damaged says why, what is odd but sound is decoded."""
    stderr = run("run", corpora, tmp_path / "out", code=3)
    media = {str(path.relative_to(corpora)) for path in corpora.rglob("*") if path.suffix.lower() in MEDIA_EXTENSIONS}
    rows = {row["id"]: row for row in corpusdiff.open(str(tmp_path / "out")).table().to_pylist()}
    assert rows.keys() == media
    assert all(len(row["error"]) > 10 for row in rows.values() if row["status"] == "failed")
    assert not [row for row in rows.values() if row["reason"] in {"crash", "stalled", "bug", "memory", "cpu"}]
    odd = ("aiff", "aifc", "caf", "m4a", "ac3", "mp4", "sph")
    sound = [name for name in rows if name.startswith("formats/") and name.endswith(odd)]
    sound += ["formats/adpcm_ima.wav", "formats/adpcm_ms.wav", "formats/alaw.wav", "formats/mulaw.wav"]
    assert len(sound) >= 14
    assert {rows[name]["status"] for name in sound} == {"ok"}
    assert "worker" not in stderr.replace("workers on this machine", "")


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Six tones: two rates, mono and stereo, a quiet one, a silent one; two files of one name."""
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    for name, sr, n_channels, level in [
        ("a/1.wav", 16000, 1, 0.1),
        ("b/1.wav", 44100, 2, 0.2),
        ("loud.flac", 22050, 1, 0.9),
        ("quiet.wav", 8000, 1, 1e-4),
        ("silent.wav", 16000, 1, 0.0),
        ("stereo.flac", 48000, 2, 0.05),
    ]:
        (folder / name).parent.mkdir(exist_ok=True)
        tone = np.sin(2 * np.pi * 440 * np.arange(3 * sr) / sr)[:, None] + 0.1 * rng.standard_normal(
            (3 * sr, n_channels)
        )
        sf.write(folder / name, np.clip(level * tone, -1, 1), sr)
    return folder


def rows_of(out):
    """The table's rows by id."""
    return {row["id"]: row for row in corpusdiff.open(str(out)).table().to_pylist()}


def test_loudness_reaches_its_target_or_says_why(tones, tmp_path):
    """-23 LUFS for what can reach it; silence is left alone, what is too quiet stops at the largest gain."""
    run("run", tones, tmp_path / "out", "--cluster", "none")
    rows = rows_of(tmp_path / "out")
    for name in ("a/1.wav", "b/1.wav", "stereo.flac", "loud.flac"):
        assert rows[name]["out_loudness_lufs"] == pytest.approx(-23.0, abs=0.1), name
        assert rows[name]["gain_bounded_by"] == ""
    assert rows["quiet.wav"]["gain_db"] == pytest.approx(30.0)
    assert rows["quiet.wav"]["gain_bounded_by"] == "max_gain_db"
    assert rows["silent.wav"]["gain_db"] == 0.0
    assert rows["silent.wav"]["gain_bounded_by"] == "silence"
    assert max(row["out_true_peak_dbtp"] for row in rows.values()) <= -0.9
    assert {row["n_samples"] for row in rows.values()} == {48000}


def test_segments_filters_and_generations(tones, tmp_path):
    """Segments are rows with a parent; filtered tracks are rows; --update takes what is new."""
    out = tmp_path / "out"
    sets = ["--set", "source.segment_s=1.25", "--set", "source.overlap_s=0.25", "--set", "source.min_duration_s=1.1"]
    run("run", tones / "a", out, "--cluster", "none", *sets)
    rows = rows_of(out)
    assert [(row["parent"], row["start_s"], row["status"]) for row in rows.values()] == [
        ("1.wav", 0.0, "ok"),
        ("1.wav", 1.0, "ok"),
        ("1.wav", 2.0, "filtered"),
    ]
    source = tmp_path / "source"
    source.mkdir()
    sf.write(source / "x.wav", np.zeros(800), 8000)
    (source / "broken.wav").write_text("no sound")
    run("run", source, tmp_path / "grown", "--cluster", "none", code=3)
    sf.write(source / "broken.wav", np.ones(800) / 4, 8000)
    sf.write(source / "y.wav", np.zeros(800), 8000)
    run("run", source, tmp_path / "grown", "--cluster", "none", "--retry-failed")
    assert {name: row["status"] for name, row in rows_of(tmp_path / "grown").items()} == {
        "broken.wav": "ok",
        "x.wav": "ok",
    }
    run("run", source, tmp_path / "grown", "--cluster", "none", "--update")
    assert sorted(rows_of(tmp_path / "grown")) == ["broken.wav", "x.wav", "y.wav"]
    run("verify", tmp_path / "grown")
    run("run", source, tmp_path / "grown", "--cluster", "none", "--job", "listing", code=2)


def test_outputs_of_one_decode_are_aligned(tones, tmp_path):
    """FLAC and three bit rates of Opus have the samples of the source, in their places."""
    job = tmp_path / "many.toml"
    rates = "".join(
        f'[[output]]\nname = "opus{rate}"\nencoding = "opus"\nbitrate_kbps = {rate}\n' for rate in (6, 12, 24)
    )
    job.write_text(f'[source]\nsr = 16000\nchannels = 1\n[[output]]\nencoding = "flac"\n{rates}')
    run("run", tones / "b", tmp_path / "out", "--job", job, "--cluster", "none")
    corpus = corpusdiff.open(str(tmp_path / "out"))
    flac = corpus.item(0).audio[0]
    for name in ("opus6", "opus12", "opus24"):
        opus = corpus.item(0, output=name).audio[0]
        assert opus.shape == flac.shape
        assert np.corrcoef(flac, opus)[0, 1] > 0.9


def test_pcm_opens_without_us(tones, tmp_path):
    """zarr and xarray read the audio and the table in an interpreter that cannot import corpusdiff."""
    job = tmp_path / "pcm.toml"
    job.write_text('[source]\nsr = 16000\nchannels = 1\n[[output]]\nencoding = "pcm"\n')
    run("run", tones / "a", tmp_path / "out", "--job", job, "--cluster", "none")
    script = """
import sys
sys.modules["corpusdiff"] = None
import xarray, zarr
out = sys.argv[1]
row = xarray.open_zarr(out + "/data.zarr/tracks", chunks=None, consolidated=False).to_dataframe().iloc[0]
audio = zarr.open_array(f"{out}/data.zarr/audio/{row['array']}", mode="r")
x = audio[row["row"], :, row["offset"] : row["offset"] + row["n_samples"]]
print(x.shape, abs(x).max() > 0)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "(1, 48000) True\n"


BAD = {
    "no such source": (lambda folder: ["run", folder / "nowhere", folder / "out"], 2, "there is no such file"),
    "empty folder": (lambda folder: ["run", folder / "empty", folder / "out"], 2, "no media files here"),
    "missing column": (lambda folder: ["run", folder / "no-path.csv", folder / "out"], 2, "no-path.csv"),
    "bad line": (lambda folder: ["run", folder / "bad.jsonl", folder / "out"], 2, "bad.jsonl:2"),
    "duplicate ids": (lambda folder: ["run", folder / "twice.csv", folder / "out"], 2, "twice.csv:3"),
    "unknown job": (lambda folder: ["run", folder, folder / "out", "--job", "asrr"], 2, "did you mean asr"),
    "unknown key": (lambda folder: ["run", folder, folder / "out", "--set", "source.rate=1"], 2, "source.rate"),
    "unknown cluster": (lambda folder: ["run", folder, folder / "out", "--cluster", "moon"], 2, "moon"),
    "OUT is a file": (lambda folder: ["run", folder, folder / "no-path.csv"], 2, "no-path.csv"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error(tmp_path, name):
    """The exit code, the place in the message, and no OUT left behind."""
    (tmp_path / "empty").mkdir()
    sf.write(tmp_path / "x.wav", np.zeros(800), 8000)
    (tmp_path / "no-path.csv").write_text("name,text\nx,hello\n")
    (tmp_path / "bad.jsonl").write_text('{"audio_filepath": "x.wav"}\n{"audio_filepath": \n')
    (tmp_path / "twice.csv").write_text("id,path\nx,x.wav\nx,x.wav\n")
    arguments, code, expected = BAD[name]
    stderr = run(*arguments(tmp_path), "--workers", "1", code=code)
    assert expected in stderr
    assert not (tmp_path / "out").exists() or name == "unknown cluster"


def test_fresh_deletes_a_corpus_and_nothing_else(tones, tmp_path):
    """What is ours goes and is made again; a folder that holds no corpus keeps all that it has."""
    out = tmp_path / "out"
    (out / "plan").mkdir(parents=True)
    (out / "plan" / "mine.txt").write_text("keep")
    run("run", tones / "a", out, "--cluster", "none", "--fresh")
    assert (out / "plan" / "mine.txt").read_text() == "keep"
    (out / "notes.txt").write_text("keep")
    run("run", tones / "a", out, "--cluster", "none", "--fresh", "--job", "listing")
    assert (out / "notes.txt").read_text() == "keep"
    assert rows_of(out)["1.wav"]["sr"] == 8000


def test_run_from_python_in_any_thread(tones, tmp_path):
    """corpusdiff.run gives the open corpus; twice, and off the main thread, where no signal can be heard."""
    for name in ("one", "two"):
        with ThreadPoolExecutor(1) as pool:
            done = pool.submit(corpusdiff.run, str(tones / "a"), str(tmp_path / name), cluster="none").result()
        assert [item.status for item in done] == ["ok"]
    assert_same_bytes(tmp_path / "one" / "data.zarr", tmp_path / "two" / "data.zarr")


def test_tables_and_manifests(tones, tmp_path):
    """scan writes a manifest that gives the same audio; table writes every form."""
    run("scan", tones, tmp_path / "tones.jsonl")
    run("run", tones, tmp_path / "one", "--cluster", "none")
    run("run", tmp_path / "tones.jsonl", tmp_path / "two", "--cluster", "none", "--allow-root", tones)
    one, two = corpusdiff.open(str(tmp_path / "one")), corpusdiff.open(str(tmp_path / "two"))
    assert all(np.array_equal(two.by_id(item.id).audio, item.audio) for item in one)
    for form, name in [("csv", "t.csv"), ("json", "t.jsonl"), ("parquet", "t.parquet"), ("table", "t.txt")]:
        run("table", tmp_path / "one", "--format", form, "-o", tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    assert len([json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]) == 6
