"""Exports read back by the formats' own libraries: every id, text, speaker and unknown key, every sample."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.encode.lossless import flac_samples
from corpusdiff.errors import UsageError
from corpusdiff.export.export import ExportRequest, export
from corpusdiff.export.kinds import KINDS
from corpusdiff.store.objects import LocalObjects

IDS = ["a.b/one.take.wav", "a.b/two", "zwei drei", "speaker/long", "100%"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Five recordings of one channel with texts, speakers and a key that nobody knows; one of them of many chunks."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(5)
    rows = []
    for i, track in enumerate(IDS):
        n = 40 * 16000 if track == "speaker/long" else 8000 + 1000 * i
        sf.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(n), 16000)
        rows.append(
            {"id": track, "audio_filepath": f"{i}.wav", "duration": n / 16000, "text": f"text {i} é",
             "speaker": f"s{i % 2}", "lang": "en", "unknown": {"nested": [i]}, "number": i}
        )  # fmt: skip
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "manifest.jsonl"


@pytest.fixture(scope="module")
def corpora(source, tmp_path_factory):
    """The recordings as a corpus of FLAC with a second output in Opus."""
    out = tmp_path_factory.mktemp("corpus") / "out"
    job = out.parent / "job.toml"
    lossy = '[[output]]\nencoding = "opus"\nbitrate_kbps = 24\n'
    job.write_text(f'[source]\nsr = 16000\nchannels = 1\n[[output]]\nencoding = "flac"\n{lossy}')
    return corpusdiff.run(str(source), str(out), job=str(job), cluster="none")


def exported(corpus, tmp_path, to, **options):
    """Where an export of two tracks a part lies."""
    dest = tmp_path / to
    out = corpus._objects.location
    found = export(ExportRequest(out, str(dest), to, per_part=2, cluster="none", **options))
    assert not Path(f"{dest}.export").exists()
    assert not (dest / ".tmp").exists()
    assert found["tracks"] == len(IDS)
    return dest


def samples_of(data):
    """int16 samples of an audio file, (n,)."""
    return sf.read(data, dtype="int16")[0]


def as_int16(corpus, track):
    """The corpus' own samples of a track, (n,)."""
    return corpus.by_id(track).samples()[0]


