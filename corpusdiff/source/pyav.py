"""Decoding by FFmpeg's libraries: what libsndfile does not take (AAC, AC-3, WMA, WavPack, video files ...)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from corpusdiff.errors import TrackError
from corpusdiff.source.decoder import believable, check_shape, decoded_of
from corpusdiff.stages.base import Audio

#: Containers that hold their own media. Playlists and their like (hls, dash, concat, image sequences) are
#: not here: they would have the decoder open other files and addresses.
_DEMUXERS = """
aa aac aax ac3 ac4 aiff alac amr amrnb amrwb ape aptx asf au avi bfstm boa brstm caf daud dff dsf dts dtshd dv eac3 ea
f32be f32le flac flv g722 g723_1 gsm gxf iff ircam ivf kvag lmlm4 loas lxf matroska,webm mca mlp mov,mp4,m4a,3gp,3g2,mj2
mp3 mpc mpc8 mpeg mpegts mxf nistsphere nsp nut ogg oma osq paf pvf qcp qoa rm rso sbc shn sln sol sox spdif swf tak
truehd tta vag voc vqf w64 wav wsaud wsd wtv wv xa xwma
"""
_OPTIONS = {
    "format_whitelist": ",".join(name for entry in _DEMUXERS.split() for name in (entry, *entry.split(","))),
    "protocol_whitelist": "none",
}

#: Full scale of the integer sample formats; zero lies at `_MIDDLE` of it where they are unsigned.
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}

#: Codecs whose packets carry exact sample positions, so that lost ones show as a gap.
_EXACT_POSITIONS = ("flac",)


class NoDecoder(Exception):
    """FFmpeg's libraries do not take this file."""


