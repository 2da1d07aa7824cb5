"""Videos with processed sound: the picture untouched, sound and picture together to the millisecond."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest
from video_maker import CLICKS_S, SR, clicks, make_video, onsets_s, packets

from corpusdiff.encode.video_times import sound_times
from corpusdiff.errors import UsageError
from corpusdiff.manifests.base import Track
from corpusdiff.onefile import apply_file
from corpusdiff.source import open_source


@pytest.mark.parametrize(
    ("extension", "codec", "sound", "delay_s"),
    [
        (".mp4", "mpeg4", "aac", 0.0),
        (".mp4", "mpeg4", "aac", 0.25),
        (".mov", "mpeg4", "pcm_s16le", 0.0),
        (".mkv", "mpeg4", "libopus", 0.0),
        (".mkv", "mpeg4", "flac", 0.25),
        (".webm", "libvpx", "libopus", 0.0),
    ],
)
def test_picture_and_sound_stay_together(tmp_path, extension, codec, sound, delay_s):
    """Every packet of the picture is the same at the same time; the clicks sound when they did, to a millisecond."""
    source = make_video(tmp_path / f"in{extension}", codec, sound, delay_s=delay_s)
    target = tmp_path / f"out{extension}"
    apply_file(str(source), str(target), "video")
    before, after = packets(source, "video"), packets(target, "video")
    assert [data for _, data in after] == [data for _, data in before]
    assert np.allclose([t for t, _ in after], [t for t, _ in before], atol=1e-3)
    assert onsets_s(target) == pytest.approx(onsets_s(source), abs=1.01e-3)  # Matroska counts in milliseconds
    assert onsets_s(target) == pytest.approx(CLICKS_S, abs=2e-3)
    with av.open(str(target)) as video:
        assert video.metadata["title"] == "clicks and flashes"
        length = (
            float(video.streams.audio[0].duration * video.streams.audio[0].time_base)
            if extension == ".mp4"
            else 3 - delay_s
        )
        assert length == pytest.approx(3 - delay_s, abs=0.05)
        if extension == ".mp4":
            assert video.streams.audio[0].metadata["language"] == "deu"


@pytest.mark.parametrize("extension", [".mp4", ".mkv"])
def test_subtitles_are_kept(tmp_path, extension):
    """Text and times."""
    if subprocess.run(["which", "ffmpeg"], capture_output=True, check=False).returncode:
        pytest.skip("ffmpeg not installed")
    source = make_video(tmp_path / f"in{extension}", "mpeg4", "aac", subtitles=True)
    target = tmp_path / f"out{extension}"
    apply_file(str(source), str(target), "video")
    assert packets(target, "subtitle") == packets(source, "subtitle")
    assert any(b"hello" in data for _, data in packets(target, "subtitle"))


def test_what_does_not_fit_is_refused(tmp_path):
    """A rate that the container lacks, a job that changes when things are heard; nothing is written."""
    source = make_video(tmp_path / "in.mkv", "mpeg4", "libopus")
    with pytest.raises(UsageError, match=r"source.sr= one of 8000, 12000"):
        apply_file(str(source), str(tmp_path / "out.webm"), "video", ["source.sr=22050"])
    with pytest.raises(UsageError, match="the picture would not follow"):
        apply_file(str(source), str(tmp_path / "out.mkv"), "video", ["source.tempo=0.9"])
    assert not list(tmp_path.glob("*out*"))


@pytest.fixture(scope="module")
def reordered(tmp_path_factory):
    """A Matroska file whose picture has frames of both directions, whose second audio track is the one by default."""
    path = tmp_path_factory.mktemp("video") / "in.mkv"
    with av.open(str(path), "w") as out:
        picture = out.add_stream("libx264", rate=25, options={"bf": "2", "g": "25"})
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        tracks = [out.add_stream("pcm_s16le", rate=SR, layout="mono") for _ in range(2)]
        tracks[0].disposition, tracks[1].disposition = av.stream.Disposition(0), av.stream.Disposition.default
        for name, track in zip(("fra", "deu"), tracks, strict=True):
            track.metadata["language"] = name
        rng = np.random.default_rng(4)
        for i in range(75):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 255, (48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        for track, signal in zip(tracks, (1e-3 * rng.standard_normal((1, 3 * SR)), clicks(3.0)), strict=True):
            first = 0
            for x in (signal[:, : 2 * SR // 3], signal[:, SR:]):  # between them there is no sound
                samples = np.round(x * 2**15).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = SR, Fraction(1, SR), first
                out.mux(track.encode(frame))
                first = SR
            out.mux(track.encode(None))
    return path


def test_reordered_pictures_lose_no_packet(reordered, tmp_path):
    """Those whose time of decoding the container does not say are there too, each at its time."""
    apply_file(str(reordered), str(tmp_path / "out.mkv"), "video")
    before = packets(reordered, "video")
    assert len(before) == 75
    assert packets(tmp_path / "out.mkv", "video") == before


def test_the_track_by_default_is_replaced(reordered, tmp_path):
    """The other one stays as it is, packet for packet; languages, and which is the default, are kept."""
    apply_file(str(reordered), str(tmp_path / "out.mkv"), "video")
    with av.open(str(tmp_path / "out.mkv")) as video:
        tracks = video.streams.audio
        assert [track.codec_context.name for track in tracks] == ["pcm_s16le", "opus"]
        assert [track.metadata["language"] for track in tracks] == ["fra", "deu"]
        assert [bool(track.disposition & track.disposition.default) for track in tracks] == [False, True]
    assert packets(tmp_path / "out.mkv", "audio") == packets(reordered, "audio")


def test_where_there_is_no_sound_the_rest_stays_at_its_time(reordered, tmp_path):
    """A third of a second without packets of sound: the clicks after it are heard when they were."""
    times = sound_times(str(reordered))
    assert times.first_s == 0
    ((before, length),) = times.gaps
    assert float(before) == pytest.approx(2 / 3, abs=1e-3)
    assert float(length) == pytest.approx(1 / 3, abs=2e-3)
    apply_file(str(reordered), str(tmp_path / "out.mkv"), "video")
    assert onsets_s(tmp_path / "out.mkv", after_s=1.0) == pytest.approx(CLICKS_S[1:], abs=2e-3)


def test_the_same_twice(reordered, tmp_path):
    """Nothing in a video is drawn by lot, or says when it was written."""
    for name in ("a.mkv", "b.mkv"):
        apply_file(str(reordered), str(tmp_path / name), "video")
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()


def test_flac_in_matroska_at_any_rate(tmp_path):
    """Its packets' times are rounded to milliseconds, which is no damage."""
    x = (0.1 * np.random.default_rng(2).standard_normal((1, 44100))).astype(np.float32)
    samples = np.round(x * 2**15).astype(np.int16)
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        track = out.add_stream("flac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 44100, Fraction(1, 44100), 0
        out.mux(track.encode(frame))
        out.mux(track.encode(None))
    with open_source(Track("a", str(tmp_path / "in.mkv"))) as reader:
        found = np.concatenate(list(reader.blocks()), axis=1)
    assert np.array_equal(found, samples / np.float32(2**15))
