"""Times through a run and an export: where a supervision begins there is the sound that it is about."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.export.export import ExportRequest, export
from corpusdiff.manifests import open_manifest
from corpusdiff.manifests.timed import loaded

SR = 16000

#: Starts of clicks in seconds; what is said of each lasts 0.4 s.
CLICKS_S = (0.5, 1.75, 2.3, 4.1, 5.0)
JOB = '[source]\nsr = 16000\n{}\n[[output]]\nencoding = "pcm"\nbits = 16\ndither = false\n'


def supervision(number, start):
    """A supervision with one aligned word and a key of its own."""
    return {
        "id": f"s{number}", "recording_id": "rec", "start": start, "duration": 0.4, "channel": 0, "speaker": "x",
        "text": f"word{number}", "custom": {"mine": {"nested": [number]}},
        "alignment": {"word": [[f"word{number}", start, 0.4, 0.5]]},
    }  # fmt: skip


def word(item):
    """What is said in a supervision, all of it."""
    return f"word{item['id'][1:]}"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Clicks in a file of 6 s, and a manifest that says when: as supervisions and as words."""
    folder = tmp_path_factory.mktemp("clicks")
    x = np.zeros(6 * SR)
    for start in CLICKS_S:
        x[round(start * SR)] = 0.5
    sf.write(folder / "a.wav", x, SR)
    said = [supervision(number, start) for number, start in enumerate(CLICKS_S)]
    words = [{"word": item["text"], "start": item["start"], "end": item["start"] + 0.4} for item in said]
    row = {"id": "rec", "audio_filepath": "a.wav", "supervisions": said, "words": words, "mine": {"deep": [1]},
           "text": "word0 word1 word2 word3 word4"}  # fmt: skip
    (folder / "m.jsonl").write_text(json.dumps(row) + "\n")
    return folder / "m.jsonl"


def run(source, tmp_path, lines):
    """The corpus of a job with these lines in its table ``source``."""
    (tmp_path / "job.toml").write_text(JOB.format(lines))
    return corpusdiff.run(str(source), str(tmp_path / "out"), job=str(tmp_path / "job.toml"), cluster="none")


@pytest.mark.parametrize(
    "lines",
    [
        "segment_s = 2.0",
        "segment_s = 2.0\nspeed = 1.25",
        "segment_s = 2.5\noverlap_s = 0.5",
        "speed = 0.8",
        "tempo = 1.25\nsegment_s = 3.0",
    ],
)
def test_the_sound_is_where_the_row_says(source, tmp_path, lines):
    """In every segment the clicks are as many as the supervisions that begin in it, and as late, to a millisecond."""
    corpus = run(source, tmp_path, lines)
    tolerance = 0.03 if "tempo" in lines else 0.001  # overlap-and-add moves a click by up to half of its window
    found = []
    for item in corpus:
        x = np.abs(item.audio[0])
        loud = np.flatnonzero(x > 0.3 * x.max()) / SR if x.max() > 0.01 else np.zeros(0)
        clicks = loud[np.r_[True, np.diff(loud) > 0.1]] if len(loud) else loud
        said = item.fields["supervisions"]
        whole = [one for one in said if one.get("custom", {}).get("clipped", {"start": 0})["start"] in {0, *CLICKS_S}
                 and one["start"] > 0]  # fmt: skip
        assert [one["start"] for one in whole] == pytest.approx(clicks.tolist(), abs=tolerance)
        assert [one["alignment"]["word"][0][1] for one in said] == [one["start"] for one in said]
        assert [(one["word"], one["start"]) for one in item.fields["words"]] == [(word(s), s["start"]) for s in said]
        assert all(one["start"] + one["duration"] <= item.n_samples / SR + 1e-6 for one in said)
        assert (item.fields["text"] or "").split() == [one["text"] for one in said if one["text"]]
        assert item.fields["mine"] == {"deep": [1]}
        found += [one["id"] for one in whole]
    assert set(found) == {f"s{i}" for i in range(5)}
    if "overlap" not in lines:
        assert len(found) == 5


def test_one_cut_in_two_is_in_both_rows_and_says_so(source, tmp_path):
    """The click at 1.75 s lasts to 2.15 s: 0.25 s of it are in the first segment, 0.15 s in the second."""
    first, second, _ = run(source, tmp_path, "segment_s = 2.0")
    end, begin = first.fields["supervisions"][-1], second.fields["supervisions"][0]
    assert (end["id"], end["start"], end["duration"]) == ("s1", 1.75, 0.25)
    assert (begin["id"], begin["start"], begin["duration"]) == ("s1", 0.0, 0.15)
    was = {"start": 1.75, "duration": 0.4, "text": "word1"}
    assert end["custom"] == begin["custom"] == {"mine": {"nested": [1]}, "clipped": was}
    assert (end["text"], begin["text"]) == ("word1", "")  # whose middle is before the cut
    assert (first.fields["text"], second.fields["text"]) == ("word0 word1", "word2")
    assert second.fields["words"][0]["clipped"] == {"start": 1.75, "end": 2.15}


