"""Lhotse's recordings and cuts, written by Lhotse itself where it is installed."""

from __future__ import annotations

import gzip
import json
from itertools import chain

import pytest

from corpusdiff.errors import ManifestError
from corpusdiff.manifests import Reading, open_manifest
from corpusdiff.manifests.lhotse import LhotseManifest, is_lhotse_file

RECORDING = {
    "id": "rec", "sources": [{"type": "file", "channels": [0, 1], "source": "a/rec.wav"}], "sampling_rate": 16000,
    "num_samples": 32000, "duration": 2.0, "channel_ids": [0, 1],
}  # fmt: skip
CUT = {
    "id": "cut", "start": 0.5, "duration": 1.0, "channel": 1, "recording": RECORDING, "type": "MonoCut",
    "supervisions": [
        {"id": "s", "recording_id": "rec", "start": 0.1, "duration": 0.8, "channel": 1, "text": "hi", "speaker": "x",
         "alignment": {"word": [["hi", 0.1, 0.5, 1.0]]}}
    ],
    "custom": {"snr": 12, "nested": {"a": [1]}},
}  # fmt: skip


def tracks(tmp_path, *items):
    """The tracks of a manifest of these items."""
    path = tmp_path / "m.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(item) + "\n" for item in items)
    assert is_lhotse_file(path)
    return list(LhotseManifest(str(path)).tracks())


def test_a_cut(tmp_path):
    """Its stretch and channel; supervisions whole, what one speaker said as fields, custom keys under their names."""
    (track,) = tracks(tmp_path, CUT)
    assert (track.id, track.path, track.offset_s, track.duration_s, track.channel) == ("cut", "a/rec.wav", 0.5, 1.0, 1)
    assert track.fields["supervisions"] == CUT["supervisions"]
    known = {name: value for name, value in track.fields.items() if name != "supervisions"}
    assert known == {"text": "hi", "speaker": "x", "snr": 12, "nested": {"a": [1]}, "recording_id": "rec"}


def test_recordings_and_cuts_of_all_channels(tmp_path):
    """A recording is taken whole; a MultiCut of every channel too."""
    whole, multi = tracks(tmp_path, RECORDING, CUT | {"type": "MultiCut", "channel": [0, 1]})
    assert (whole.id, whole.offset_s, whole.duration_s, whole.channel) == ("rec", 0.0, None, None)
    assert whole.fields == {"duration": 2.0}
    assert multi.channel is None


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (CUT | {"type": "MixedCut"}, "found MixedCut"),
        ({"id": "x", "start": 0, "duration": 1, "type": "MonoCut"}, "no recording"),
        (RECORDING | {"sources": [{"type": "command", "channels": [0], "source": "rm -rf x"}]}, "commands are not run"),
        (RECORDING | {"sources": [{"type": "memory", "channels": [0], "source": "UklGRg=="}]}, "inside a manifest"),
        (RECORDING | {"sources": []}, "0 sources"),
        (
            CUT | {"type": "MultiCut", "channel": [0, 1], "recording": RECORDING | {"channel_ids": [0, 1, 2]}},
            r"channels \[0, 1\] of a file with \[0, 1, 2\]",
        ),
    ],
)
def test_what_cannot_be_taken_is_named(tmp_path, item, says):
    """With file, line and remedy."""
    with pytest.raises(ManifestError, match=says):
        tracks(tmp_path, item)


def test_what_lhotse_writes(tmp_path):
    """The library's own cuts come in with ids, times and texts."""
    lhotse = pytest.importorskip("lhotse")
    recording = lhotse.Recording.from_dict(json.loads(json.dumps(RECORDING)))
    said = lhotse.SupervisionSegment("s", "rec", 0.25, 1.0, channel=0, text="eins", speaker="y")
    cuts = lhotse.CutSet.from_manifests(lhotse.RecordingSet.from_recordings([recording]),
                                        lhotse.SupervisionSet.from_segments([said])).trim_to_supervisions()  # fmt: skip
    cuts.to_file(tmp_path / "cuts.jsonl.gz")
    (track,) = LhotseManifest(str(tmp_path / "cuts.jsonl.gz")).tracks()
    assert (track.offset_s, track.duration_s, track.fields["text"]) == (0.25, 1.0, "eins")


