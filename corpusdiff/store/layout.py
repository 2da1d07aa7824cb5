"""Names, shapes and places of the audio arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from corpusdiff.errors import StoreError
from corpusdiff.plan import Plan
from corpusdiff.store.metadata import AUDIO, array_metadata, bytes_codec, create_groups, create_metadata
from corpusdiff.store.objects import Objects

#: Folder of what pieces of long tracks have encoded, until the track is committed.
STAGED = "pieces"

#: Attempt rows reserved for each shard.
ATTEMPTS = 4

#: Bytes in an inner chunk of a lossy array.
STREAM_CHUNK = 1 << 16

#: Bounds of one Zarr shard object: inner chunks, and bytes before encoding.
MAX_INNER = 4096
MAX_RAW_BYTES = 128_000_000

#: Samples (bytes of a lossy array) that a row can hold: 24 hours at 192 kHz and more.
CAPACITY = 1 << 34

_ARRAY_BYTES_LIMIT = 1 << 62


@dataclass(frozen=True)
class ArrayLayout:
    """One audio array: all rows of one output, rate, channel count and generation.

    Parameters
    ----------
    output : name of the job's output
    encoding : ``flac``, ``pcm``, or the name of a lossy encoding
    bits : 16 or 24 (flac), 16, 24 or 32 (pcm, 32 being float32); 0 for lossy
    level : effort of FLAC or of zstd (pcm); 0 for lossy
    sr : in Hz
    n_channels : number of channels
    generation : of the plan that made it
    n_rows : rows, ``ATTEMPTS`` for each shard of the plan
    chunk : samples (lossy: bytes) of an inner chunk
    inner_per_shard : inner chunks of a Zarr shard object
    """

    output: str
    encoding: str
    bits: int
    level: int
    sr: int
    n_channels: int
    generation: int
    n_rows: int
    chunk: int
    inner_per_shard: int

    @property
    def name(self) -> str:
        """Name of the array."""
        generation = f"_g{self.generation}" if self.generation else ""
        return f"{self.output}_{self.sr}hz_{self.n_channels}ch{generation}"

    @property
    def lossy(self) -> bool:
        """Whether it holds streams of bytes rather than samples."""
        return self.encoding not in {"flac", "pcm"}

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an element; 24 bits are left-justified in int32."""
        if self.lossy:
            return np.dtype(np.uint8)
        if self.encoding == "pcm" and self.bits == 32:
            return np.dtype(np.float32)
        return np.dtype(np.int16 if self.bits == 16 else np.int32)

    @property
    def capacity(self) -> int:
        """Length of a row: ``CAPACITY``, halved until the array's size in bytes is under 2^62."""
        width = self.n_rows * self._height * self.dtype.itemsize
        capacity = CAPACITY
        while width * capacity >= _ARRAY_BYTES_LIMIT:
            capacity //= 2
        return capacity

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the dimensions. Equal names mean equal lengths, so that xarray can hold all arrays."""
        row = f"row_g{self.generation}" if self.generation else "row"
        if self.lossy:
            return row, f"{self.name}_byte"
        channel = "channel" if self.n_channels == 1 else f"channel_{self.n_channels}"
        return row, channel, f"{self.name}_sample"

    @property
    def folder(self) -> str:
        """Key of the array's folder."""
        return f"{AUDIO}/{self.name}"

    @property
    def metadata_key(self) -> str:
        """Key of the array's ``zarr.json``."""
        return f"{self.folder}/zarr.json"

    def row_folder(self, row: int) -> str:
        """Key of the folder that holds a row's objects."""
        return f"{self.folder}/c/{row}" + ("" if self.lossy else "/0")

    def object_key(self, row: int, number: int) -> str:
        """Key of a row's Zarr shard object."""
        return f"{self.row_folder(row)}/{number}"

    def metadata(self) -> bytes:
        """The array's ``zarr.json``."""
        lead = (1,) if self.lossy else (1, self.n_channels)
        sharding = {
            "chunk_shape": [*lead, self.chunk],
            "codecs": [*self._codecs(), {"name": "crc32c"}],
            "index_codecs": [bytes_codec(np.uint64), {"name": "crc32c"}],
            "index_location": "end",
        }
        return array_metadata(
            shape=(self.n_rows, *lead[1:], self.capacity),
            chunks=(*lead, self.chunk * self.inner_per_shard),
            dtype=self.dtype.name,
            fill_value=0.0 if self.dtype.kind == "f" else 0,
            codecs=[{"name": "sharding_indexed", "configuration": sharding}],
            dims=self.dims,
            attributes={"corpusdiff": asdict(self)},
        )

    @classmethod
    def parse(cls, data: bytes, key: str) -> Self:
        """The layout that `data`, a ``zarr.json``, was made from. Raises StoreError naming `key`."""
        try:
            layout = cls(**json.loads(data)["attributes"]["corpusdiff"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{key}: damaged: not the metadata of an audio array of this format") from error
        if layout.metadata() != data:
            raise StoreError(f"{key}: damaged: not what this array's metadata must be")
        return layout

    @property
    def _height(self) -> int:
        return 1 if self.lossy else self.n_channels

    def _codecs(self) -> list[dict[str, Any]]:
        if self.encoding == "flac":
            configuration = {"sr": self.sr, "bits": self.bits, "level": self.level}
            return [{"name": "corpusdiff.flac", "configuration": configuration}]
        if self.encoding == "pcm":
            blosc = {
                "typesize": self.dtype.itemsize,
                "cname": "zstd",
                "clevel": self.level,
                "shuffle": "bitshuffle",
                "blocksize": 0,
            }
            return [bytes_codec(self.dtype), {"name": "blosc", "configuration": blosc}]
        return [bytes_codec(self.dtype)]


def plan_layout(plan: Plan, output: str, sr: int, n_channels: int) -> ArrayLayout:
    """The array that holds one output of the plan's tracks of one rate and channel count."""
    spec = output_specs(plan)[output]
    lossy = spec["encoding"] not in {"flac", "pcm"}
    layout = ArrayLayout(
        output=output,
        encoding=spec["encoding"],
        bits=0 if lossy else spec["bits"],
        level=0 if lossy else spec["level"],
        sr=sr,
        n_channels=n_channels,
        generation=plan.generation,
        n_rows=ATTEMPTS * plan.n_shards,
        chunk=STREAM_CHUNK if lossy else plan.chunk,
        inner_per_shard=1,
    )
    inner_bytes = layout.chunk * layout._height * layout.dtype.itemsize
    expected = _expected_chunks(plan, layout, spec.get("bitrate_kbps") or 64.0)
    bound = min(MAX_INNER, 1 << max(0, (MAX_RAW_BYTES // inner_bytes).bit_length() - 1))
    return ArrayLayout(**{**asdict(layout), "inner_per_shard": min(_power_of_two(expected), bound)})


def output_specs(plan: Plan) -> dict[str, Mapping[str, Any]]:
    """The job's outputs by name, the primary one first."""
    return {spec["name"]: spec for spec in plan.job["output"]}


def create_arrays(objects: Objects, plan: Plan) -> None:
    """Make the groups and the arrays that the headers foretell, before any worker starts."""
    create_groups(objects)
    for layout in foretold_layouts(plan):
        create_metadata(objects, layout.metadata_key, layout.metadata())


def foretold_layouts(plan: Plan) -> list[ArrayLayout]:
    """The arrays that the headers of the plan's sources foretell."""
    return [plan_layout(plan, output, sr, ch) for sr, ch in plan.arrays for output in output_specs(plan)]


def _expected_chunks(plan: Plan, layout: ArrayLayout, kbps: float) -> float:
    """Inner chunks that an average shard fills: one per short track, half of one lost by a long one."""
    seconds = plan.seconds / plan.n_shards
    if layout.lossy:
        return seconds * kbps * 125.0 / layout.chunk
    n_tracks = plan.n_tracks / plan.n_shards
    full = seconds * layout.sr / layout.chunk
    return max(n_tracks, full + 0.5 * min(n_tracks, full))


def _power_of_two(value: float) -> int:
    """The power of two nearest to `value` on a log scale, at least 1."""
    return 1 << max(0, round(math.log2(max(value, 1.0))))
