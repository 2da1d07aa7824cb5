"""Kaldi data folders: utterances, segments, speakers and texts; commands are never run."""

from __future__ import annotations

import pytest

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.kaldi import KaldiManifest


@pytest.fixture
def folder(tmp_path):
    """A folder with segments."""
    for name, lines in {
        "wav.scp": "rec1 audio/rec one.wav\nrec2 /data/rec2.flac\n",
        "segments": "s1-a rec1 0.5 2.25\ns1-b rec2 0 -1\ns2-a rec1 3 4 1\n",
        "text": "s1-a  hello  world\ns2-a zwei\n",
        "utt2spk": "s1-a s1\ns1-b s1\ns2-a s2\n",
        "utt2lang": "s1-b de\n",
        "utt2dur": "s1-a 1.75\ns1-b 7.0\ns2-a 1.0\n",
    }.items():
        (tmp_path / name).write_text(lines)
    return tmp_path


def tracks(folder):
    """All tracks of a folder."""
    manifest = KaldiManifest(str(folder))
    manifest.allow = ("/data",)
    return list(manifest.tracks())


def test_segments(folder):
    """Start, end and channel of each utterance, the end of -1 as the file's end; what is known goes with it."""
    first, second, third = tracks(folder)
    assert (first.id, first.path, first.offset_s, first.duration_s) == ("s1-a", "audio/rec one.wav", 0.5, 1.75)
    assert first.fields == {"recording": "rec1", "speaker": "s1", "text": "hello  world"}
    assert (second.path, second.offset_s, second.duration_s) == ("/data/rec2.flac", 0.0, None)
    assert second.fields == {"recording": "rec2", "speaker": "s1", "lang": "de"}
    assert (third.channel, third.fields["text"]) == (1, "zwei")


def test_whole_recordings(folder):
    """Without segments each line of wav.scp is an utterance."""
    (folder / "segments").unlink()
    (folder / "text").write_text("rec1 one\nrec2 two\n")
    first, second = tracks(folder)
    assert (first.id, first.offset_s, first.duration_s, first.fields["text"]) == ("rec1", 0.0, None, "one")
    assert second.fields == {"text": "two"}


@pytest.mark.parametrize("command", ["sph2pipe -f wav a.sph |", "| touch pwned", "cat a.wav|"])
def test_commands_are_refused(folder, command):
    """A line for a shell is named, and nothing is run."""
    (folder / "wav.scp").write_text(f"rec1 {command}\n")
    with pytest.raises(ManifestError, match=r"wav.scp:1: .*is a command for a shell"):
        tracks(folder)
    assert not (folder / "pwned").exists()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("segments", "s1-a rec9 0 1\n", "segments:1: found 'rec9 0 1'; expected a recording that is once in wav.scp"),
        ("segments", "s1-a rec1 2 1\n", "before it starts"),
        ("segments", "s1-a rec1 x 1\n", "start and end are 'x'"),
        ("text", "s1-b x\ns1-a y\n", "LC_ALL=C sort"),
        ("utt2spk", b"s1-a \xff\n", "not UTF-8"),
    ],
)
def test_what_is_wrong_is_named(folder, name, text, says):
    """File, line and remedy."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ManifestError, match=says):
        tracks(folder)


def test_paths_of_a_recipe(folder, monkeypatch, tmp_path):
    """A relative path that is none below the data folder is looked for where the command is given."""
    recipe = tmp_path / "recipe"
    (recipe / "downloads").mkdir(parents=True)
    (recipe / "downloads/x.wav").touch()
    (folder / "segments").unlink()
    (folder / "wav.scp").write_text("rec1 downloads/x.wav\n")
    monkeypatch.chdir(recipe)
    (track,) = tracks(folder)
    assert track.path == "recipe/downloads/x.wav"


def test_speakers_and_unknown_files(folder):
    """What is known of a speaker is known of each utterance; a file that nobody knows gives a field of its name."""
    (folder / "spk2gender").write_text("s1 f\ns2 m\n")
    (folder / "spk2utt").write_text("s1 s1-a s1-b\ns2 s2-a\n")
    (folder / "utt2my_key").write_text("s1-a 1 2\ns2-a x\n")
    (folder / "utt2uniq").write_text("s1-b u\n")
    (folder / "utt2channel").write_text("s1-a near\n")
    first, second, third = tracks(folder)
    assert [track.fields["gender"] for track in (first, second, third)] == ["f", "f", "m"]
    assert (first.fields["my_key"], third.fields["my_key"], second.fields["uniq"]) == ("1 2", "x", "u")
    assert (first.fields["utt2channel"], first.channel) == ("near", None)
    assert "utt" not in first.fields


def test_speakers_need_no_order_of_the_utterances(folder):
    """A speaker whose name is no prefix is looked up all the same."""
    (folder / "utt2spk").write_text("s1-a zoe\ns1-b adam\ns2-a zoe\n")
    (folder / "spk2age").write_text("adam 30\nzoe 40\n")
    assert [track.fields["age"] for track in tracks(folder)] == ["40", "30", "40"]


def test_a_recording_twice_is_refused(folder):
    """In `wav.scp` beside `segments`; without them the id is there twice."""
    (folder / "wav.scp").write_text("rec1 a.wav\nrec1 b.wav\n")
    with pytest.raises(ManifestError, match=r"segments:1: .*once in wav.scp"):
        tracks(folder)
