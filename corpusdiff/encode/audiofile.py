"""Audio files of the usual kinds, written as their extension says.

What is read back has as many samples as were written, at their places; AAC alone keeps its encoder's padding (in
``.m4a`` at the end, in ``.aac`` also 1024 samples at the front, which that format has no field for).
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from corpusdiff.dsp.dither import quantize
from corpusdiff.encode import unsupported
from corpusdiff.encode.lossy import StreamEncoder, stream_encoder
from corpusdiff.errors import TrackError, UsageError
from corpusdiff.specs import OutputSpec
from corpusdiff.stages.base import Audio

#: libsndfile's names of lossless formats by extension. All but FLAC take 32 bit float.
LOSSLESS = {
    ".wav": "WAV",
    ".w64": "W64",
    ".rf64": "RF64",
    ".flac": "FLAC",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".caf": "CAF",
    ".au": "AU",
}

#: Encodings by extension, and their usual rate in kbit/s for one channel.
LOSSY = {
    ".opus": ("opus", 48.0),
    ".ogg": ("vorbis", 64.0),
    ".oga": ("vorbis", 64.0),
    ".mp3": ("mp3", 96.0),
    ".m4a": ("m4a", 80.0),
    ".aac": ("aac", 80.0),
}

EXTENSIONS = (*LOSSLESS, *LOSSY)

#: Libsndfile's names of samples by bits.
_SUBTYPES = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}

#: The sizes in a header of these formats have 32 bits; so many bytes are left for all but the samples.
_SIZED_32 = {"WAV", "AIFF", "AU"}
_MOST_BYTES = 2**32 - 2**20


class _Writer(Protocol):
    def write(self, x: Audio) -> None: ...

    def close(self) -> None: ...


def write_audio(
    path: str | os.PathLike[str],
    blocks: Iterable[Audio],
    sr: int,
    n_channels: int,
    bits: int | None = None,
    output: OutputSpec | None = None,
    track_id: str = "",
) -> int:
    """Write a file in the format that its extension says; it is there when it is complete, or not at all.

    Parameters
    ----------
    path : ends in one of `EXTENSIONS`; what is there is replaced
    blocks : (n_channels, n) float32, full scale 1.0. Lossless formats are written as they come; a lossy stream is
        held in memory, compressed, until its end
    sr : rate in Hz
    n_channels : channels of every block
    bits : 16, 24, or 32 for float (not in FLAC); None for those of `output`, else 16
    output : its parameters hold where they fit the format: the bits and dither of a lossless one, the rate of its own
        encoding. Integers get triangular dither without it
    track_id : keys the dither, as in a corpus

    Returns
    -------
    samples written per channel

    Raises
    ------
    UsageError : before anything is written: unknown extension, no such folder, a rate, a number of channels or
        bits that the format lacks
    TrackError : ``encode``, when the encoder stops
    """
    target = Path(path)
    extension = checked_extension(target)
    check_format(extension, sr, n_channels, bits)
    if not target.parent.is_dir():
        raise UsageError(f"{path}: there is no folder {target.parent}; make it first")
    with _replacing(target) as part:
        writer = _writer(part, extension, sr, n_channels, bits, output, track_id)
        n_samples = 0
        for x in blocks:
            writer.write(x)
            n_samples += x.shape[1]
        writer.close()
    return n_samples


def checked_extension(path: str | os.PathLike[str]) -> str:
    """The extension in small letters. Raises UsageError for one that is not in `EXTENSIONS`."""
    extension = Path(path).suffix.lower()
    if extension not in EXTENSIONS:
        got = f"no audio format is called {extension}" if extension else "the name has no extension"
        raise UsageError(f"{path}: {got}; give one of {' '.join(EXTENSIONS)}")
    return extension


def check_format(extension: str, sr: int, n_channels: int, bits: int | None = None) -> None:
    """Raise UsageError for what files with that extension cannot hold.

    >>> check_format(".opus", 44100, 1)
    Traceback (most recent call last):
    corpusdiff.errors.UsageError: .opus: opus has no 44100 Hz; set source.sr to one of 8000, 12000, 16000, 24000, 48000
    """
    problem = None
    if extension in LOSSY:
        if bits is not None:
            problem = f"a lossy format has no bits per sample, got {bits}; leave them out"
    elif bits is not None and bits not in _bits_of(extension):
        problem = f"got {bits} bits; give one of {', '.join(map(str, _bits_of(extension)))}"
    problem = problem or unsupported(encoding_of(extension), sr, n_channels)
    if problem:
        raise UsageError(f"{extension}: {problem}")


def dither_key(track_id: str) -> int:
    """The 64 bits that key a track's dither."""
    return int.from_bytes(hashlib.sha256(track_id.encode()).digest()[:8], "little")


def encoding_of(extension: str) -> str:
    """The encoding of files with that extension, as an `OutputSpec` calls it where it can be one."""
    if extension in LOSSY:
        return LOSSY[extension][0]
    return "flac" if extension == ".flac" else "pcm"


def _bits_of(extension: str) -> tuple[int, ...]:
    return (16, 24) if extension == ".flac" else (16, 24, 32)


def _writer(
    path: Path, extension: str, sr: int, n_channels: int, bits: int | None, output: OutputSpec | None, track_id: str
) -> _Writer:
    if extension in LOSSY:
        encoding, kbps = LOSSY[extension]
        if output is not None and output.encoding == encoding and output.bitrate_kbps is not None:
            stream = stream_encoder(encoding, sr, n_channels, output.bitrate_kbps, output.complexity)
        else:
            stream = stream_encoder(encoding, sr, n_channels, kbps * n_channels)
        return _Lossy(path, stream)
    lossless = output if output is not None and output.bitrate_kbps is None else OutputSpec()
    wanted = min(bits or lossless.bits, max(_bits_of(extension)))
    return _Lossless(path, LOSSLESS[extension], sr, n_channels, wanted, lossless.dither, dither_key(track_id))


class _Lossless:
    """Through libsndfile, block by block."""

    def __init__(self, path: Path, form: str, sr: int, n_channels: int, bits: int, dither: bool, key: int) -> None:
        self._form, self._bits, self._dither, self._key = form, bits, dither, key
        self._n_samples = 0
        self._most = _MOST_BYTES * 8 // (bits * n_channels) if form in _SIZED_32 else None
        try:
            self._file = sf.SoundFile(path, "w", sr, n_channels, _SUBTYPES[bits], format=form)
        except (sf.LibsndfileError, ValueError) as error:
            raise TrackError("encode", f"no {form} of {n_channels} channels at {sr} Hz: {error}") from error

    def write(self, x: Audio) -> None:
        samples: NDArray[Any] = x
        if self._bits != 32:
            samples = quantize(x, self._bits, self._dither, self._key, self._n_samples)
        self._n_samples += x.shape[1]
        if self._most is not None and self._n_samples > self._most:
            raise TrackError("encode", f"{self._form} ends at 4 GiB; give a name that ends in .w64, .caf or .flac")
        try:
            self._file.write(np.ascontiguousarray(samples.T))
        except sf.LibsndfileError as error:
            raise TrackError("encode", f"{self._form} stopped after {self._n_samples} samples: {error}") from error

    def close(self) -> None:
        self._file.close()


class _Lossy:
    """A whole stream, held until its end."""

    def __init__(self, path: Path, stream: StreamEncoder) -> None:
        self._path = path
        self._stream = stream

    def write(self, x: Audio) -> None:
        self._stream.write(x)

    def close(self) -> None:
        self._path.write_bytes(self._stream.close())


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name beside `path`; what is there in the end takes its place, and after an error nothing is left."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
