"""Videos with another sound: the audio track put back in its place, everything else copied untouched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from corpusdiff.encode.video_times import LOCAL, replaced_stream, sound_times, timed
from corpusdiff.errors import TrackError, UsageError
from corpusdiff.stages.base import Audio

#: Encoder of the sound, and kbit/s for one channel, by extension. AAC in what Apple made, Opus in what the web made.
VIDEO = {
    ".mp4": ("aac", 96.0),
    ".m4v": ("aac", 96.0),
    ".mov": ("aac", 96.0),
    ".mkv": ("libopus", 64.0),
    ".webm": ("libopus", 64.0),
}

_RATES = {
    "aac": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000),
    "libopus": (8000, 12000, 16000, 24000, 48000),
}

_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}

#: Kinds of streams that are copied; timecodes and other data are not media, and few containers take them.
_COPIED = ("video", "audio", "subtitle", "attachment")


def is_video(path: str) -> bool:
    """Whether a file of this name is written as a video."""
    return Path(path).suffix.lower() in VIDEO


def _encoder(extension: str, sr: int) -> tuple[str, float]:
    """Matroska takes AAC where Opus has no such rate."""
    return VIDEO[".mp4" if extension == ".mkv" and sr not in _RATES["libopus"] else extension]


def _metadata(known: Mapping[str, str], further: Mapping[str, str], extension: str) -> dict[str, str]:
    """Metadata of a container with what is to be said further, where it has a place for it."""
    if not further or extension in {".mkv", ".webm"}:
        return {**known, **further}
    said = ", ".join(f"{name} {value}" for name, value in further.items())
    if extension == ".mov":
        return {**known, "comment": "\n".join(filter(None, (known.get("comment"), said)))}
    return {**known, "encoding_tool": said}


def check_video(path: str, sr: int, n_channels: int) -> None:
    """Refuse a sound that the container has no room for. Raises UsageError."""
    encoder, _ = _encoder(Path(path).suffix.lower(), sr)
    if sr not in _RATES[encoder] or n_channels not in _LAYOUTS:
        rates = ", ".join(map(str, _RATES[encoder]))
        raise UsageError(
            f"{path}: its sound cannot be {n_channels} channels at {sr} Hz; --set source.sr= one of {rates}, "
            "source.channels= 1, 2, 6 or 8"
        )


def replace_sound(
    source: str,
    target: str,
    blocks: Iterable[Audio],
    sr: int,
    n_channels: int,
    start_s: Fraction = Fraction(0),
    further: Mapping[str, str] | None = None,
) -> int:
    """Write a video's streams with another sound in the place of the audio track that a decoder takes.

    The first sample stands at the time of the one of the source's track that it was, so that sound and picture stay
    together. Subtitles, attachments, chapters, further audio tracks and metadata are kept.

    Parameters
    ----------
    source : the video
    target : ends in one of `VIDEO`; what is there is replaced
    blocks : (n_channels, n) float32, full scale 1.0; as long as the source's track
    sr : rate in Hz
    n_channels : of every block
    start_s : seconds of the source's sound before the first sample
    further : to be said in the container's metadata, beside the source's own

    Returns
    -------
    samples written per channel

    Raises UsageError for a rate or container that does not fit, TrackError (``encode``) when FFmpeg's libraries stop.
    """
    check_video(target, sr, n_channels)
    path = Path(target)
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        heard = sound_times(source)
        options = {"fflags": "+bitexact"}  # no random numbers, no time of writing
        if path.suffix.lower() in {".mp4", ".m4v", ".mov"}:
            options["movie_timescale"] = str(sr)  # of edit lists, which say when the sound begins
        with av.open(source, options=LOCAL) as video, av.open(str(part), "w", options=options) as out:
            remux = _Remux(video, out, path.suffix.lower(), sr, n_channels, further or {})
            written = remux.run(heard.placed(blocks, start_s, sr), heard.at(start_s))
        part.replace(path)
    except (av.FFmpegError, ValueError) as error:
        raise TrackError("encode", f"{target}: {error}") from error
    finally:
        part.unlink(missing_ok=True)
    return written


class _Remux:
    """The streams of one file on their way into another."""

    def __init__(
        self, video: Any, out: Any, extension: str, sr: int, n_channels: int, further: Mapping[str, str]
    ) -> None:
        self._video = video
        self._out = out
        self._sr = sr
        self._layout = _LAYOUTS[n_channels]
        replaced = replaced_stream(video)
        self._copies: dict[int, Any] = {}
        for stream in video.streams:
            if stream is replaced:
                self._sound = self._new_sound(extension, n_channels)
                made = self._sound
            elif stream.type in _COPIED:
                made = self._copies[stream.index] = out.add_stream_from_template(stream, opaque=True)
            else:
                continue
            made.metadata.update(stream.metadata)
            with suppress(AttributeError, NotImplementedError):
                made.disposition = stream.disposition
        out.metadata.update(_metadata(video.metadata, further, extension))
        with suppress(AttributeError, NotImplementedError):
            out.set_chapters(video.chapters())

    def _new_sound(self, extension: str, n_channels: int) -> Any:
        encoder, kbps = _encoder(extension, self._sr)
        sound = self._out.add_stream(encoder, rate=self._sr, layout=self._layout)
        sound.bit_rate = round(1000 * kbps * n_channels)
        sound.time_base = Fraction(1, self._sr)
        sound.codec_context.flags |= av.codec.context.Flags.bitexact
        return sound

    def run(self, blocks: Iterable[Audio], start_s: Fraction) -> int:
        """Copy and encode side by side, in the order of time. Samples written per channel."""
        frames = self._frames(blocks, round(start_s * self._sr))
        heard_s: Fraction | None = start_s
        for packet in timed(self._video.demux([self._video.streams[index] for index in self._copies])):
            while heard_s is not None and heard_s < packet.dts * packet.time_base:
                heard_s = self._encode_next(frames)
            packet.stream = self._copies[packet.stream.index]
            self._out.mux(packet)
        while heard_s is not None:
            heard_s = self._encode_next(frames)
        self._out.mux(self._sound.encode(None))
        return self._written

    def _encode_next(self, frames: Iterator[Any]) -> Fraction | None:
        """Encode one frame of sound; the time at which it ends, None when there is no more."""
        frame = next(frames, None)
        if frame is None:
            return None
        self._out.mux(self._sound.encode(frame))
        return Fraction(frame.pts + frame.samples, self._sr)

    def _frames(self, blocks: Iterable[Audio], first: int) -> Iterator[Any]:
        self._written = 0
        for x in blocks:
            if not x.shape[1]:
                continue
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(x, np.float32), format="fltp", layout=self._layout)
            frame.sample_rate = self._sr
            frame.time_base = Fraction(1, self._sr)
            frame.pts = first + self._written
            self._written += x.shape[1]
            yield frame