class AvDecoder:
    """A file open in FFmpeg's libraries.

    Raises NoDecoder, or TrackError (``unsupported``) for a file without an audio stream. Whatever it does, OSError
    where the file's bytes cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._raw = _Input(path)
        try:
            self._container = av.open(self._raw, "r", options=_OPTIONS)
        except (av.FFmpegError, ValueError) as error:
            self._raw.close()
            self._raw.check()
            raise NoDecoder(_reason(error)) from error
        try:
            self._raw.check()
            self._stream = self._audio_stream()
        except BaseException:
            self.close()
            raise
        codec = self._stream.codec_context
        self.name = f"pyav {self._container.format.name}/{codec.name}"
        self.sr = int(codec.sample_rate or 0)
        self.n_channels = int(codec.channels)
        self.is_float = True
        self._frames = self._container.decode(self._stream)

    def settle(self) -> None:
        """Decode the first frame: its rate and channels are the true ones. Raises TrackError."""
        try:
            first = next(self._frames, None)
            self._raw.check()
        except (av.FFmpegError, ValueError) as error:
            self._raw.check()
            raise TrackError("decode", f"{decoded_of(0, self.n_claimed)}, then: {_reason(error)}") from error
        if first is not None:
            self.sr, self.n_channels = _shape(first)
            self.is_float = first.format.name.startswith(("flt", "dbl"))
            self._frames = chain([first], self._frames)
        check_shape(self.sr, self.n_channels)

    @property
    def n_claimed(self) -> int | None:
        """Samples per channel that the container claims, or that follow from its bit rate."""
        stream = self._stream
        if stream.duration is not None and stream.duration > 0 and stream.time_base is not None:
            return believable(round(stream.duration * stream.time_base * self.sr))
        if self._container.duration is not None and self._container.duration > 0:
            return believable(round(self._container.duration * self.sr / av.time_base))
        return None

    def blocks(self, start: int, size: int) -> Iterator[Audio]:
        """(n_channels, about size) float32 from sample `start` to the end. Raises TrackError."""
        parts: list[Audio] = []
        n_held = position = 0
        for x in self._decoded():
            used = x[:, max(0, start - position) :]
            position += x.shape[1]
            if used.shape[1] == 0:
                continue
            parts.append(used)
            n_held += used.shape[1]
            if n_held >= size:
                yield np.concatenate(parts, axis=1) if len(parts) > 1 else np.ascontiguousarray(used)
                parts, n_held = [], 0
        if parts:
            yield np.concatenate(parts, axis=1)

    def close(self) -> None:
        """Release the file."""
        self._container.close()
        self._raw.close()

    def _audio_stream(self) -> Any:
        streams = self._container.streams
        if not streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in streams}))
            raise TrackError("unsupported", f"no audio stream, only {kinds}" if kinds else "no stream of any kind")
        stream: Any = streams.best("audio") or streams.audio[0]
        if stream.codec_context is None:
            raise TrackError("unsupported", "its audio is of a kind that no decoder here knows")
        stream.codec_context.thread_count = 1
        return stream

    def _decoded(self) -> Iterator[Audio]:
        position = 0
        expected = (self.sr, self.n_channels)
        try:
            for frame in self._frames:
                if _shape(frame) != expected:
                    raise TrackError("decode", _changed(expected, _shape(frame), position))
                self._check_position(frame, position)
                x = _to_float(frame)
                position += x.shape[1]
                yield x
            self._raw.check()
        except (av.FFmpegError, ValueError) as error:
            self._raw.check()
            told = decoded_of(position, self.n_claimed)
            raise TrackError("decode", f"{told}, then: {_reason(error)}") from error

    def _check_position(self, frame: av.AudioFrame, position: int) -> None:
        if self._stream.codec_context.name not in _EXACT_POSITIONS or frame.pts is None or frame.time_base is None:
            return
        first = self._stream.start_time or 0
        expected = round((frame.pts - first) * frame.time_base * frame.sample_rate)
        tick = frame.time_base * frame.sample_rate
        slack = 0 if tick <= 1 else math.ceil(tick)  # Matroska counts in milliseconds
        if abs(expected - position) > slack:
            if expected < position:
                raise TrackError("decode", f"after {position} samples another recording begins; split the file there")
            raise TrackError("decode", f"damaged: samples {position} to {expected} are missing")


class _Input:
    """The bytes of a file without its name, at which the library would otherwise look."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("rb", buffering=0)  # noqa: SIM115 (closed by `close`)
        self._path = path
        self._trouble: OSError | None = None
        self.tell = self._file.tell
        self.close = self._file.close

    def read(self, size: int) -> bytes | None:
        """As usual, but nothing where the disk fails: the library would drop the exception, or take it for damage."""
        try:
            return self._file.read(size)
        except OSError as error:
            self._trouble = error
            return b""

    def check(self) -> None:
        """Raise the OSError that `read` has met, if any."""
        if self._trouble is not None:
            raise OSError(self._trouble.errno, self._trouble.strerror, self._path)

    def seek(self, offset: int, whence: int = 0) -> int:
        """As usual, but -1 instead of an exception, which the library could only print."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, OverflowError):
            return -1


def _to_float(frame: av.AudioFrame) -> Audio:
    x = frame.to_ndarray()
    if not frame.format.is_planar:
        x = x.reshape(-1, frame.layout.nb_channels).T
    if x.dtype.kind == "f":
        return np.ascontiguousarray(x, np.float32)
    kind = frame.format.name.removesuffix("p")
    scaled = np.ascontiguousarray(x, np.float32)
    if kind == "u8":
        scaled -= np.float32(_FULL_SCALE[kind])
    scaled *= np.float32(1.0 / _FULL_SCALE[kind])
    return scaled


def _shape(frame: av.AudioFrame) -> tuple[int, int]:
    return int(frame.sample_rate), int(frame.layout.nb_channels)


def _changed(before: tuple[int, int], after: tuple[int, int], position: int) -> str:
    if before[0] != after[0]:
        return f"the rate changes from {before[0]} to {after[0]} Hz after {position} samples; split the file there"
    return f"from {before[1]} to {after[1]} channels after {position} samples; split the file there"


def _reason(error: Exception) -> str:
    if isinstance(error, av.InvalidDataError):
        return "invalid data"
    if isinstance(error, av.EOFError):
        return "it ends too early"
    text = error.strerror if isinstance(error, av.FFmpegError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]
