"""Lhotse's cuts of several channels through a run: the channels that they name, and the supervisions of each."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.export.export import ExportRequest, export
from corpusdiff.manifests import open_manifest
from corpusdiff.manifests.timed import loaded
from corpusdiff.tables import write_manifest

SR = 16000
N = 12000
JOB = '[source]\nsr = 16000\n[[output]]\nencoding = "flac"\ndither = false\n'


def said(name, channel):
    """A supervision of a channel."""
    return {"id": name, "recording_id": "r", "start": 0.125, "duration": 0.25, "channel": channel, "text": name}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A cut of both channels of a file, a cut of its second channel from 0.25 s on, and a recording of two files."""
    folder = tmp_path_factory.mktemp("channels")
    x = np.random.default_rng(4).integers(-9000, 9000, (N, 2), np.int16)
    sf.write(folder / "both.wav", x, SR)
    for channel in (0, 1):
        sf.write(folder / f"one{channel}.wav", x[:, channel], SR)
    both = {"id": "r", "sources": [{"type": "file", "channels": [0, 1], "source": "both.wav"}], "sampling_rate": SR,
            "num_samples": N, "duration": N / SR, "channel_ids": [0, 1]}  # fmt: skip
    files = [{"type": "file", "channels": [i], "source": f"one{i}.wav"} for i in (0, 1)]
    cut = {"id": "multi", "start": 0.0, "duration": N / SR, "channel": [0, 1], "recording": both, "type": "MultiCut",
           "supervisions": [said("left", 0), said("right", 1), said("all", [0, 1])], "custom": {"mine": 1}}  # fmt: skip
    mono = cut | {"id": "mono", "type": "MonoCut", "start": 0.25, "duration": 0.5, "channel": 1,
                  "supervisions": [said("right", 1)]}  # fmt: skip
    apart = cut | {"id": "apart", "recording": both | {"sources": files}}
    (folder / "cuts.jsonl").write_text("".join(json.dumps(item) + "\n" for item in (cut, mono, apart)))
    (folder / "job.toml").write_text(JOB)
    out = tmp_path_factory.mktemp("corpus") / "out"
    return corpusdiff.run(str(folder / "cuts.jsonl"), str(out), job=str(folder / "job.toml"), cluster="none"), x.T


def test_each_row_has_its_channels(corpus):
    """Two channels as two, one as one, a row for each file of a recording of several."""
    found, x = corpus
    expected = {"multi": x, "mono": x[1:, 4000:12000], "apart#0": x[:1], "apart#1": x[1:]}
    assert {item.id for item in found} == set(expected)
    for name, samples in expected.items():
        item = found.by_id(name)
        assert np.array_equal(item.samples(), samples)
        assert item.fields["mine"] == 1
    assert [one["id"] for one in found.by_id("apart#0").fields["supervisions"]] == ["left", "all"]


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_scan_has_the_same_tracks(corpus, tmp_path, suffix):
    """Written as another manifest, each has its stretch, also one from the start, its channel and its fields."""
    cut = {"id": "c", "start": 0.0, "duration": 0.25, "channel": 1, "type": "MonoCut", "supervisions": [said("a", 1)],
           "recording": {"id": "r", "sources": [{"type": "file", "channels": [0, 1], "source": "both.wav"}]},
           }  # fmt: skip
    sf.write(tmp_path / "both.wav", corpus[1].T, SR)
    (tmp_path / "cuts.jsonl").write_text(json.dumps(cut) + "\n")
    write_manifest(str(tmp_path / "cuts.jsonl"), str(tmp_path / f"scanned.{suffix}"))
    (before,) = open_manifest(str(tmp_path / "cuts.jsonl")).tracks()
    (after,) = open_manifest(str(tmp_path / f"scanned.{suffix}")).tracks()
    assert (after.offset_s, after.duration_s, after.channel) == (0.0, 0.25, 1)
    assert (after.id, after.path) == (before.id, before.path)
    assert loaded(after.fields["supervisions"]) == before.fields["supervisions"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the library leaves its tars open
@pytest.mark.parametrize("to", ["lhotse", "shar"])
def test_lhotse_reads_them_again(corpus, tmp_path, to):
    """As cuts of as many channels, each supervision with its own, in both forms."""
    lhotse = pytest.importorskip("lhotse")
    from lhotse.qa import validate

    found, x = corpus
    export(ExportRequest(found._objects.location, str(tmp_path / to), to, cluster="none"))
    path = tmp_path / to
    cuts = lhotse.CutSet.from_shar(in_dir=path) if to == "shar" else lhotse.CutSet.from_file(path / "cuts.jsonl.gz")
    cuts = cuts.to_eager()
    validate(cuts, read_data=True)
    multi, mono = cuts["multi"], cuts["mono"]
    assert [(one.id, one.channel) for one in multi.supervisions] == [("left", 0), ("right", 1), ("all", [0, 1])]
    assert multi.load_audio().shape == (2, N)
    assert np.array_equal(np.round(multi.load_audio() * 2**15), x)
    assert [(one.id, one.channel, one.start) for one in mono.supervisions] == [("right", 0, 0.125)]
    assert mono.num_samples == 8000
