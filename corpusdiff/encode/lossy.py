"""Opus, Vorbis and MP3 streams in memory: equal input gives equal bytes, on every call.

Containers hold the codec's delay (Opus pre-skip, Vorbis granule positions, the LAME tag of MP3), so that
a decoder that honours them returns exactly the samples that went in, at their places.
"""

from __future__ import annotations

import io
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np
import soundfile as sf

from corpusdiff.dsp.blocks import Blocks
from corpusdiff.encode.ogg import with_fixed_serial
from corpusdiff.errors import TrackError
from corpusdiff.stages.base import Audio

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

    from corpusdiff.specs import OutputSpec

_AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000})

#: Rates in Hz that an encoding takes; an encoding that is not here takes any.
SUPPORTED_RATES: dict[str, frozenset[int]] = {
    "opus": frozenset({8000, 12000, 16000, 24000, 48000}),
    "mp3": frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}),
    "m4a": _AAC_RATES,
    "aac": _AAC_RATES,
}
LOSSY = ("opus", "vorbis", "mp3")
LOSSY_MAX_CHANNELS = 2

#: Samples handed to libvorbis at once: it keeps a whole write on its stack, and looks ahead as far as
#: the write goes, so that writes of other lengths give other bytes.
_VORBIS_BLOCK = 1 << 14

#: FFmpeg's names of codec, container and samples.
_LIBRARIES = {
    "opus": ("libopus", "ogg", "flt"),
    "mp3": ("libmp3lame", "mp3", "fltp"),
    "m4a": ("aac", "ipod", "fltp"),
    "aac": ("aac", "adts", "fltp"),
}


class StreamEncoder(Protocol):
    """One lossy stream being written."""

    #: Samples at the front of what a plain decoder returns that were not in the source.
    delay: int

    def write(self, x: Audio) -> None:
        """Append (n_channels, n) float32."""
        ...

    def close(self) -> bytes:
        """The whole stream."""
        ...


def lossy_encoder(spec: OutputSpec, sr: int, n_channels: int) -> StreamEncoder:
    """An encoder for ``spec.encoding`` (one of `LOSSY`) at ``spec.bitrate_kbps``. Raises TrackError (``encode``)."""
    if spec.bitrate_kbps is None:
        raise TrackError("encode", f"{spec.encoding} needs bitrate_kbps")
    return stream_encoder(spec.encoding, sr, n_channels, spec.bitrate_kbps, spec.complexity)


def stream_encoder(encoding: str, sr: int, n_channels: int, bitrate_kbps: float, complexity: int = 10) -> StreamEncoder:
    """The same without a job; AAC too, in its own frames (``aac``) or in MP4 (``m4a``). Raises TrackError."""
    if encoding == "vorbis":
        return _VorbisEncoder(sr, n_channels, bitrate_kbps)
    return _AvEncoder(encoding, sr, n_channels, bitrate_kbps, complexity)


class _AvEncoder:
    delay = 0

    def __init__(self, encoding: str, sr: int, n_channels: int, bitrate_kbps: float, complexity: int) -> None:
        codec, container, self._format = _LIBRARIES[encoding]
        self._buffer = io.BytesIO()
        self._layout = "mono" if n_channels == 1 else "stereo"
        self._sr = sr
        self._n_written = 0
        self._encoding = encoding
        options = {"compression_level": str(complexity)} if encoding == "opus" else {}
        try:
            self._container: OutputContainer = av.open(
                self._buffer, "w", format=container, options={"fflags": "+bitexact"}
            )
            self._stream: AudioStream = self._container.add_stream(codec, rate=sr, layout=self._layout, options=options)  # type: ignore[assignment]
            self._stream.codec_context.flags |= av.codec.context.Flags.bitexact
            self._stream.bit_rate = round(bitrate_kbps * 1000)
        except (av.FFmpegError, ValueError) as error:
            raise TrackError("encode", f"no {encoding} of {n_channels} channels at {sr} Hz: {error}") from error

    def write(self, x: Audio) -> None:
        if x.shape[1] == 0:
            return
        samples = np.ascontiguousarray(x.T).reshape(1, -1) if self._format == "flt" else np.ascontiguousarray(x)
        frame = av.AudioFrame.from_ndarray(samples, format=self._format, layout=self._layout)
        frame.sample_rate = self._sr
        frame.time_base = Fraction(1, self._sr)
        frame.pts = self._n_written
        self._n_written += x.shape[1]
        self._encode(frame)

    def close(self) -> bytes:
        if self._n_written:
            self._encode(None)
        self._container.close()
        return self._buffer.getvalue()

    def _encode(self, frame: av.AudioFrame | None) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, ValueError) as error:
            raise TrackError(
                "encode", f"{self._encoding} encoder stopped after {self._n_written} samples: {error}"
            ) from error


