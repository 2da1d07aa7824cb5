"""From processed audio to the bytes that a corpus keeps.

`open_encoder` is what the rest of the package uses; lossless outputs are cut into chunks, lossy ones are
one stream a track.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp.blocks import Blocks
from corpusdiff.dsp.dither import quantize
from corpusdiff.encode.lossless import (
    FLAC_MAX_CHANNELS,
    FLAC_MAX_SR,
    decode_flac,
    encode_flac,
    encode_pcm,
    flac_samples,
    trimmed,
)
from corpusdiff.encode.lossy import (
    LOSSY,
    LOSSY_MAX_CHANNELS,
    SUPPORTED_RATES,
    StreamEncoder,
    decode_stream,
    lossy_encoder,
)
from corpusdiff.errors import TrackError
from corpusdiff.stages.base import Audio

if TYPE_CHECKING:
    from corpusdiff.specs import OutputSpec

__all__ = [
    "SUPPORTED_RATES",
    "Encoded",
    "Encoder",
    "decode_flac",
    "decode_stream",
    "encode_flac",
    "encode_pcm",
    "flac_samples",
    "lossy_encoder",
    "open_encoder",
    "unsupported",
]

#: Highest rate of Vorbis, in Hz.
VORBIS_MAX_SR = 192_000

#: Called with the index of a chunk (0 for a lossy stream) and its bytes.
Sink: TypeAlias = Callable[[int, bytes], None]


@dataclass(frozen=True)
class Encoded:
    """What became of one track.

    Parameters
    ----------
    n_samples : samples per channel that were written
    size : length along the array's last axis: samples (lossless) or bytes (lossy)
    delay : samples that a plain decoder gives too many at the front
    n_bytes : bytes handed to the sink
    """

    n_samples: int
    size: int
    delay: int
    n_bytes: int


class Encoder(Protocol):
    """Takes a track's samples in blocks of any length; the bytes do not depend on the blocks."""

    def write(self, x: Audio) -> None:
        """Append (n_channels, n) float32."""
        ...

    def close(self) -> Encoded:
        """Encode what is left."""
        ...


def unsupported(encoding: str, sr: int, n_channels: int) -> str | None:
    """Why `encoding` cannot hold `n_channels` at `sr` Hz, with what it can; None when it can.

    >>> unsupported("opus", 44100, 1)
    'opus has no 44100 Hz; set source.sr to one of 8000, 12000, 16000, 24000, 48000'
    """
    rates = SUPPORTED_RATES.get(encoding)
    if rates and sr not in rates:
        return f"{encoding} has no {sr} Hz; set source.sr to one of {', '.join(map(str, sorted(rates)))}"
    if encoding == "vorbis" and sr > VORBIS_MAX_SR:  # its encoder crashes at more
        return f"Vorbis has no {sr} Hz here; set source.sr to at most {VORBIS_MAX_SR}"
    if encoding == "flac" and not 1 <= sr <= FLAC_MAX_SR:
        return f"FLAC has no {sr} Hz; set source.sr to at most {FLAC_MAX_SR}"
    most = {"flac": FLAC_MAX_CHANNELS, "pcm": n_channels}.get(encoding, LOSSY_MAX_CHANNELS)
    if n_channels > most:
        return f"{encoding} takes at most {most} channels here, got {n_channels}; set source.channels"
    return None


def open_encoder(
    output: OutputSpec, sr: int, n_channels: int, chunk: int, track_id: str, sink: Sink, first_chunk: int = 0
) -> Encoder:
    """An encoder of one track for one output.

    Parameters
    ----------
    output : what to make
    sr : rate in Hz of what is written
    n_channels : its channels
    chunk : samples per chunk of a lossless output
    track_id : keys the dither, so that a track gets the same one in any order
    sink : gets the bytes as they are complete; chunks that are zero throughout are left out
    first_chunk : of a lossless output, the chunk that the first sample begins; `Encoded` counts from the track's start

    Raises
    ------
    TrackError : ``encode``, when the encoding cannot hold such audio
    """
    problem = unsupported(output.encoding, sr, n_channels)
    if problem:
        raise TrackError("encode", problem)
    if output.encoding in LOSSY:
        return _TrackStream(lossy_encoder(output, sr, n_channels), sink)
    return _ChunkEncoder(output, sr, n_channels, chunk, track_id, sink, first_chunk)


class _TrackStream:
    def __init__(self, stream: StreamEncoder, sink: Sink) -> None:
        self._stream = stream
        self._sink = sink
        self._n_samples = 0

    def write(self, x: Audio) -> None:
        self._n_samples += x.shape[1]
        self._stream.write(x)

    def close(self) -> Encoded:
        data = self._stream.close()
        self._sink(0, data)
        return Encoded(self._n_samples, len(data), self._stream.delay, len(data))


class _ChunkEncoder:
    def __init__(
        self, output: OutputSpec, sr: int, n_channels: int, chunk: int, track_id: str, sink: Sink, first_chunk: int
    ) -> None:
        self._output = output
        self._sr = sr
        self._chunk = chunk
        self._key = int.from_bytes(hashlib.sha256(track_id.encode()).digest()[:8], "little")
        self._sink = sink
        self._blocks = Blocks(n_channels, chunk)
        self._index = first_chunk
        self._n_bytes = 0

    def write(self, x: Audio) -> None:
        for block in self._blocks.push(x):
            self._encode(block)

    def close(self) -> Encoded:
        rest = self._blocks.rest()
        n_samples = self._index * self._chunk + rest.shape[1]
        if rest.shape[1]:
            self._encode(rest)
        return Encoded(n_samples, n_samples, 0, self._n_bytes)

    def _encode(self, x: Audio) -> None:
        samples = self._quantized(x)
        if samples.any():
            if self._output.encoding == "flac":
                payload = encode_flac(trimmed(samples), self._sr, self._output.level)
            else:
                missing = self._chunk - samples.shape[1]
                payload = encode_pcm(np.pad(samples, ((0, 0), (0, missing))), self._output.level)
            self._n_bytes += len(payload)
            self._sink(self._index, payload)
        self._index += 1

    def _quantized(self, x: Audio) -> NDArray[Any]:
        if self._output.bits == 32:
            return x
        start = self._index * self._chunk
        return quantize(x, self._output.bits, self._output.dither, self._key, start)
