"""FLAC and compressed PCM chunks: the same samples give the same bytes."""

from __future__ import annotations

import mmap
import os
import threading
from typing import Any, TypeAlias

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from corpusdiff.errors import TrackError

#: Encoded bytes.
Buffer: TypeAlias = bytes | memoryview

#: What `encode_flac` makes of each sample type: bits per sample.
_FLAC_SUBTYPES = {np.dtype(np.int16): "PCM_16", np.dtype(np.int32): "PCM_24"}

#: FLAC's own limits (RFC 9639, section 9.1).
FLAC_MAX_CHANNELS = 8
FLAC_MAX_SR = 655_350


def encode_flac(x: NDArray[Any], sr: int, level: int = 5) -> bytes:
    """One FLAC stream.

    Parameters
    ----------
    x : (n_channels, n_samples) int16, or int32 with 24 bits left-justified (the low 8 are dropped)
    sr : sampling rate in Hz, 1 to 655 350
    level : libFLAC's compression level, 0 (fast) to 8 (small)

    Raises
    ------
    TrackError : ``encode``, for what FLAC cannot hold
    """
    subtype = _FLAC_SUBTYPES.get(x.dtype)
    if subtype is None or x.ndim != 2:
        raise TrackError("encode", f"FLAC takes (n_channels, n_samples) int16 or int32, got {x.dtype} {x.shape}")
    try:
        with _Memory() as memory:
            with sf.SoundFile(
                memory.fd, "w", sr, x.shape[0], subtype, format="FLAC", closefd=False, compression_level=level / 8
            ) as file:
                file.write(np.ascontiguousarray(x.T))
            return memory.read()
    except (sf.LibsndfileError, ValueError) as error:
        raise TrackError("encode", f"no FLAC of {x.shape[0]} channels at {sr} Hz, level {level}: {error}") from error


#: Samples per channel for each byte of a stream: a frame has at most 65535, and takes no less than ten bytes.
_MOST_PER_BYTE = 6554


def decode_flac(data: bytes, most: int | None = None) -> tuple[NDArray[Any], int]:
    """Inverse of `encode_flac`: (n_channels, n_samples) int16 or left-justified int32, and the rate in Hz.

    Raises TrackError (``decode``) for damaged bytes, and for a stream that claims more than `most` samples, or more
    than so many bytes can hold.
    """
    try:
        with _Memory(data) as memory, sf.SoundFile(memory.fd, closefd=False) as file:
            dtype = "int16" if file.subtype == "PCM_16" else "int32"
            most = _MOST_PER_BYTE * len(data) if most is None else most
            if file.frames > most:
                raise TrackError("decode", f"FLAC stream of {file.frames} samples where {most} are the most")
            x = file.read(dtype=dtype, always_2d=True)
            if len(x) != file.frames:
                raise TrackError("decode", f"FLAC chunk of {file.frames} samples ends after {len(x)}")
            return np.ascontiguousarray(x.T), int(file.samplerate)
    except sf.LibsndfileError as error:
        raise TrackError("decode", f"damaged FLAC chunk of {len(data)} bytes: {error}") from error


def decode_flac_into(data: Buffer, start: int, most: int, out: NDArray[Any]) -> None:
    """Samples of a FLAC stream from `start` on, decoded into place; nothing else of it is decoded.

    Parameters
    ----------
    data : what `encode_flac` returned
    start : first sample wanted
    most : samples that the stream may have
    out : (n_channels, n) int16, int32 (left-justified) or float32 (full scale 1.0); zeros follow the stream's end

    Raises TrackError (``decode``) for damaged bytes, and for a stream of more samples or other channels.
    """
    try:
        # a seek looks for frames up to the end of the file
        with sf.SoundFile(_kept().hold(data, exactly=start > 0), closefd=False) as file:
            if file.frames > most or file.channels != len(out):
                raise TrackError("decode", f"FLAC of {file.channels} channels, {file.frames} samples, in {out.shape}")
            n = max(0, min(file.frames - start, out.shape[1]))
            if start and n:
                file.seek(start)
            into = out[:, :n] if len(out) == 1 else np.empty((n, len(out)), out.dtype)
            found = file.buffer_read_into(into.reshape(-1), dtype=out.dtype.name) if n else 0
            if len(out) > 1:
                out[:, :n] = into.T
            out[:, n:] = 0
            if found != n:
                raise TrackError("decode", f"FLAC chunk of {file.frames} samples ends after {start + found}")
    except sf.LibsndfileError as error:
        raise TrackError("decode", f"damaged FLAC chunk of {len(data)} bytes: {error}") from error