def test_files_and_manifest(corpora, tmp_path):
    """Each row of the manifest leads to a file with the row's samples, and has all that the source's row had."""
    dest = exported(corpora, tmp_path, "files")
    rows = [json.loads(line) for line in (dest / "manifest.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [item.id for item in corpora]
    for row in rows:
        i = IDS.index(row["id"])
        assert (row["text"], row["speaker"], row["unknown"]) == (f"text {i} é", f"s{i % 2}", {"nested": [i]})
        samples = samples_of(dest / row["audio_filepath"])
        assert row["num_samples"] == len(samples) == round(row["duration"] * 16000)
        assert np.array_equal(samples, as_int16(corpora, row["id"]))
        assert row["corpusdiff"]["job"] == corpora.job_digest


def test_flac_is_copied_where_it_is_one_stream(corpora):
    """A short track's stream is the chunk, byte for byte; a track of several chunks has none."""
    short, long = corpora.by_id("a.b/two"), corpora.by_id("speaker/long")
    assert flac_samples(short.flac()) == short.n_samples
    assert long.flac() is None
    assert flac_samples(b"RIFF") is None


@pytest.mark.parametrize(("to", "suffix"), [("wav", "wav"), ("flac", "flac")])
def test_lossless_trees(corpora, tmp_path, to, suffix):
    """Sample for sample."""
    dest = exported(corpora, tmp_path, to)
    files = sorted(
        path.relative_to(dest / "audio").as_posix() for path in (dest / "audio").rglob("*") if path.is_file()
    )
    assert files == sorted(f"{track.removesuffix('.wav')}.{suffix}" for track in IDS)
    assert np.array_equal(samples_of(dest / f"audio/a.b/one.take.{suffix}"), as_int16(corpora, IDS[0]))


def ogg_packets(data):
    """The packets of audio of an Ogg file."""
    with av.open(io.BytesIO(data)) as file:
        return [bytes(packet) for packet in file.demux() if packet.size]


def test_lossy_streams_are_copied(corpora, tmp_path):
    """The second output's Opus, byte for byte; in files with tags every packet of it."""
    item = corpora.item(0, "opus")
    name = f"audio/{item.id.removesuffix('.wav')}.opus"
    assert (exported(corpora, tmp_path, "nemo", output="opus") / name).read_bytes() == item.stream()
    data = (exported(corpora, tmp_path, "files", output="opus") / name).read_bytes()
    assert ogg_packets(data) == ogg_packets(item.stream())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its tars open
def test_webdataset(corpora, tmp_path):
    """The library finds each sample whole under a key of its own, dots and all."""
    webdataset = pytest.importorskip("webdataset")
    dest = exported(corpora, tmp_path, "webdataset")
    tars = sorted(str(path) for path in dest.glob("*.tar"))
    assert len(tars) == 3
    found = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    assert [json.loads(sample["json"])["id"] for sample in found] == [item.id for item in corpora]
    for sample in found:
        known = json.loads(sample["json"])
        assert sample["txt"].decode() == known["text"]
        assert np.array_equal(samples_of(io.BytesIO(sample["flac"])), as_int16(corpora, known["id"]))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # so does this one
@pytest.mark.parametrize("to", ["shar", "lhotse"])
def test_lhotse(corpora, tmp_path, to):
    """Lhotse loads and validates the cuts and their audio; supervisions and what it does not know come back."""
    lhotse = pytest.importorskip("lhotse")
    from lhotse.qa import validate

    dest = exported(corpora, tmp_path, to)
    cuts = lhotse.CutSet.from_shar(in_dir=dest) if to == "shar" else lhotse.CutSet.from_file(dest / "cuts.jsonl.gz")
    cuts = cuts.to_eager()
    assert {cut.id for cut in cuts} == set(IDS)
    validate(cuts, read_data=True)
    for cut in cuts:
        i = IDS.index(cut.id)
        (said,) = cut.supervisions
        assert (said.text, said.speaker, said.language) == (f"text {i} é", f"s{i % 2}", "en")
        assert cut.custom["unknown"] == {"nested": [i]}
        assert np.array_equal(np.round(cut.load_audio()[0] * 2**15).astype(np.int16), as_int16(corpora, cut.id))


def test_nemo_tarred(corpora, tmp_path):
    """Each row names a member of the tar whose number it gives."""
    dest = exported(corpora, tmp_path, "nemo-tarred")
    rows = [json.loads(line) for line in (dest / "tarred_audio_manifest.json").read_text().splitlines()]
    for row in rows:
        with tarfile.open(dest / f"audio_{row['shard_id']}.tar") as tar:
            data = tar.extractfile(row["audio_filepath"]).read()
        assert "/" not in row["audio_filepath"]
        assert np.array_equal(samples_of(io.BytesIO(data)), as_int16(corpora, row["id"]))


def test_kaldi(corpora, tmp_path):
    """All files are sorted alike, split on the first space, and lead to the audio; speakers are prefixes."""
    dest = exported(corpora, tmp_path, "kaldi")
    tables = {
        name: [line.split(" ", 1) for line in (dest / name).read_text().splitlines()]
        for name in ("wav.scp", "text", "utt2spk", "utt2dur")
    }
    utterances = [utterance for utterance, _ in tables["wav.scp"]]
    assert utterances == sorted(utterances) == [utterance for utterance, _ in tables["text"]]
    assert all(u.startswith(speaker) for u, speaker in tables["utt2spk"])
    durations = dict(tables["utt2dur"])
    for utterance, path in tables["wav.scp"]:
        assert len(samples_of(path)) == round(float(durations[utterance]) * 16000)
    spoken = {line.split(" ")[0]: line.split(" ")[1:] for line in (dest / "spk2utt").read_text().splitlines()}
    assert sorted(u for of in spoken.values() for u in of) == utterances


def test_audiofolder_and_parquet(corpora, tmp_path):
    """Hugging Face datasets reads both; audio comes back as bytes of the same samples."""
    datasets = pytest.importorskip("datasets")
    folder = exported(corpora, tmp_path, "audiofolder")
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    assert all((folder / row["file_name"]).is_file() for row in rows)
    dest = exported(corpora, tmp_path, "parquet")
    files = sorted(str(path) for path in dest.glob("data/*.parquet"))
    assert files[0].endswith("train-00000-of-00003.parquet")
    table = pq.read_table(files[0]).to_pylist()
    assert np.array_equal(samples_of(io.BytesIO(table[0]["audio"]["bytes"])), as_int16(corpora, table[0]["id"]))
    found = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path / "cache"))
    assert isinstance(found.features["audio"], datasets.Audio)
    assert [json.loads(text) for text in found["unknown"]] == [{"nested": [IDS.index(track)]} for track in found["id"]]


