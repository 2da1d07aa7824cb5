"""Exported files have the tags and pictures of their sources and say what made them; their audio is the corpus's."""

from __future__ import annotations

import io
import json
import sys

import av
import numpy as np
import pytest
import soundfile as sf

import corpusdiff
from corpusdiff.encode.tag_writer import tagged
from corpusdiff.encode.tags import Tags, read_tags
from corpusdiff.export.export import ExportRequest, export

mutagen = pytest.importorskip("mutagen")
from mutagen import flac, id3, mp4  # noqa: E402

SR = 48000
JOB = """
[source]
sr = 48000
channels = 1
[[output]]
encoding = "flac"
dither = false
[[output]]
encoding = "opus"
bitrate_kbps = 32
[[output]]
encoding = "vorbis"
bitrate_kbps = 48
[[output]]
encoding = "mp3"
bitrate_kbps = 48
"""
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
COVER = "front é"


def write_flac(path, x):
    """Vorbis comments: an artist twice, an unknown name, lyrics, a picture; and what is true of this file alone."""
    sf.write(path, x, SR)
    file = flac.FLAC(path)
    file["title"], file["artist"], file["comment"] = "Häuser", ["one", "two"], "a = b\nc"
    file["My Key"], file["lyrics"], file["replaygain_track_gain"] = "mine", "la\nla", "-7 dB"
    picture = flac.Picture()
    picture.type, picture.mime, picture.desc, picture.data = 3, "image/png", COVER, IMAGE
    file.add_picture(picture)
    file.save()


def write_mp3(path, x):
    """ID3 frames of the same, and one that Vorbis comments have no name for."""
    sf.write(path, x, SR, format="MP3")
    tags = id3.ID3()
    tags.add(id3.TIT2(encoding=3, text="Häuser"))
    tags.add(id3.TPE1(encoding=3, text=["one", "two"]))
    tags.add(id3.COMM(encoding=3, lang="eng", desc="", text="a = b\nc"))
    tags.add(id3.USLT(encoding=3, lang="eng", desc="", text="la\nla"))
    tags.add(id3.TXXX(encoding=3, desc="My Key", text="mine"))
    tags.add(id3.TXXX(encoding=3, desc="replaygain_track_gain", text="-7 dB"))
    tags.add(id3.POPM(email="a@b", rating=200, count=3))
    tags.add(id3.APIC(encoding=3, mime="image/png", type=3, desc=COVER, data=IMAGE))
    tags.save(path)


