"""A corpus of Opus, read by the formats' own libraries: every stream byte for byte, every id, text and key with it."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.export.export import ExportRequest, export

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # tars that they leave open

IDS = ["a.b/one.take.wav", "a.b/two", "v1.2.3", "100%"]
JOB = '[source]\nsr = 16000\n[[output]]\nencoding = "opus"\nbitrate_kbps = 24\n'


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Recordings whose ids have dots, blanks and folders, with texts and a nested key."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(5)
    rows = []
    for i, track in enumerate(IDS):
        sf.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(16000 + i), 16000)
        rows.append({"id": track, "audio_filepath": f"{i}.wav", "text": f"é {i}", "speaker": "s", "deep": {"k": [i]}})
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "job.toml").write_text(JOB)
    out = str(folder / "out")
    return corpusdiff.run(str(folder / "m.jsonl"), out, job=str(folder / "job.toml"), cluster="none")


def exported(corpus, tmp_path, to):
    """Where an export in several parts lies."""
    export(ExportRequest(corpus.location, str(tmp_path / to), to, per_part=3, cluster="none"))
    return tmp_path / to


def streams(corpus):
    """What the corpus holds: streams by id."""
    return {item.id: item.stream() for item in corpus}


def test_shar_is_read_lazily(corpus, tmp_path):
    """Lhotse's reader goes through the tars once, in the order of the cuts; the streams are in its recordings."""
    lhotse = pytest.importorskip("lhotse")
    cuts = lhotse.CutSet.from_shar(in_dir=exported(corpus, tmp_path, "shar"))
    assert cuts.is_lazy
    found = {cut.id: cut for cut in cuts}
    assert {name: cut.recording.sources[0].source for name, cut in found.items()} == streams(corpus)
    for i, name in enumerate(IDS):
        (said,) = found[name].supervisions
        assert (said.text, said.speaker, found[name].custom["deep"]) == (f"é {i}", "s", {"k": [i]})
        assert found[name].load_audio().shape[1] == corpus.by_id(name).n_samples


def test_webdataset_keeps_ids_apart(corpus, tmp_path):
    """Ids with dots have keys of their own."""
    webdataset = pytest.importorskip("webdataset")
    tars = sorted(map(str, exported(corpus, tmp_path, "webdataset").glob("*.tar")))
    found = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False))
    assert len({sample["__key__"] for sample in found}) == len(IDS)
    assert {json.loads(sample["json"])["id"]: sample["opus"] for sample in found} == streams(corpus)
    assert {sample["txt"].decode() for sample in found} == {f"é {i}" for i in range(len(IDS))}


def test_datasets_reads_both_of_its_forms(corpus, tmp_path):
    """Files beside their metadata, and Parquet with the streams inside; both know the column as audio."""
    datasets = pytest.importorskip("datasets")
    folder = str(exported(corpus, tmp_path, "audiofolder"))
    found = datasets.load_dataset("audiofolder", data_dir=folder, split="train", streaming=True)
    assert isinstance(found.features["audio"], datasets.Audio)
    rows = [
        row for _, row in found._ex_iterable
    ]  # as its reader finds them; to go on, it wants torchcodec, for no need
    read = {}
    for row in rows:
        with open(row["audio"], "rb") as file:  # noqa: PTH123
            read[row["id"]] = file.read()
        assert row["deep"] == {"k": [IDS.index(row["id"])]}
    assert read == streams(corpus)
    files = sorted(map(str, exported(corpus, tmp_path, "parquet").glob("data/*.parquet")))
    found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert isinstance(found.features["audio"], datasets.Audio)
    rows = list(found.cast_column("audio", datasets.Audio(decode=False)))
    assert {row["id"]: row["audio"]["bytes"] for row in rows} == streams(corpus)
    assert {row["text"] for row in rows} == {f"é {i}" for i in range(len(IDS))}


def test_nemo_by_its_specification(corpus, tmp_path):
    """Rows of a manifest whose shard and member lead to the stream."""
    dest = exported(corpus, tmp_path, "nemo-tarred")
    rows = [json.loads(line) for line in (dest / "tarred_audio_manifest.json").read_text().splitlines()]
    read = {}
    for number in {row["shard_id"] for row in rows}:
        with tarfile.open(dest / f"audio_{number}.tar") as tar:
            members = {member.name: tar.extractfile(member).read() for member in tar}
        named = {row["audio_filepath"]: row["id"] for row in rows if row["shard_id"] == number}
        assert members.keys() == named.keys()
        read |= {named[name]: data for name, data in members.items()}
    assert read == streams(corpus)


@pytest.mark.parametrize("to", ["nemo", "lhotse", "kaldi"])
def test_files_beside_manifests(corpus, tmp_path, to):
    """The streams again, under names that stay in their folder."""
    dest = exported(corpus, tmp_path, to)
    names = {row_id: f"{row_id.removesuffix('.wav')}.opus" for row_id in IDS}
    assert {row_id: (dest / "audio" / name).read_bytes() for row_id, name in names.items()} == streams(corpus)


def test_every_form_says_what_made_it(corpus, tmp_path):
    """The job's digest and the version stand in each row of each form."""
    lhotse = pytest.importorskip("lhotse")
    pq = pytest.importorskip("pyarrow.parquet")
    made = {"job": corpus.job_digest, "version": corpusdiff.__version__, "rule": "default"}
    said = [json.loads(line)["corpusdiff"] for line in (exported(corpus, tmp_path, "nemo") / "manifest.jsonl").open()]
    kaldi = (exported(corpus, tmp_path, "kaldi") / "utt2corpusdiff").read_text().splitlines()
    said += [json.loads(line.split(" ", 1)[1]) for line in kaldi]
    said += [cut.custom["corpusdiff"] for cut in lhotse.CutSet.from_shar(in_dir=exported(corpus, tmp_path, "shar"))]
    files = exported(corpus, tmp_path, "parquet").glob("data/*.parquet")
    said += [json.loads(text) for path in files for text in pq.read_table(path)["corpusdiff"].to_pylist()]
    assert len(said) == 4 * len(IDS)
    assert all(made.items() <= one.items() for one in said)
