"""What others' libraries write, and what `export` writes, as sources: every id, text, speaker, key and sample."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.export.export import ExportRequest, export

IDS = ["a", "b", "c", "d", "e"]
PLAIN = '[source]\n[[output]]\nencoding = "flac"\ndither = false\n'


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A job that changes nothing."""
    path = tmp_path_factory.mktemp("job") / "plain.toml"
    path.write_text(PLAIN)
    return str(path)


@pytest.fixture(scope="module")
def first(job, tmp_path_factory):
    """A corpus of five recordings."""
    folder = tmp_path_factory.mktemp("first")
    rng = np.random.default_rng(2)
    rows = []
    for i, name in enumerate(IDS):
        sf.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(6000 + 500 * i), 16000)
        rows.append({"id": name, "audio_filepath": f"{name}.wav", "text": f"text {i} é", "speaker": f"s{i % 2}",
                     "unknown": {"nested": [i]}, "number": i})  # fmt: skip
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return corpusdiff.run(str(folder / "m.jsonl"), str(folder / "out"), job=job, cluster="none")


def same(source, first, job, out, *, unknown=True):
    """Assert that a run over `source` gives the first corpus's samples, texts and speakers."""
    found = corpusdiff.run(str(source), str(out), job=job, cluster="none")
    assert {item.id for item in found} == set(IDS)
    for item in found:
        i = IDS.index(item.id)
        assert np.array_equal(item.samples(), first.by_id(item.id).samples())
        assert (item.fields["text"], item.fields["speaker"]) == (f"text {i} é", f"s{i % 2}")
        if unknown:
            value = item.fields["unknown"]
            assert (json.loads(value) if isinstance(value, str) else value) == {"nested": [i]}


@pytest.mark.parametrize(
    "to", ["webdataset", "shar", "nemo-tarred", "parquet", "lhotse", "kaldi", "nemo", "audiofolder"]
)
def test_exports_are_sources(first, job, tmp_path, to):
    """Out and in again."""
    export(ExportRequest(first._objects.location, str(tmp_path / to), to, per_part=2, cluster="none"))
    if to == "kaldi":
        utterances = [line.split()[0] for line in (tmp_path / to / "wav.scp").read_text().splitlines()]
        assert utterances == sorted(f"s{i % 2}-{name}" for i, name in enumerate(IDS))
        return  # its utterances have their speakers in their ids
    source = tmp_path / to / "manifest.jsonl" if to == "nemo" else tmp_path / to
    same(source, first, job, tmp_path / "out")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its tars open
def test_shar_of_lhotse(first, job, tmp_path):
    """As `CutSet.to_shar` writes it."""
    lhotse = pytest.importorskip("lhotse")
    export(ExportRequest(first._objects.location, str(tmp_path / "x"), "lhotse", cluster="none"))
    cuts = lhotse.CutSet.from_file(tmp_path / "x/cuts.jsonl.gz")
    (tmp_path / "shar").mkdir()
    cuts.to_shar(str(tmp_path / "shar"), fields={"recording": "flac"}, shard_size=2)
    same(tmp_path / "shar", first, job, tmp_path / "out")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tars_of_webdataset(first, job, tmp_path):
    """As its `ShardWriter` writes them."""
    webdataset = pytest.importorskip("webdataset")
    (tmp_path / "tars").mkdir()
    with webdataset.ShardWriter(str(tmp_path / "tars/train-%03d.tar"), maxcount=2, verbose=0) as sink:
        for item in first:
            rest = {name: item.fields[name] for name in ("speaker", "unknown")}
            sink.write({"__key__": item.id, "flac": item.flac(), "txt": item.fields["text"], "json": rest})
    same(str(tmp_path / "tars/train-{000..002}.tar"), first, job, tmp_path / "out")


def test_datasets_of_hugging_face(first, job, tmp_path):
    """As `save_to_disk` and `to_parquet` write them, a dict of splits among them."""
    datasets = pytest.importorskip("datasets")
    rows = []
    for item in first:
        buffer = io.BytesIO()
        sf.write(buffer, item.samples().T, item.sr, format="FLAC")
        rest = {name: item.fields[name] for name in ("text", "speaker", "unknown")}
        rows.append({"id": item.id, "audio": {"bytes": buffer.getvalue(), "path": f"{item.id}.flac"}, **rest})
    text = datasets.Value("string")
    audio = {"bytes": datasets.Value("binary"), "path": text}  # encoding its own `Audio` needs torchcodec
    nested = {"nested": datasets.List(datasets.Value("int64"))}
    kinds = datasets.Features({"id": text, "audio": audio, "text": text, "speaker": text, "unknown": nested})
    whole = datasets.Dataset.from_list(rows, features=kinds)
    whole.save_to_disk(str(tmp_path / "saved"), num_shards=2)
    same(tmp_path / "saved", first, job, tmp_path / "out1")
    whole.to_parquet(str(tmp_path / "whole.parquet"))
    same(tmp_path / "whole.parquet", first, job, tmp_path / "out2")
    splits = datasets.DatasetDict({"train": whole.select(range(3)), "test": whole.select(range(3, 5))})
    splits.save_to_disk(str(tmp_path / "splits"))
    same(tmp_path / "splits", first, job, tmp_path / "out3")
    found = corpusdiff.open(str(tmp_path / "out3"))
    assert [item.fields["split"] for item in found] == ["train"] * 3 + ["test"] * 2