@pytest.mark.parametrize("text", ["", "[1]\n", '{"audio_filepath": "a.wav"}\n', "\x00\x01"])
def test_other_files_are_none_of_its(tmp_path, text):
    """NeMo's lines and what is no JSON."""
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    assert not is_lhotse_file(path)


SUPERVISION = {
    "id": "s1", "recording_id": "rec", "start": 0.25, "duration": 1.0, "channel": 0, "text": "eins", "speaker": "x",
    "alignment": {"word": [["eins", 0.25, 0.5, 1.0]]}, "custom": {"mine": {"nested": [1]}},
}  # fmt: skip


def written(path, *items):
    """A file of these items, packed where its name says so."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt") as file:
        file.writelines(json.dumps(item) + "\n" for item in items)
    return str(path)


def recording(name, *sources):
    """A recording of one file, or of files of these channels."""
    files = [{"type": "file", "channels": list(channels), "source": f"{name}{i}.wav"}
             for i, channels in enumerate(sources)]  # fmt: skip
    return RECORDING | {"id": name} | ({"sources": files, "channel_ids": [*chain(*sources)]} if files else {})


@pytest.mark.parametrize(("first", "second"), [("recordings.jsonl.gz", "supervisions.jsonl"),
                                               ("c_recordings_dev.jsonl", "c_supervisions_dev.jsonl.gz")])  # fmt: skip
@pytest.mark.parametrize("by", ["folder", "file"])
def test_recordings_with_supervisions(tmp_path, first, second, by):
    """A track for each recording with its supervisions, in whatever order the files are; texts in order of time."""
    written(tmp_path / first, recording("b"), recording("a"), recording("c"))
    later = SUPERVISION | {"id": "s2", "recording_id": "a", "start": 1.25, "text": "zwei"}
    written(tmp_path / second, later, SUPERVISION | {"recording_id": "b"}, SUPERVISION | {"recording_id": "a"})
    manifest = open_manifest(str(tmp_path if by == "folder" else tmp_path / first))
    b, a, c = manifest.tracks()
    assert [track.id for track in (b, a, c)] == ["b", "a", "c"]
    assert a.fields["supervisions"] == [later, SUPERVISION | {"recording_id": "a"}]
    assert (a.fields["text"], a.fields["speaker"]) == ("eins zwei", "x")
    assert b.fields["supervisions"] == [SUPERVISION | {"recording_id": "b"}]
    assert "supervisions" not in c.fields
    assert manifest.place(1).endswith(f"{first}:2")


def test_supervisions_as_tracks(tmp_path):
    """Each a stretch of its recording, its own times counted from its start."""
    written(tmp_path / "recordings.jsonl.gz", recording("rec", [0, 1]), recording("two", [0], [1]))
    written(tmp_path / "supervisions.jsonl.gz", SUPERVISION,
            SUPERVISION | {"id": "s2", "recording_id": "two", "channel": 1})  # fmt: skip
    for source in (tmp_path, tmp_path / "supervisions.jsonl.gz"):
        reading = Reading(source_format="lhotse-supervisions")
        one, two = open_manifest(str(source), reading).tracks()
        assert (one.id, one.path, one.offset_s, one.duration_s, one.channel) == ("s1", "rec0.wav", 0.25, 1.0, 0)
        assert one.fields["supervisions"] == [
            SUPERVISION | {"start": 0.0, "alignment": {"word": [["eins", 0.0, 0.5, 1.0]]}}
        ]
        assert (one.fields["text"], one.fields["recording_id"]) == ("eins", "rec")
        assert (two.path, two.channel) == ("two1.wav", None)


def test_recordings_of_several_files(tmp_path):
    """A track for each file, with the supervisions of its channels; a cut of one channel takes its file."""
    several = recording("r", [0], [1, 2])
    said = [SUPERVISION, SUPERVISION | {"id": "s2", "channel": 2}, SUPERVISION | {"id": "s3", "channel": [0, 1]}]
    written(tmp_path / "recordings.jsonl", several)
    written(tmp_path / "supervisions.jsonl", *(one | {"recording_id": "r"} for one in said))
    first, second = open_manifest(str(tmp_path)).tracks()
    assert [(track.id, track.path, track.channel) for track in (first, second)] == [
        ("r#0", "r0.wav", None), ("r#1+2", "r1.wav", None),
    ]  # fmt: skip
    assert [one["id"] for one in first.fields["supervisions"]] == ["s1", "s3"]
    assert [one["id"] for one in second.fields["supervisions"]] == ["s2", "s3"]
    (cut,) = tracks(tmp_path, CUT | {"recording": several, "channel": 2})
    assert (cut.id, cut.path, cut.channel) == ("cut", "r1.wav", 1)


@pytest.mark.parametrize(
    ("files", "form", "says"),
    [
        ({"supervisions.jsonl": [SUPERVISION]}, None, "a supervision, which names no file: .*lhotse-supervisions"),
        ({"supervisions.jsonl": [SUPERVISION]}, "lhotse-supervisions", "its recordings are not beside it"),
        (
            {"recordings.jsonl": [RECORDING]},
            "lhotse-supervisions",
            "no file of supervisions here; expected such as supervisions.jsonl.gz",
        ),
        (
            {"recordings.jsonl": [RECORDING], "supervisions.jsonl": [SUPERVISION, SUPERVISION | {"recording_id": "z"}]},
            None,
            "a supervision of the recording 'z', which is not in .*recordings.jsonl: `lhotse fix`",
        ),
        (
            {"recordings.jsonl": [RECORDING], "supervisions.jsonl": [SUPERVISION | {"recording_id": "z"}]},
            "lhotse-supervisions",
            "supervisions.jsonl:1: its recording 'z' is not in",
        ),
        (
            {"recordings.jsonl": [RECORDING, RECORDING], "supervisions.jsonl": [SUPERVISION]},
            "lhotse-supervisions",
            "'rec' is there twice",
        ),
        ({"recordings.jsonl": [RECORDING], "supervisions.jsonl": [{"id": 1}]}, None, "expected a supervision"),
        (
            {"a_recordings.jsonl": [RECORDING], "b_recordings.jsonl": [RECORDING]},
            None,
            "2 files of cuts or recordings: give one of them: a_recordings.jsonl, b_recordings.jsonl",
        ),
        ({"cuts.jsonl": [CUT | {"type": "PaddingCut"}]}, None, "cuts.jsonl:1: found PaddingCut 'cut'; .*save_audios"),
        (
            {"cuts.jsonl": [CUT | {"recording": RECORDING | {"transforms": [{"name": "Speed"}]}}]},
            None,
            "to be transformed when it is loaded",
        ),
        ({"cuts.jsonl": [CUT | {"channel": 7}]}, None, r"channels \[7\] of a recording that has \[0, 1\]"),
    ],
)
def test_what_does_not_fit_together_is_named(tmp_path, files, form, says):
    """With what to do."""
    for name, items in files.items():
        written(tmp_path / name, *items)
    with pytest.raises(ManifestError, match=says):
        list(open_manifest(str(tmp_path), Reading(source_format=form)).tracks())


def test_custom_keys_do_not_lead_elsewhere(tmp_path):
    """A key of `custom` that is called as the place of the audio is neither lost nor believed."""
    (track,) = tracks(tmp_path, CUT | {"custom": {"audio_filepath": "/etc/passwd", "id": "x", "offset": 9}})
    assert (track.id, track.path, track.offset_s) == ("cut", "a/rec.wav", 0.5)
    assert track.fields["custom_audio_filepath"] == "/etc/passwd"


def test_damage_is_named(tmp_path):
    """Packed data that ends early."""
    path = tmp_path / "cuts.jsonl.gz"
    written(path, *[CUT] * 200)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ManifestError, match="damaged after line"):
        list(open_manifest(str(path)).tracks())


def test_a_folder_of_audio_with_other_files_is_none_of_its(tmp_path):
    """Names alone do not make it Lhotse's."""
    (tmp_path / "recordings.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "a.wav").touch()
    assert open_manifest(str(tmp_path)).kind == "folder"


def test_paths_of_a_recipe(tmp_path, monkeypatch):
    """A relative path that is none below the manifest's folder is looked for where the command is given."""
    (tmp_path / "download").mkdir()
    (tmp_path / "download/rec0.wav").touch()
    (tmp_path / "data").mkdir()
    written(tmp_path / "data/recordings.jsonl", recording("download/rec", [0]))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError, match=r"lies outside .*--allow-root"):
        list(open_manifest("data").tracks())
    (track,) = open_manifest("data", Reading(allow_roots=["download"])).tracks()
    assert track.path == str(tmp_path / "download/rec0.wav")
