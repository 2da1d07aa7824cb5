"""Arrays have the names, shapes and metadata that Zarr and xarray expect."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray
import zarr
from store_maker import FLAC, PCM, STREAM, Clip, make_plan

from corpusdiff.errors import StoreError
from corpusdiff.store.codec import FlacCodec
from corpusdiff.store.layout import (
    CAPACITY,
    MAX_INNER,
    MAX_RAW_BYTES,
    ArrayLayout,
    create_arrays,
    plan_layout,
)
from corpusdiff.store.metadata import create_metadata
from corpusdiff.store.objects import open_objects

CLIPS = [[Clip("a", 16000)], [Clip("b", 16000)]]


def spec(encoding: str, bits: int) -> dict:
    """An output of the job."""
    return {**(FLAC if encoding == "flac" else PCM), "name": f"{encoding}{bits}", "bits": bits}


def test_name_says_output_rate_channels_and_generation():
    """The array's name is built of what it holds."""
    plan = make_plan(CLIPS)
    assert plan_layout(plan, "flac", 16000, 1).name == "flac_16000hz_1ch"
    assert plan_layout(replace(plan, generation=2), "flac", 44100, 2).name == "flac_44100hz_2ch_g2"


@pytest.mark.parametrize(
    ("encoding", "bits", "dtype"),
    [
        ("flac", 16, "int16"),
        ("flac", 24, "int32"),
        ("pcm", 16, "int16"),
        ("pcm", 24, "int32"),
        ("pcm", 32, "float32"),
    ],
)
def test_metadata_is_what_zarr_would_write(tmp_path, encoding, bits, dtype):
    """Zarr reads our metadata without a warning, and would write the same document for such an array."""
    plan = make_plan(CLIPS, [spec(encoding, bits)])
    layout = plan_layout(plan, f"{encoding}{bits}", 16000, 2)
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "zarr.json").write_bytes(layout.metadata())
    ours = zarr.open_array(tmp_path / "ours", mode="r")
    assert (ours.dtype, ours.shape) == (np.dtype(dtype), (8, 2, layout.capacity))
    assert ours.metadata.dimension_names == ("row", "channel_2", f"{layout.name}_sample")
    codecs = {
        "flac": {"serializer": FlacCodec(sr=16000, bits=16 if bits == 16 else 24), "compressors": []},
        "pcm": {
            "compressors": [
                zarr.codecs.BloscCodec(typesize=ours.dtype.itemsize, cname="zstd", clevel=5, shuffle="bitshuffle")
            ]
        },
    }[encoding]
    codecs["compressors"].append(zarr.codecs.Crc32cCodec())
    theirs = zarr.create_array(
        tmp_path / "theirs",
        shape=ours.shape,
        chunks=(1, 2, layout.chunk),
        shards=(1, 2, layout.chunk * layout.inner_per_shard),
        dtype=dtype,
        fill_value=0,
        dimension_names=ours.metadata.dimension_names,
        attributes=dict(ours.attrs),
        **codecs,
    )
    assert json.loads(layout.metadata()) == json.loads((tmp_path / "theirs" / "zarr.json").read_text())
    assert theirs.metadata == ours.metadata


def test_lossy_metadata_opens(tmp_path):
    """An array of streams is plain bytes with 64 KiB inner chunks."""
    layout = plan_layout(make_plan(CLIPS, [STREAM]), "opus24", 48000, 2)
    (tmp_path / "zarr.json").write_bytes(layout.metadata())
    array = zarr.open_array(tmp_path, mode="r")
    assert (array.dtype, array.ndim, array.chunks) == (np.dtype("uint8"), 2, (1, 65536))
    assert array.metadata.dimension_names == ("row", "opus24_48000hz_2ch_byte")


def test_xarray_holds_all_arrays_together(tmp_path):
    """Rates, channel counts and generations that differ share no dimension of another length."""
    objects = open_objects(str(tmp_path))
    plan = make_plan(CLIPS, [FLAC, PCM, STREAM], arrays=[(16000, 1), (44100, 2), (44100, 1)])
    create_arrays(objects, plan)
    create_arrays(objects, replace(plan, generation=1, bounds=(0, 2)))
    opened = xarray.open_zarr(tmp_path / "data.zarr" / "audio", consolidated=False, chunks=None)
    assert len(opened.data_vars) == 18


@pytest.mark.parametrize("n_shards", [1, 1000, 3_000_000])
@pytest.mark.parametrize("n_channels", [1, 8])
def test_size_in_bytes_never_overflows(n_shards, n_channels):
    """Rows x channels x capacity x itemsize stays under 2^62, and a row holds many hours."""
    plan = replace(make_plan(CLIPS, [spec("pcm", 32)]), bounds=tuple(range(n_shards + 1)))
    layout = plan_layout(plan, "pcm32", 48000, n_channels)
    assert layout.n_rows * n_channels * layout.capacity * 4 < 2**62
    assert CAPACITY >= layout.capacity >= 24 * 3600 * 16000


@pytest.mark.parametrize("chunk", [4096, 2**18])
@pytest.mark.parametrize("seconds", [0.5, 600.0, 1e6])
@pytest.mark.parametrize("n_channels", [1, 2, 64])
def test_objects_stay_in_bounds(chunk, seconds, n_channels):
    """A Zarr shard object has at most 4096 inner chunks and 128 MB raw, whatever the plan."""
    plan = replace(make_plan(CLIPS, [spec("pcm", 32)], chunk=chunk), seconds=seconds)
    layout = plan_layout(plan, "pcm32", 48000, n_channels)
    assert 1 <= layout.inner_per_shard <= MAX_INNER
    assert layout.inner_per_shard & (layout.inner_per_shard - 1) == 0
    raw = layout.inner_per_shard * chunk * n_channels * 4
    assert raw <= MAX_RAW_BYTES or layout.inner_per_shard == 1


def test_index_fits_the_shard():
    """Five hundred short clips a shard get about five hundred places, not thousands."""
    shards = [[Clip(f"{shard}/{i}", 6400) for i in range(500)] for shard in range(3)]
    layout = plan_layout(make_plan(shards, chunk=8192), "flac", 16000, 1)
    assert layout.inner_per_shard == 512


def test_parse_refuses_any_change():
    """Metadata round-trips, and any other byte is refused with the key."""
    layout = plan_layout(make_plan(CLIPS), "flac", 16000, 1)
    data = layout.metadata()
    assert ArrayLayout.parse(data, "k") == layout
    for changed in (data[:-1], data.replace(b"16000", b"16001", 1), data.upper(), b"{}"):
        with pytest.raises(StoreError, match=r"^k: damaged"):
            ArrayLayout.parse(changed, "k")


def test_other_metadata_in_place_is_refused(tmp_path):
    """Metadata is created once; the same again is fine, other metadata is an error."""
    objects = open_objects(str(tmp_path))
    create_metadata(objects, "x/zarr.json", b"one")
    create_metadata(objects, "x/zarr.json", b"one")
    with pytest.raises(StoreError, match=r"x/zarr\.json"):
        create_metadata(objects, "x/zarr.json", b"two")