def test_the_manifest_as_it_was_is_in_the_plan(source, tmp_path):
    """Under the id of the parent, as the page on the format says."""
    first, *_ = run(source, tmp_path, "segment_s = 2.0")
    plan = pq.read_table(tmp_path / "out/plan/0000/manifest.parquet").to_pylist()
    (fields,) = (json.loads(row["fields"]) for row in plan if row["id"] == first["parent"])
    assert fields["supervisions"] == json.loads(source.read_text())["supervisions"]


@pytest.mark.parametrize("to", ["nemo", "kaldi", "webdataset", "parquet"])
def test_other_exports_have_them_too(source, tmp_path, to):
    """Each row with its own text, and with its words' times where the form has a place for such."""
    corpus = run(source, tmp_path, "segment_s = 2.0")
    export(ExportRequest(str(tmp_path / "out"), str(tmp_path / "x"), to, cluster="none"))
    wanted = {item.id: item.fields for item in corpus}
    if to in {"nemo", "kaldi"}:
        name = "manifest.jsonl" if to == "nemo" else ""
        found = {track.id: track.fields for track in open_manifest(str(tmp_path / "x" / name)).tracks()}
    elif to == "parquet":
        (path,) = (tmp_path / "x").rglob("*.parquet")
        found = {row["id"]: row for row in pq.read_table(path).to_pylist()}
    else:
        with tarfile.open(tmp_path / "x/000000.tar") as tar:
            rows = [json.load(tar.extractfile(one)) for one in tar if one.name.endswith(".json")]
        found = {row["id"]: row for row in rows}
    assert found.keys() == wanted.keys()
    for name, fields in wanted.items():
        assert found[name]["text"] == fields["text"]
        for key in ("words", "supervisions", "mine"):
            assert loaded(found[name][key]) == fields[key]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its tars open
@pytest.mark.parametrize("to", ["lhotse", "shar"])
def test_lhotse_takes_the_moved_times(source, tmp_path, to):
    """Its validation passes, with times, alignments and keys of each supervision as they are for the cut's audio."""
    lhotse = pytest.importorskip("lhotse")
    from lhotse.qa import validate

    corpus = run(source, tmp_path, "segment_s = 2.0\nspeed = 1.25")
    dest = tmp_path / to
    export(ExportRequest(str(tmp_path / "out"), str(dest), to, cluster="none"))
    cuts = lhotse.CutSet.from_shar(in_dir=dest) if to == "shar" else lhotse.CutSet.from_file(dest / "cuts.jsonl.gz")
    cuts = cuts.to_eager()
    validate(cuts, read_data=True)
    assert len(cuts) == len(corpus) == 3
    for cut in cuts:
        item = corpus.by_id(cut.id)
        wanted = item.fields["supervisions"]
        assert "supervisions" not in cut.custom
        assert cut.custom["mine"] == {"deep": [1]}
        assert [one.id for one in cut.supervisions] == [one["id"] for one in wanted]
        for one, was in zip(cut.supervisions, wanted, strict=True):
            assert (one.start, one.duration) == pytest.approx((was["start"], was["duration"]), abs=0.001)
            assert one.end <= cut.duration + 1e-6
            assert (one.text, one.speaker, one.custom) == (was["text"], "x", was["custom"])
            (aligned,) = one.alignment["word"]
            assert (aligned.symbol, aligned.score) == (word(was), 0.5)
            assert aligned.start == pytest.approx(one.start, abs=0.001)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Three words of a voice-like buzz in near silence, and a manifest of them as supervisions of a recording."""
    folder = tmp_path_factory.mktemp("words")
    rng = np.random.default_rng(6)
    x = 1e-4 * rng.standard_normal(8 * SR)
    t = np.arange(SR) / SR
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 3 * t)) / SR
    buzz = sum(np.sin(n * pitch) / (1 + abs(n - 5)) for n in range(1, 25)) * np.sin(np.pi * t)
    for start in (1, 3, 6):
        x[start * SR : (start + 1) * SR] += 0.1 * buzz
    sf.write(folder / "a.wav", x, SR)
    said = [supervision(number, start + 0.3) for number, start in enumerate((1, 3, 6))]
    row = {"id": "rec", "audio_filepath": "a.wav", "supervisions": said, "text": "word0 word1 word2"}
    (folder / "m.jsonl").write_text(json.dumps(row) + "\n")
    return folder / "m.jsonl"


def test_trimming_moves_and_segments_share(words, tmp_path):
    """What silence is trimmed off the start is taken off all times; of segments each has what is said in it."""
    (tmp_path / "trim").mkdir()
    (trimmed,) = run(words, tmp_path / "trim", "\n[vad]\nmode = 'trim'")
    start_s = trimmed["start_s"]
    assert start_s > 0.5
    starts = [one["start"] for one in trimmed.fields["supervisions"]]
    assert starts == pytest.approx([1.3 - start_s, 3.3 - start_s, 6.3 - start_s], abs=0.001)
    assert trimmed.fields["text"] == "word0 word1 word2"
    (tmp_path / "cut").mkdir()
    rows = list(run(words, tmp_path / "cut", "\n[vad]\nmode = 'segment'"))
    assert [row.fields["text"] for row in rows] == ["word0", "word1", "word2"]
    for row, at in zip(rows, (1.3, 3.3, 6.3), strict=True):
        (one,) = row.fields["supervisions"]
        assert one["start"] == pytest.approx(at - row["start_s"], abs=0.001)
        assert (one["duration"], "clipped" in one["custom"]) == (0.4, False)
