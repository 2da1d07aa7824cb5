"""The FLAC codec gives back what went in, through Zarr and alone."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from corpusdiff.errors import TrackError
from corpusdiff.store.codec import FlacCodec, decode_chunk, encode_chunk


@settings(max_examples=25, deadline=None)
@given(
    n_channels=st.integers(1, 3),
    used=st.integers(0, 64),
    bits=st.sampled_from([16, 24]),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip_with_trailing_fill(n_channels, used, bits, seed):
    """Any chunk comes back, its trailing zeros included."""
    rng = np.random.default_rng(seed)
    samples = np.zeros((n_channels, 64), np.int16 if bits == 16 else np.int32)
    top = 2 ** (bits - 1)
    samples[:, :used] = rng.integers(-top, top, (n_channels, used)) * (1 if bits == 16 else 256)
    assert np.array_equal(decode_chunk(encode_chunk(samples, 8000, 5), 64), samples)


def test_trailing_fill_costs_nothing():
    """A chunk with a short track in it is as small as the track."""
    noise = np.random.default_rng(0).integers(-999, 999, (1, 100), np.int16)
    padded = np.pad(noise, ((0, 0), (0, 2**16 - 100)))
    assert encode_chunk(padded, 8000, 5) == encode_chunk(noise, 8000, 5)


@pytest.mark.parametrize(("bits", "dtype"), [(16, "int16"), (24, "int32")])
def test_zarr_writes_and_reads_it(tmp_path, bits, dtype):
    """Zarr finds the codec by its name in the metadata, writes with it and reads it back."""
    top = 2 ** (bits - 1) - 1
    samples = np.random.default_rng(1).integers(-top, top, (2, 2, 10_000)).astype(dtype)
    if bits == 24:
        samples *= 256
    array = zarr.create_array(
        tmp_path / "a",
        shape=samples.shape,
        chunks=(1, 2, 1024),
        shards=(1, 2, 4096),
        dtype=dtype,
        serializer=FlacCodec(sr=16000, bits=bits),
        compressors=[zarr.codecs.Crc32cCodec()],
        fill_value=0,
    )
    array[:] = samples
    again = zarr.open_array(tmp_path / "a", mode="r")
    assert np.array_equal(again[:], samples)
    assert np.array_equal(again[1, :, 1000:5000], samples[1, :, 1000:5000])


def test_wrong_arrays_are_refused(tmp_path):
    """An array whose type is not the codec's is refused with both types."""
    with pytest.raises(ValueError, match=r"of 16 bits is for 3-D int16, got 3-D int32"):
        zarr.create_array(
            tmp_path / "a", shape=(1, 1, 8), chunks=(1, 1, 8), dtype="int32", serializer=FlacCodec(sr=8000)
        )
    with pytest.raises(ValueError, match="expected 16 or 24"):
        FlacCodec(sr=8000, bits=20)


def test_stream_longer_than_its_chunk_is_refused():
    """A chunk that decodes to too many samples is an error, never cut."""
    with pytest.raises(TrackError, match="100 samples where 64 are the most"):
        decode_chunk(encode_chunk(np.ones((1, 100), np.int16), 8000, 5), 64)
