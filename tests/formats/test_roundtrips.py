"""From a manifest to the table, out by an export, and in again: every id, text, duration, speaker and unknown key."""

from __future__ import annotations

import csv
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.export.export import ExportRequest, export
from corpusdiff.manifests import Reading, open_manifest

SR = 16000
JOB = '[source]\nsr = 16000\n[[output]]\nencoding = "flac"\ndither = false\n'

#: What is known of each recording; a speaker stands before its utterances, as Kaldi wants it.
ROWS = [
    {"id": f"s{i % 2}-a.{i}", "file": f"{i}.wav", "n": 8000 + 1001 * i, "text": text, "speaker": f"s{i % 2}",
     "my_key": f"k {i}", "nested": {"list": [str(i), "é"], "deep": {"x": i}}}
    for i, text in enumerate(["plain words", 'a "quoted", comma', "Grüße 音声 123"])
]  # fmt: skip


def known(row, path="audio_filepath", *, nested=lambda value: value):
    """A row with its path under a name."""
    fields = {name: row[name] for name in ("id", "text", "speaker", "my_key")}
    return fields | {path: row["file"], "duration": row["n"] / SR, "nested": nested(row["nested"])}


def as_text(value):
    """A nested value in a table of texts."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def write_nemo(folder):
    """JSON lines."""
    (folder / "m.jsonl").write_text("".join(json.dumps(known(row)) + "\n" for row in ROWS))
    return folder / "m.jsonl"


def write_csv(folder, name="m.csv", delimiter=","):
    """A table of texts."""
    rows = [known(row, nested=as_text) for row in ROWS]
    with (folder / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def write_tsv(folder):
    """The same with tabs."""
    return write_csv(folder, "m.tsv", "\t")


def write_parquet(folder):
    """Nested values as structs."""
    pq.write_table(pa.Table.from_pylist([known(row) for row in ROWS]), folder / "m.parquet")
    return folder / "m.parquet"


def write_audiofolder(folder):
    """Hugging Face's."""
    rows = [known(row, "file_name") for row in ROWS]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_kaldi(folder):
    """A data folder."""
    ordered = sorted(ROWS, key=lambda row: row["id"])
    columns = {"wav.scp": "file", "text": "text", "utt2spk": "speaker", "utt2my_key": "my_key"}
    for name, key in columns.items():
        (folder / name).write_text("".join(f"{row['id']} {row[key]}\n" for row in ordered))
    (folder / "utt2nested").write_text("".join(f"{row['id']} {as_text(row['nested'])}\n" for row in ordered))
    (folder / "utt2dur").write_text("".join(f"{row['id']} {row['n'] / SR}\n" for row in ordered))
    return folder


def lhotse_items(row):
    """Recording and supervision."""
    source = {"type": "file", "channels": [0], "source": row["file"]}
    recording = {"id": row["id"], "sources": [source], "sampling_rate": SR, "num_samples": row["n"],
                 "duration": row["n"] / SR, "channel_ids": [0]}  # fmt: skip
    said = {"id": f"said-{row['id']}", "recording_id": row["id"], "start": 0.1, "duration": 0.3, "channel": 0,
            "text": row["text"], "speaker": row["speaker"], "custom": {"own": row["nested"]},
            "alignment": {"word": [["w", 0.1, 0.25, 0.5]]}}  # fmt: skip
    return recording, said


def write_cuts(folder):
    """Cuts with keys of their own."""
    with gzip.open(folder / "cuts.jsonl.gz", "wt") as file:
        for row in ROWS:
            recording, said = lhotse_items(row)
            cut = {"id": row["id"], "start": 0.0, "duration": row["n"] / SR, "channel": 0, "recording": recording,
                   "supervisions": [said], "type": "MonoCut",
                   "custom": {"my_key": row["my_key"], "nested": row["nested"]}}  # fmt: skip
            file.write(json.dumps(cut) + "\n")
    return folder / "cuts.jsonl.gz"