def flac_samples(data: bytes) -> int | None:
    """Samples per channel that a FLAC stream says it has (RFC 9639, section 8.2); None where it does not say.

    Raises nothing: what is no FLAC has no such number.
    """
    if len(data) < 26 or data[:4] != b"fLaC":
        return None
    return (int.from_bytes(data[18:26], "big") & (1 << 36) - 1) or None


def encode_pcm(x: NDArray[Any], clevel: int = 5) -> bytes:
    """Little-endian samples in C order through Blosc (zstd, bit shuffle), as Zarr's ``bytes`` and ``blosc`` codecs.

    Parameters
    ----------
    x : (n_channels, n_samples) int16, int32 or float32, padded to the whole chunk
    clevel : 0 to 9
    """
    from numcodecs import blosc

    # several threads would put the blocks in the order in which they finish
    blosc.use_threads = False
    little = np.ascontiguousarray(x, x.dtype.newbyteorder("<"))
    codec = blosc.Blosc(cname="zstd", clevel=clevel, shuffle=blosc.BITSHUFFLE, blocksize=0)
    return bytes(codec.encode(little))


#: Samples that are searched together for the last one that is not zero.
_TRIM_STEP = 4096


def trimmed(x: NDArray[Any]) -> NDArray[Any]:
    """`x` without the samples at its end that are zero in every channel; at least one sample is left."""
    stop = x.shape[1]
    while stop > 1 and not x[:, stop - 1].any():
        start = max(0, stop - _TRIM_STEP)
        used = np.flatnonzero(x[:, start:stop].any(axis=0))
        stop = start + int(used[-1]) + 1 if used.size else start
    return x[:, : max(1, stop)]


class _Memory:
    """An unnamed file in memory: libsndfile reads and writes a descriptor faster than a Python object."""

    def __init__(self, data: Buffer = b"") -> None:
        self.fd = os.memfd_create("corpusdiff", os.MFD_CLOEXEC)
        if data:
            self.write(data)
            os.lseek(self.fd, 0, os.SEEK_SET)

    def write(self, data: Buffer) -> int:
        """Write all of it; the number of bytes."""
        written = os.write(self.fd, data)
        while written < len(data):
            written += os.write(self.fd, memoryview(data)[written:])
        return written

    def __enter__(self) -> _Memory:
        return self

    def __exit__(self, *reason: object) -> None:
        os.close(self.fd)

    def read(self) -> bytes:
        """Everything in it."""
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)


#: Where a stream that is cut short would go on into what was there before, it is found out.
_GUARD = bytes(256)


class _Kept:
    """A file in memory that a thread keeps from one stream to the next: its pages need not be had anew."""

    #: Bytes of the part that is kept, which is written without a system call.
    most = 1 << 22

    def __init__(self) -> None:
        self._memory = _Memory()
        os.ftruncate(self._memory.fd, self.most)
        self._map = mmap.mmap(self._memory.fd, self.most)
        self._cut = False
        self.pid = os.getpid()

    def __del__(self) -> None:
        os.close(self._memory.fd)

    def hold(self, data: Buffer, *, exactly: bool) -> int:
        """Its descriptor, at the start of `data`; some zeros follow, or with `exactly` nothing."""
        fd, size = self._memory.fd, len(data)
        os.lseek(fd, 0, os.SEEK_SET)
        if self._cut:
            os.ftruncate(fd, self.most)
        if size <= self.most:
            self._map[:size] = data
            self._map[size : size + len(_GUARD)] = _GUARD[: self.most - size]
        else:
            self._memory.write(data)
            os.lseek(fd, 0, os.SEEK_SET)
        self._cut = exactly or size > self.most
        if exactly:
            os.ftruncate(fd, size)
        return fd


_of_thread = threading.local()


def _kept() -> _Kept:
    """The one of this thread; after a fork a new one, for the parent moves the position of the other."""
    found: _Kept | None = getattr(_of_thread, "kept", None)
    if found is None or found.pid != os.getpid():
        found = _of_thread.kept = _Kept()
    return found
