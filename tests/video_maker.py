"""Videos that click and flash, and what is in them."""

from __future__ import annotations

import subprocess
from fractions import Fraction

import av
import numpy as np

from corpusdiff.encode.video_times import sound_times

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


def onsets_s(path, after_s=0.0):
    """When the clicks after a time sound, in seconds of the video, by correlation with one."""
    with av.open(str(path)) as video:
        track = video.streams.best("audio")
        frames = [frame.to_ndarray() for frame in video.decode(track)]
        rate = track.rate
    x = np.concatenate(frames, axis=1).astype(np.float64)[0]
    if np.abs(x).max() > 2:
        x /= 2**15
    click = np.sin(2 * np.pi * 1000 * np.arange(480 * rate // SR) / rate)
    found = np.abs(np.correlate(x, click, "valid"))
    start = float(sound_times(str(path)).first_s)
    times = []
    for at in (at for at in CLICKS_S if at > after_s):
        around = int((at - start - 0.1) * rate), int((at - start + 0.1) * rate)
        times.append(start + (around[0] + int(np.argmax(found[around[0] : around[1]]))) / rate)
    return times