def test_only_some_rows(corpora, tmp_path):
    """A condition chooses; none that fulfils it is an error."""
    out = corpora._objects.location
    found = export(ExportRequest(out, str(tmp_path / "x"), "nemo", where="number > 2", cluster="none"))
    rows = [json.loads(line) for line in (tmp_path / "x/manifest.jsonl").read_text().splitlines()]
    assert sorted(row["number"] for row in rows) == [3, 4]
    assert (found["tracks"], found["left_out"]) == (2, 3)
    with pytest.raises(UsageError, match="fulfils number > 9"):
        export(ExportRequest(out, str(tmp_path / "y"), "nemo", where="number > 9", cluster="none"))


def test_interrupted_it_goes_on(corpora, tmp_path, monkeypatch):
    """What is done stays, the rest is done by the same command, another one is refused; the bytes are the same."""
    whole = exported(corpora, tmp_path / "whole", "shar")
    request = ExportRequest(corpora._objects.location, str(tmp_path / "x"), "shar", per_part=2, cluster="none")
    create, left = LocalObjects.create, [2]

    def breaking(self, key, data):
        if key.startswith("parts/"):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        return create(self, key, data)

    monkeypatch.setattr(LocalObjects, "create", breaking)
    with pytest.raises(BaseException, match="stopped at once"):
        export(request)
    monkeypatch.undo()
    assert len(list(Path(f"{tmp_path / 'x'}.export/parts").iterdir())) == 2
    with pytest.raises(UsageError, match="an unfinished export is there, made with where None"):
        export(ExportRequest(request.out, request.dest, "shar", where="number > 1", per_part=2, cluster="none"))
    export(request)
    for path in whole.iterdir():
        assert path.read_bytes() == (tmp_path / "x" / path.name).read_bytes()
    assert len(gzip.decompress((tmp_path / "x/cuts.000000.jsonl.gz").read_bytes()).splitlines()) == 2
    with pytest.raises(UsageError, match="not empty"):
        export(request)


def test_ids_that_differ_in_their_extension_only(tmp_path):
    """Both keep it in their file names."""
    (tmp_path / "in").mkdir()
    for name in ("a.wav", "a.flac"):
        sf.write(tmp_path / "in" / name, np.random.default_rng(len(name)).uniform(-0.1, 0.1, 4000), 8000)
    corpusdiff.run(str(tmp_path / "in"), str(tmp_path / "out"), job="listing", cluster="none")
    export(ExportRequest(str(tmp_path / "out"), str(tmp_path / "x"), "flac", cluster="none"))
    assert sorted(path.name for path in (tmp_path / "x/audio").iterdir()) == ["a.flac.flac", "a.wav.flac"]


def test_a_kind_that_is_not_there():
    """It is refused with the list of those that are."""
    with pytest.raises(UsageError, match=", ".join(KINDS)):
        ExportRequest("a", "b", "zip")