class _VorbisEncoder:
    delay = 0

    def __init__(self, sr: int, n_channels: int, bitrate_kbps: float) -> None:
        self._buffer = io.BytesIO()
        self._blocks = Blocks(n_channels, _VORBIS_BLOCK)
        try:
            level = _vorbis_level(sr, n_channels, bitrate_kbps)
            self._file = _open_vorbis(self._buffer, sr, n_channels, level)
        except sf.LibsndfileError as error:
            raise TrackError("encode", f"no vorbis of {n_channels} channels at {sr} Hz: {error}") from error

    def write(self, x: Audio) -> None:
        for block in self._blocks.push(x):
            self._file.write(np.ascontiguousarray(block.T))

    def close(self) -> bytes:
        self._file.write(np.ascontiguousarray(self._blocks.rest().T))
        self._file.close()
        return with_fixed_serial(self._buffer.getvalue())


def _open_vorbis(buffer: io.BytesIO, sr: int, n_channels: int, level: float) -> sf.SoundFile:
    return sf.SoundFile(buffer, "w", sr, n_channels, "VORBIS", format="OGG", compression_level=level)


@lru_cache(maxsize=64)
def _vorbis_level(sr: int, n_channels: int, bitrate_kbps: float) -> float:
    """libsndfile's level (0 best, 1 smallest) whose nominal rate is nearest: libvorbis itself has no better knob."""
    best, smallest = 0.0, 1.0
    for _ in range(10):
        middle = (best + smallest) / 2
        if _vorbis_nominal(sr, n_channels, middle) > 1000 * bitrate_kbps:
            best = middle
        else:
            smallest = middle
    return smallest


def _vorbis_nominal(sr: int, n_channels: int, level: float) -> int:
    """``bitrate_nominal`` of the identification header, bit/s (Vorbis I specification, section 4.2.2)."""
    buffer = io.BytesIO()
    with _open_vorbis(buffer, sr, n_channels, level) as file:
        file.write(np.zeros((1, n_channels), np.float32))
    data = buffer.getvalue()
    field = data.index(b"\x01vorbis") + 20
    return int.from_bytes(data[field : field + 4], "little", signed=True)


def decode_stream(data: bytes, encoding: str, sr: int, n_channels: int, n_samples: int, delay: int = 0) -> Audio:
    """(n_channels, n_samples) float32: the stream's samples, aligned with what was encoded.

    Parameters
    ----------
    data : what `StreamEncoder.close` returned
    encoding, sr, n_channels, n_samples, delay : what is known of the stream

    Raises
    ------
    TrackError : ``decode``, when the stream is damaged or holds something else
    """
    if n_samples == 0:
        return np.zeros((n_channels, 0), np.float32)
    try:
        with sf.SoundFile(io.BytesIO(data)) as file:
            found = (file.samplerate, file.channels)
            x = file.read(delay + n_samples, dtype="float32", always_2d=True)[delay:]
    except sf.LibsndfileError as error:
        raise TrackError("decode", f"damaged {encoding} stream of {len(data)} bytes: {error}") from error
    if found != (sr, n_channels) or len(x) != n_samples:
        raise TrackError(
            "decode",
            f"the {encoding} stream holds {len(x)} samples of {found[1]} channels at {found[0]} Hz, "
            f"expected {n_samples} of {n_channels} at {sr} Hz",
        )
    return np.ascontiguousarray(x.T)