def write_lhotse(folder):
    """Recordings and supervisions apart."""
    for number, kind in enumerate(("recordings", "supervisions")):
        with gzip.open(folder / f"{kind}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(lhotse_items(row)[number]) + "\n" for row in ROWS)
    return folder


#: How each form is written, what it is exported as, whether nested values are texts in it, and whether it has any.
FORMS = {
    "nemo": (write_nemo, "nemo", False, True),
    "csv": (write_csv, "nemo", True, True),
    "tsv": (write_tsv, "audiofolder", True, True),
    "parquet": (write_parquet, "parquet", False, True),
    "audiofolder": (write_audiofolder, "audiofolder", False, True),
    "kaldi": (write_kaldi, "kaldi", True, True),
    "lhotse cuts": (write_cuts, "lhotse", False, True),
    "lhotse recordings": (write_lhotse, "lhotse", False, False),
}


@pytest.fixture(scope="module", params=FORMS)
def form(request, tmp_path_factory):
    """Name of a form, and the corpus of a manifest in it."""
    folder = tmp_path_factory.mktemp("source")
    rng = np.random.default_rng(2)
    for row in ROWS:
        sf.write(folder / row["file"], 0.1 * rng.standard_normal(row["n"]), SR)
    source = FORMS[request.param][0](folder)
    (folder / "job.toml").write_text(JOB)
    out = tmp_path_factory.mktemp("corpus") / "out"
    return request.param, corpusdiff.run(str(source), str(out), job=str(folder / "job.toml"), cluster="none")


def expected(name, row):
    """Fields that a row must have in the end."""
    _, _, texts, unknown = FORMS[name]
    own = {"my_key": row["my_key"], "nested": as_text(row["nested"]) if texts else row["nested"]} if unknown else {}
    return {"text": row["text"], "speaker": row["speaker"], **own}


def test_the_table_has_everything(form):
    """Each row under its id, with the length of its file."""
    name, corpus = form
    assert sorted(item.id for item in corpus) == sorted(row["id"] for row in ROWS)
    for row in ROWS:
        item = corpus.by_id(row["id"])
        fields = item.fields
        assert {key: fields[key] for key in expected(name, row)} == expected(name, row)
        assert (item.status, item.n_samples) == ("ok", row["n"])
        if name != "lhotse cuts":  # whose duration is that of a stretch of the file
            assert float(fields["duration"]) == row["n"] / SR
        if name.startswith("lhotse"):
            assert fields["supervisions"] == [lhotse_items(row)[1]]


def test_an_export_leads_back(form, tmp_path):
    """Read as a source again, the export has the same ids, lengths and fields, and so has a second corpus of it."""
    name, corpus = form
    to = FORMS[name][1]
    export(ExportRequest(corpus._objects.location, str(tmp_path / to), to, cluster="none"))
    if to == "parquet":
        found = {
            row["id"]: row for path in (tmp_path / to).rglob("*.parquet") for row in pq.read_table(path).to_pylist()
        }
        fields = {key: {**row, "nested": json.loads(row["nested"])} for key, row in found.items()}
    else:
        source = {"lhotse": "cuts.jsonl.gz", "nemo": "manifest.jsonl"}.get(to, "")
        found = {track.id: track for track in open_manifest(str(tmp_path / to / source)).tracks()}
        fields = {key: dict(track.fields) for key, track in found.items()}
    assert found.keys() == {row["id"] for row in ROWS}
    for row in ROWS:
        there = fields[row["id"]]
        assert {key: there.get(key) for key in expected(name, row)} == expected(name, row)
        if to == "lhotse":
            assert found[row["id"]].duration_s == pytest.approx(row["n"] / SR, abs=1e-6)
            assert there["supervisions"] == [lhotse_items(row)[1]]
        else:
            assert float(there["duration"]) == pytest.approx(row["n"] / SR, abs=1e-6)


def test_speakers_go_before_the_utterances_of_kaldi(form, tmp_path):
    """From any form: sorted files of one line each, and the id that a row had where its utterance has another."""
    name, corpus = form
    export(ExportRequest(corpus._objects.location, str(tmp_path / "kaldi"), "kaldi", cluster="none"))
    for path in (path for path in (tmp_path / "kaldi").iterdir() if path.is_file()):
        keys = [line.split(" ", 1)[0].encode() for line in path.read_text().splitlines()]
        assert keys == sorted(set(keys)), path.name
    tracks = {track.id: track for track in open_manifest(str(tmp_path / "kaldi")).tracks()}
    for row in ROWS:
        fields = tracks[row["id"]].fields
        assert (fields["text"], fields["speaker"]) == (row["text"], row["speaker"])
        if FORMS[name][3]:
            assert (fields["my_key"], json.loads(fields["nested"])) == (row["my_key"], row["nested"])


@pytest.mark.parametrize("form", ["lhotse cuts", "lhotse recordings", "nemo"], indirect=True)
def test_lhotse_validates(form, tmp_path):
    """The library reads what is exported, with the supervisions, alignments and keys that went in."""
    lhotse = pytest.importorskip("lhotse")
    from lhotse.qa import validate

    name, corpus = form
    export(ExportRequest(corpus._objects.location, str(tmp_path / "x"), "lhotse", cluster="none"))
    cuts = lhotse.CutSet.from_file(tmp_path / "x/cuts.jsonl.gz").to_eager()
    validate(cuts, read_data=True)
    for row in ROWS:
        cut = cuts[row["id"]]
        (said,) = cut.supervisions
        assert (said.text, said.speaker, cut.num_samples) == (row["text"], row["speaker"], row["n"])
        if name != "lhotse recordings":
            assert (cut.custom["my_key"], cut.custom["nested"]) == (row["my_key"], row["nested"])
        if name != "nemo":
            assert (said.id, said.start, said.duration) == (f"said-{row['id']}", 0.1, 0.3)
            assert said.custom == {"own": row["nested"]}
            assert [tuple(item) for item in said.alignment["word"]] == [("w", 0.1, 0.25, 0.5)]


def test_kaldi_folders_of_lhotse(tmp_path):
    """What Lhotse writes as a Kaldi folder comes in with segments, texts and speakers."""
    lhotse = pytest.importorskip("lhotse")
    from lhotse.kaldi import export_to_kaldi

    sf.write(tmp_path / "a.wav", 0.1 * np.ones(3 * SR), SR)
    recordings = lhotse.RecordingSet.from_recordings([lhotse.Recording.from_file(tmp_path / "a.wav", "rec")])
    said = [
        lhotse.SupervisionSegment(f"s{i}-u", "rec", 0.5 * i, 1.25, text=f"text {i}", speaker=f"s{i}") for i in (0, 1)
    ]
    export_to_kaldi(recordings, lhotse.SupervisionSet.from_segments(said), tmp_path / "kaldi")
    tracks = list(open_manifest(str(tmp_path / "kaldi"), Reading(allow_roots=[str(tmp_path)])).tracks())
    assert [(track.id.endswith(f"s{i}-u"), track.offset_s, track.duration_s) for i, track in enumerate(tracks)] == [
        (True, 0.0, 1.25), (True, 0.5, 1.25),
    ]  # fmt: skip
    assert [(track.fields["text"], track.fields["speaker"]) for track in tracks] == [("text 0", "s0"), ("text 1", "s1")]


@pytest.mark.parametrize("form", ["kaldi", "nemo"], indirect=True)
def test_lhotse_reads_the_kaldi_folder(form, tmp_path):
    """Each entry of the folder is a recording of the right length to Lhotse's reader of such folders."""
    pytest.importorskip("lhotse")
    from lhotse.kaldi import load_kaldi_data_dir

    export(ExportRequest(form[1]._objects.location, str(tmp_path / "kaldi"), "kaldi", cluster="none"))
    recordings, *_ = load_kaldi_data_dir(tmp_path / "kaldi", SR)
    found = {one.id: one.duration for one in recordings}
    assert found == pytest.approx({row["id"]: row["n"] / SR for row in ROWS}, abs=0.001)  # which it rounds to
