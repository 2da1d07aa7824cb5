"""Packed objects are what Zarr's sharding codec reads."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.encode import encode_flac
from corpusdiff.store.layout import ArrayLayout
from corpusdiff.store.pack import InnerChunk, PackedObject, index_bytes, parse_index, with_crc, without_crc

CHUNK = 256


def layout(encoding: str = "flac") -> ArrayLayout:
    """A small array of four inner chunks an object."""
    return ArrayLayout("x", encoding, 16, 5, 8000, 1, 0, 4, CHUNK, 4)


@settings(max_examples=20, deadline=None)
@given(present=st.sets(st.integers(0, 3)), seed=st.integers(0, 2**32 - 1))
def test_zarr_reads_what_was_packed(tmp_path_factory, present, seed):
    """Any subset of inner chunks decodes through Zarr to the same samples, zeros where absent."""
    folder = tmp_path_factory.mktemp("pack")
    rng = np.random.default_rng(seed)
    expected = np.zeros(4 * CHUNK, np.int16)
    spool, chunks = bytearray(b"other data"), []
    for index in sorted(present):
        samples = rng.integers(-99, 99, CHUNK, np.int16)
        expected[index * CHUNK : (index + 1) * CHUNK] = samples
        payload = encode_flac(samples[None], 8000, 5)
        chunks.append(InnerChunk(index, ((len(spool), len(payload)),)))
        spool += payload
    (folder / "spool").write_bytes(spool)
    array = layout()
    packed = PackedObject(str(folder / "spool"), chunks, 4)
    data = b"".join(packed.blocks())
    (folder / "a" / "c" / "2" / "0").mkdir(parents=True)
    (folder / "a" / "zarr.json").write_bytes(array.metadata())
    (folder / "a" / "c" / "2" / "0" / "0").write_bytes(data)
    assert np.array_equal(zarr.open_array(folder / "a", mode="r")[2, 0, : 4 * CHUNK], expected)
    assert (packed.size, packed.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert [index for index, _, _ in packed.table] == sorted(present)


def test_extents_and_padding_join(tmp_path):
    """A chunk made of several stretches and padding is their concatenation."""
    (tmp_path / "spool").write_bytes(bytes(range(100)))
    packed = PackedObject(str(tmp_path / "spool"), [InnerChunk(1, ((90, 10), (0, 5)), padding=3)], 2)
    data = b"".join(packed.blocks())
    index = parse_index(data[-index_bytes(2) :], 2)
    assert index.tolist() == [[2**64 - 1, 2**64 - 1], [0, 22]]
    assert without_crc(data[:22]) == bytes([*range(90, 100), *range(5), 0, 0, 0])


def test_packing_twice_gives_the_same(tmp_path):
    """An object can be produced again for another attempt row."""
    (tmp_path / "spool").write_bytes(bytes(range(100)))
    packed = PackedObject(str(tmp_path / "spool"), [InnerChunk(0, ((3, 50),))], 1)
    assert b"".join(packed.blocks()) == b"".join(packed.blocks())
    assert packed.finished().table == [[0, 54, packed.table[0][2]]]


def test_a_spool_that_ends_early_is_an_error(tmp_path):
    """A spool shorter than its rows say is trouble of the machine, not silence."""
    (tmp_path / "spool").write_bytes(b"123")
    packed = PackedObject(str(tmp_path / "spool"), [InnerChunk(0, ((0, 10),))], 1)
    with pytest.raises(OSError, match="spool file ends at 3, expected 10"):
        list(packed.blocks())


def test_memory_is_one_inner_chunk(tmp_path):
    """Blocks come one inner chunk at a time, however large the object."""
    with Path(tmp_path / "spool").open("wb") as file:
        file.truncate(1 << 24)
    chunks = [InnerChunk(i, ((i << 16, 1 << 16),)) for i in range(256)]
    blocks = PackedObject(str(tmp_path / "spool"), chunks, 256).blocks()
    assert max(len(block) for block in blocks) == (1 << 16) + 4


def test_checksums_find_every_flip():
    """Any flipped bit of checked bytes is found."""
    data = with_crc(b"some bytes")
    assert without_crc(data) == b"some bytes"
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="crc32c"):
            without_crc(bytes(damaged))
    with pytest.raises(ValueError, match="index of 3 bytes, expected 36"):
        parse_index(b"123", 2)