def write_m4a(path, x):
    """Atoms of the same; a cover has no description there."""
    with av.open(str(path), "w", format="ipod") as out:
        stream = out.add_stream("aac", rate=SR, layout="mono")
        frame = av.AudioFrame.from_ndarray(x[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = SR
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    file = mp4.MP4(path)
    file["\xa9nam"], file["\xa9ART"], file["\xa9cmt"], file["\xa9lyr"] = "Häuser", ["one", "two"], "a = b\nc", "la\nla"
    file["----:com.apple.iTunes:My Key"], file["covr"] = b"mine", [mp4.MP4Cover(IMAGE, mp4.MP4Cover.FORMAT_PNG)]
    file.save()


WRITERS = {"a.flac": write_flac, "b.mp3": write_mp3, "c.m4a": write_m4a}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Three files of three families of tags, as a corpus in all encodings."""
    folder = tmp_path_factory.mktemp("tagged")
    (folder / "in").mkdir()
    rng = np.random.default_rng(1)
    for name, write in WRITERS.items():
        write(folder / "in" / name, 0.1 * rng.standard_normal(SR))
    (folder / "job.toml").write_text(JOB)
    return corpusdiff.run(str(folder / "in"), str(folder / "out"), job=str(folder / "job.toml"), cluster="none")


@pytest.mark.parametrize(
    ("to", "output", "extension"),
    [("flac", "flac", "flac"), ("wav", "flac", "wav"), ("opus", "opus", "opus"), ("mp3", "mp3", "mp3"),
     ("ogg", "vorbis", "ogg")],
)  # fmt: skip
def test_tags_pictures_and_lyrics_are_kept(corpus, tmp_path, to, output, extension):
    """From each family into each format; and the job, the version and the rule are there."""
    found = export(ExportRequest(corpus.location, str(tmp_path / "x"), to, output=output, cluster="none"))
    assert "without_tags" not in found
    for name in WRITERS:
        path = tmp_path / f"x/audio/{name[0]}.{extension}"
        tags = read_tags(str(path))
        comments = [(key.lower(), value) for key, value in tags.comments]
        for pair in (("title", "Häuser"), ("artist", "one"), ("artist", "two"), ("comment", "a = b\nc"),
                     ("lyrics", "la\nla"), ("my key", "mine")):  # fmt: skip
            assert comments.count(pair) == 1, (name, pair)
        assert not any("replaygain" in key for key, _ in comments)
        (picture,) = tags.pictures
        assert (picture.kind, picture.mime, picture.data) == (3, "image/png", IMAGE)
        assert picture.description == (COVER if name != "c.m4a" else "")
        raw = mutagen.File(path)
        made = {key.upper().removeprefix("TXXX:"): raw[key] for key in raw.keys() if "corpusdiff_" in key.lower()}  # noqa: SIM118
        values = {key: str(value[0] if isinstance(value, list) else value) for key, value in made.items()}
        assert values == {"CORPUSDIFF_JOB": corpus.job_digest, "CORPUSDIFF_VERSION": corpusdiff.__version__,
                          "CORPUSDIFF_RULE": "default"}  # fmt: skip
        if name == "b.mp3" and extension in {"mp3", "wav"}:
            assert raw["POPM:a@b"].rating == 200
        wanted = corpus.item(sorted(WRITERS).index(name), output)
        assert np.array_equal(sf.read(path, dtype="float32")[0], wanted.read()[0])


def test_other_readers_find_them(corpus, tmp_path):
    """FFmpeg's libraries see titles, artists and pictures in what was written."""
    export(ExportRequest(corpus.location, str(tmp_path / "x"), "flac", cluster="none"))
    with av.open(str(tmp_path / "x/audio/b.flac")) as file:
        known = {key.lower(): value for key, value in file.metadata.items()}
        assert (known["title"], known["artist"]) == ("Häuser", "one;two")
        assert bytes(next(packet for packet in file.demux(video=0) if packet.size)) == IMAGE


def test_a_source_that_is_gone_costs_its_tags_alone(corpus, tmp_path):
    """The file is there with what made it, its row says why the rest is not, and so does the command."""
    folder = tmp_path / "in"
    folder.mkdir()
    write_flac(folder / "a.flac", 0.1 * np.random.default_rng(1).standard_normal(SR))
    again = corpusdiff.run(str(folder), str(tmp_path / "out"), job="listing", cluster="none")
    (folder / "a.flac").unlink()
    found = export(ExportRequest(again.location, str(tmp_path / "x"), "flac", cluster="none"))
    assert found["without_tags"] == 1
    (row,) = [json.loads(line) for line in (tmp_path / "x/manifest.jsonl").read_text().splitlines()]
    assert "not there any more" in row["corpusdiff"]["tags_missing"]
    assert flac.FLAC(tmp_path / "x/audio/a.flac")["corpusdiff_job"] == [again.job_digest]


def test_without_mutagen_it_says_so(corpus, tmp_path, monkeypatch):
    """An export goes its way, and names the remedy."""
    monkeypatch.setitem(sys.modules, "mutagen", None)
    found = export(ExportRequest(corpus.location, str(tmp_path / "x"), "flac", cluster="none"))
    assert "pip install 'corpusdiff[tags]'" in found["tags"]
    monkeypatch.undo()
    assert not flac.FLAC(tmp_path / "x/audio/a.flac").tags


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_the_rest_of_the_file_is_not_touched(form):
    """The audio's own bytes are in the tagged file as they were."""
    buffer = io.BytesIO()
    sf.write(buffer, 0.1 * np.random.default_rng(0).standard_normal(1000), SR, format=form)
    data = buffer.getvalue()
    assert data[-1500:] in tagged(data, form.lower(), Tags(), {"a": "b"})


def test_what_wav_says_of_itself(tmp_path):
    """Its own chunk, where it has no ID3."""
    with sf.SoundFile(tmp_path / "a.wav", "w", SR, 1) as file:
        file.title, file.artist = "Häuser", "one"
        file.write(np.zeros(100))
    assert dict(read_tags(str(tmp_path / "a.wav")).comments) == {"title": "Häuser", "artist": "one"}


def test_a_container_that_mutagen_does_not_know(tmp_path):
    """FFmpeg's names of what Matroska says, and nothing of its own making."""
    with av.open(str(tmp_path / "a.mka"), "w") as out:
        out.metadata["title"], out.metadata["artist"] = "Häuser", "one"
        stream = out.add_stream("flac", rate=SR, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        frame.sample_rate = SR
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    assert dict(read_tags(str(tmp_path / "a.mka")).comments) == {"title": "Häuser", "artist": "one"}
