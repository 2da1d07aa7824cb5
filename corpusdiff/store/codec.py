"""The Zarr v3 codec ``corpusdiff.flac``: one inner chunk is one FLAC stream.

Trailing fill (zeros) is trimmed before encoding and restored on decoding, so a track that ends inside
its last chunk costs what its samples cost. Numbers of 24 bits are kept left-justified in int32.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import JSON

from corpusdiff.encode.lossless import decode_flac, encode_flac, trimmed

_DTYPE_OF_BITS = {16: np.dtype(np.int16), 24: np.dtype(np.int32)}


@dataclass(frozen=True)
class FlacCodec(ArrayBytesCodec):
    """FLAC as the array-to-bytes codec of chunks of shape ``(1, n_channels, n)``, int16 or int32.

    Parameters
    ----------
    sr : sampling rate written into the stream, in Hz
    bits : 16 (int16) or 24 (int32, left-justified)
    level : compression level, 0 to 8
    """

    is_fixed_size: ClassVar[bool] = False  # type: ignore[misc]  # zarr declares it per instance

    sr: int
    bits: int = 16
    level: int = 5

    def __post_init__(self) -> None:
        if self.bits not in _DTYPE_OF_BITS:
            raise ValueError(f"corpusdiff.flac: bits is {self.bits}, expected 16 or 24")

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """From the codec's entry in ``zarr.json``."""
        configuration: Any = data.get("configuration", {})
        return cls(**configuration)

    def to_dict(self) -> dict[str, JSON]:
        """The codec's entry in ``zarr.json``."""
        return {
            "name": "corpusdiff.flac",
            "configuration": {"sr": self.sr, "bits": self.bits, "level": self.level},
        }

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Raises ValueError for an array that FLAC cannot hold."""
        expected = _DTYPE_OF_BITS[self.bits]
        native = dtype.to_native_dtype()
        if native != expected or len(shape) != 3:
            raise ValueError(f"corpusdiff.flac of {self.bits} bits is for 3-D {expected}, got {len(shape)}-D {native}")

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Not known before encoding."""
        raise NotImplementedError

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        samples = await asyncio.to_thread(decode_chunk, chunk_data.to_bytes(), chunk_spec.shape[-1])
        return chunk_spec.prototype.nd_buffer.from_numpy_array(samples.reshape(chunk_spec.shape))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        samples = chunk_data.as_numpy_array()[0]
        data = await asyncio.to_thread(encode_chunk, samples, self.sr, self.level)
        return chunk_spec.prototype.buffer.from_bytes(data)


def encode_chunk(samples: NDArray[Any], sr: int, level: int) -> bytes:
    """One inner chunk ``(n_channels, n)`` as a FLAC stream without its trailing zeros (one is kept)."""
    return encode_flac(np.ascontiguousarray(trimmed(samples)), sr, level)


def decode_chunk(data: bytes, chunk: int) -> NDArray[Any]:
    """The samples ``(n_channels, chunk)`` of a FLAC stream, filled up with zeros.

    Raises TrackError for damaged bytes, and where the stream is longer than the chunk.
    """
    samples, _ = decode_flac(data, chunk)
    return np.pad(samples, ((0, 0), (0, chunk - samples.shape[1])))
