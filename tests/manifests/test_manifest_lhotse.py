"""Lhotse's recordings and cuts, written by Lhotse itself where it is installed."""

from __future__ import annotations

import gzip
import json

import pytest

from corpusdiff.errors import ManifestError
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
    recording = lhotse.Recording.from_dict(RECORDING)
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
