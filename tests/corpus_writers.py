"""Write audio in many formats, the same bytes at every call."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray
from scipy.io import wavfile

Audio = NDArray[np.float64]

_SOUNDFILE = {
    "wav8": ("WAV", "PCM_U8"),
    "wav16": ("WAV", "PCM_16"),
    "wav24": ("WAV", "PCM_24"),
    "flac": ("FLAC", "PCM_16"),
    "flac24": ("FLAC", "PCM_24"),
    "aiff": ("AIFF", "PCM_16"),
}
# codec, container, bits per second
_PYAV = {
    "mp3": ("libmp3lame", "mp3", 96_000),
    "opus": ("libopus", "ogg", 32_000),
    "aac": ("aac", "ipod", 96_000),
    "video": ("aac", "mp4", 96_000),
}
FORMATS = (*_SOUNDFILE, "wav32f", "vorbis", *_PYAV)


def write(path: Path, x: Audio, sr: int, encoding: str) -> None:
    """Write (n_channels, n_samples) at `sr` to `path` in one of FORMATS, clipped to full scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.clip(x, -1.0, 1.0 - 2.0**-15)
    if encoding in _SOUNDFILE:
        container, subtype = _SOUNDFILE[encoding]
        sf.write(path, x.T, sr, format=container, subtype=subtype)
    elif encoding == "wav32f":
        wavfile.write(path, sr, np.ascontiguousarray(x.T, np.float32))  # libsndfile would write the time of day
    elif encoding == "vorbis":
        path.write_bytes(_vorbis(x, sr))
    else:
        _write_pyav(path, x, sr, encoding)


def _vorbis(x: Audio, sr: int) -> bytes:
    """By libsndfile, in short writes (libvorbis holds one on its stack), less its random serial number."""
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", sr, len(x), format="OGG", subtype="VORBIS") as file:
        for start in range(0, x.shape[1], 4096):
            file.write(x[:, start : start + 4096].T)
    buffer.seek(0)
    fixed = io.BytesIO()
    with av.open(buffer) as made, av.open(fixed, "w", format="ogg", options={"fflags": "+bitexact"}) as out:
        stream = out.add_stream_from_template(made.streams.audio[0])
        for packet in made.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return fixed.getvalue()


def _write_pyav(path: Path, x: Audio, sr: int, encoding: str) -> None:
    codec, container, bit_rate = _PYAV[encoding]
    with av.open(str(path), "w", format=container, options={"fflags": "+bitexact"}) as out:
        pictures = _picture_stream(out) if encoding == "video" else None
        stream = out.add_stream(codec, rate=sr, layout="mono" if len(x) == 1 else "stereo")
        stream.bit_rate = bit_rate
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        if pictures is not None:
            _add_pictures(out, pictures, x.shape[1] / sr)
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(x, np.float32), format="fltp", layout=stream.layout.name
        )
        frame.sample_rate, frame.pts = sr, 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _picture_stream(out: av.container.OutputContainer) -> av.VideoStream:
    stream = out.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    stream.codec_context.flags |= av.codec.context.Flags.bitexact
    return stream


def _add_pictures(out: av.container.OutputContainer, stream: av.VideoStream, seconds: float) -> None:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    for i in range(int(seconds * 10)):
        picture = np.broadcast_to(np.roll(ramp, i)[None, :, None], (48, 64, 3))
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = i
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
