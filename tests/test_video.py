"""Videos with processed sound: the picture untouched, sound and picture together to the millisecond."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import av
import numpy as np
import pytest

from corpusdiff.encode.video import sound_times
from corpusdiff.errors import UsageError
from corpusdiff.onefile import apply_file

SR = 48000
CLICKS_S = (0.5, 1.3, 2.1)


def clicks(seconds, sr=SR):
    """(1, n) float32: short bursts at `CLICKS_S` over faint noise."""
    rng = np.random.default_rng(3)
    x = 1e-4 * rng.standard_normal(int(seconds * sr))
    for at in CLICKS_S:
        start = round(at * sr)
        x[start : start + 480] += 0.5 * np.sin(2 * np.pi * 1000 * np.arange(480) / sr)
    return x[None].astype(np.float32)


def make_video(path, codec, audio_codec, *, delay_s=0.0, subtitles=False):
    """A video of three seconds whose sound begins `delay_s` after the picture."""
    with av.open(str(path), "w") as out:
        out.metadata["title"] = "clicks and flashes"
        picture = out.add_stream(codec, rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream(audio_codec, rate=SR, layout="mono")
        sound.metadata["language"] = "deu"
        for i in range(75):
            image = np.full((48, 64, 3), 255 if any(abs(i / 25 - at) < 0.02 for at in CLICKS_S) else 0, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
        x = clicks(3.0)[:, round(delay_s * SR) :]
        frame = av.AudioFrame.from_ndarray(x, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = SR, Fraction(1, SR), round(delay_s * SR)
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    if subtitles:
        text = path.with_suffix(".srt")
        text.write_text("1\n00:00:00,500 --> 00:00:01,000\nhello\n\n2\n00:00:02,000 --> 00:00:02,500\nworld\n")
        with_text = path.with_name(f"sub{path.suffix}")
        kind = "mov_text" if path.suffix == ".mp4" else "srt"
        command = [
            "ffmpeg",
            "-v",
            "error",
            "-i",
            path,
            "-i",
            text,
            "-c",
            "copy",
            "-c:s",
            kind,
            "-map",
            "0",
            "-map",
            "1",
            with_text,
        ]
        subprocess.run(command, check=True)
        return with_text
    return path


def packets(path, kind):
    """(time, bytes) of all packets of the first stream of a kind."""
    with av.open(str(path)) as video:
        stream = next(stream for stream in video.streams if stream.type == kind)
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in video.demux(stream)
            if packet.size and packet.pts is not None
        ]


def onsets_s(path):
    """When the clicks sound, in seconds of the video, by correlation with one."""
    with av.open(str(path)) as video:
        frames = [frame.to_ndarray() for frame in video.decode(audio=0)]
        rate = video.streams.audio[0].rate
    x = np.concatenate(frames, axis=1).astype(np.float64)[0]
    if np.abs(x).max() > 2:
        x /= 2**15
    click = np.sin(2 * np.pi * 1000 * np.arange(480 * rate // SR) / rate)
    found = np.abs(np.correlate(x, click, "valid"))
    start = float(sound_times(str(path)).first_s)
    times = []
    for at in CLICKS_S:
        around = int((at - start - 0.1) * rate), int((at - start + 0.1) * rate)
        times.append(start + (around[0] + int(np.argmax(found[around[0] : around[1]]))) / rate)
    return times


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
