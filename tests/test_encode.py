"""Encoders: the same bytes for the same samples, and the same samples back."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from corpusdiff.dsp.dither import quantize
from corpusdiff.encode import Encoded, decode_flac, decode_stream, encode_flac, encode_pcm, open_encoder, unsupported
from corpusdiff.encode.ogg import with_fixed_serial
from corpusdiff.errors import TrackError
from corpusdiff.specs import OutputSpec

LOSSY = {
    "opus": OutputSpec(encoding="opus", bitrate_kbps=64, complexity=5),
    "vorbis": OutputSpec(encoding="vorbis", bitrate_kbps=64),
    "mp3": OutputSpec(encoding="mp3", bitrate_kbps=64),
}
OPUS_RATES = [8000, 12000, 16000, 24000, 48000]


def chirp(sr: int, n_channels: int, n: int) -> NDArray[np.float32]:
    """Rises through the lower half of the band, in bursts, so that a shift of one sample shows."""
    t = np.arange(n) / sr
    x = (
        0.3
        * np.sin(2 * np.pi * (100 * t + 0.15 * sr / max(t[-1], 1e-9) / 2 * t * t))
        * (np.sin(2 * np.pi * 1.3 * t) > -0.5)
    )
    return np.stack([x * 0.8**c for c in range(n_channels)]).astype(np.float32)


def encode(
    spec: OutputSpec, x: NDArray[np.float32], sr: int, block: int = 7919, chunk: int = 4096
) -> tuple[Encoded, dict[int, bytes]]:
    out: dict[int, bytes] = {}
    encoder = open_encoder(spec, sr, x.shape[0], chunk, "a/track.wav", out.__setitem__)
    for start in range(0, x.shape[1], block):
        encoder.write(x[:, start : start + block])
    done = encoder.close()
    assert done.n_bytes == sum(map(len, out.values()))
    return done, out


def lag(x: NDArray[np.float32], y: NDArray[np.float32]) -> int:
    """Samples by which `y` comes after `x`, from the peak of their correlation."""
    n = 2 * len(x)
    correlation = np.fft.irfft(np.fft.rfft(y, n) * np.fft.rfft(x, n).conj())
    peak = int(np.argmax(correlation))
    return peak if peak < len(x) else peak - n


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("n_channels", [1, 2, 8])
@pytest.mark.parametrize("level", [0, 5, 8])
def test_flac_round_trip(bits: int, n_channels: int, level: int) -> None:
    """Samples come back bit for bit, the extremes included, and the bytes are the same every time."""
    rng = np.random.default_rng(0)
    kind = np.int16 if bits == 16 else np.int32
    x = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max, (n_channels, 5000)).astype(kind)
    x[:, :2] = np.iinfo(kind).min, np.iinfo(kind).max
    if bits == 24:
        x &= np.int32(-256)
    data = encode_flac(x, 44100, level)
    y, sr = decode_flac(data)
    assert (sr, y.dtype) == (44100, x.dtype)
    np.testing.assert_array_equal(y, x)
    assert encode_flac(x, 44100, level) == data


@pytest.mark.parametrize("sr", [1000, 8000, 11025, 352_800, 655_350])
def test_flac_rates(sr: int) -> None:
    """Any rate that FLAC can name comes back; others are refused."""
    x = np.arange(10, dtype=np.int16)[np.newaxis]
    assert decode_flac(encode_flac(x, sr))[1] == sr
    with pytest.raises(TrackError):
        open_encoder(OutputSpec(), 700_001, 1, 4096, "t", lambda index, data: None)


def test_damaged_flac_is_told() -> None:
    """Bytes that are no FLAC, or half of one, raise; so does what FLAC cannot hold."""
    data = encode_flac((chirp(16000, 1, 20_000) * 30_000).astype(np.int16), 16000)
    for damaged in (b"", b"none", data[: len(data) // 2]):
        with pytest.raises(TrackError, match="damaged|ends after"):
            decode_flac(damaged)
    with pytest.raises(TrackError, match="got float32"):
        encode_flac(np.zeros((1, 5), np.float32), 16000)  # type: ignore[arg-type]
    with pytest.raises(TrackError, match="9 channels"):
        encode_flac(np.zeros((9, 5), np.int16), 16000)


@pytest.mark.parametrize("kind", ["int16", "int32", "float32"])
def test_pcm_is_what_zarr_writes(kind: str) -> None:
    """A chunk is byte for byte what Zarr's own codecs make of it."""
    import zarr
    from zarr.codecs import BloscCodec

    x = (np.random.default_rng(0).standard_normal((1, 2, 4096)) * 1000).astype(kind)
    store = zarr.storage.MemoryStore()
    codec = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle")
    array = zarr.create_array(store, shape=x.shape, chunks=x.shape, dtype=kind, compressors=[codec])
    array[:] = x
    (written,) = [data.to_bytes() for key, data in store._store_dict.items() if key.startswith("c/")]
    assert encode_pcm(x[0]) == written


@pytest.mark.parametrize(
    "spec",
    [
        OutputSpec(),
        OutputSpec(bits=24),
        OutputSpec(encoding="pcm"),
        OutputSpec(encoding="pcm", bits=24),
        OutputSpec(encoding="pcm", bits=32),
    ],
    ids=lambda spec: f"{spec.encoding}{spec.bits}",
)
@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 20_000), block=st.integers(1, 9000), seed=st.integers(0, 5))
def test_chunks_do_not_depend_on_blocks(spec: OutputSpec, n: int, block: int, seed: int) -> None:
    """Any blocks give the bytes of the whole, and silence leaves its chunks out."""
    x = np.random.default_rng(seed).standard_normal((2, n)).astype(np.float32) * np.float32(0.1)
    x[:, n // 4 : n // 2] = 0
    done, chunks = encode(spec, x, 16000, block, chunk=1024)
    assert (done, chunks) == encode(spec, x, 16000, n, chunk=1024)
    assert done.n_samples == done.size == n
    key = int.from_bytes(hashlib.sha256(b"a/track.wav").digest()[:8], "little")
    samples = x if spec.bits == 32 else quantize(x, spec.bits, spec.dither, key, 0)
    present = {i for i in range(-(-n // 1024)) if samples[:, i * 1024 : (i + 1) * 1024].any()}
    assert set(chunks) == present
    if spec.encoding == "flac":
        for index, data in chunks.items():
            y, _ = decode_flac(data)
            expected = samples[:, index * 1024 : (index + 1) * 1024]
            np.testing.assert_array_equal(y, expected[:, : y.shape[1]])
            assert not expected[:, y.shape[1] :].any()


def test_flac_payload_ends_with_the_last_sound() -> None:
    """Zeros at the end of a chunk are not encoded, but for one sample of a chunk."""
    x = np.zeros((1, 8192), np.float32)
    x[0, 5000] = 0.5
    _, chunks = encode(OutputSpec(dither=False), x, 16000)
    assert list(chunks) == [1]
    assert decode_flac(chunks[1])[0].shape == (1, 5001 - 4096)


@pytest.mark.parametrize(
    ("encoding", "sr"),
    [
        *(("opus", sr) for sr in OPUS_RATES),
        *(("mp3", sr) for sr in (8000, 16000, 22050, 44100)),
        *(("vorbis", sr) for sr in (8000, 16000, 44100)),
    ],
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_lossy_streams_are_aligned_and_exact(encoding: str, sr: int, n_channels: int) -> None:
    """As many samples come back as went in, in their places, by a plain decoder as well."""
    x = chirp(sr, n_channels, 2 * sr + 137)
    done, out = encode(LOSSY[encoding], x, sr)
    assert list(out) == [0]
    assert (done.size, done.n_samples) == (len(out[0]), x.shape[1])
    y = decode_stream(out[0], encoding, sr, n_channels, x.shape[1], done.delay)
    assert y.shape == x.shape
    assert [lag(x[c], y[c]) for c in range(n_channels)] == [0] * n_channels
    plain = sf.read(io.BytesIO(out[0]), dtype="float32", always_2d=True)[0]
    surplus = plain.shape[0] - done.delay - x.shape[1]
    assert surplus == 0 or (encoding == "mp3" and 0 < surplus < 529)  # the padding that mpg123 cannot take out


@pytest.mark.parametrize("encoding", list(LOSSY))
@pytest.mark.parametrize("n", [0, 1, 100, 959, 1153, 5000])
def test_short_lossy_streams(encoding: str, n: int) -> None:
    """A stream may be shorter than a frame of its codec."""
    x = chirp(16000, 1, 5000)[:, :n]
    done, out = encode(LOSSY[encoding], x, 16000)
    assert decode_stream(out[0], encoding, 16000, 1, n, done.delay).shape == (1, n)


@pytest.mark.parametrize("encoding", list(LOSSY))
def test_lossy_bytes_are_the_same_in_any_blocks(encoding: str) -> None:
    """Neither a second call nor other blocks change a byte."""
    x = chirp(16000, 2, 50_000)
    first = encode(LOSSY[encoding], x, 16000, 7919)
    assert first == encode(LOSSY[encoding], x, 16000, 7919) == encode(LOSSY[encoding], x, 16000, 333)
    assert first == encode(LOSSY[encoding], x, 16000, 50_000)


def test_bytes_are_the_same_in_another_process() -> None:
    """Every encoding gives in a fresh process what it gives here."""
    program = "import sys, hashlib; sys.path.insert(0, sys.argv[1]); import test_encode as t; print(t.digest_of_all())"
    found = subprocess.run(
        [sys.executable, "-c", program, str(__import__("pathlib").Path(__file__).parent)],
        capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert found.stdout.strip() == digest_of_all()


def digest_of_all() -> str:
    """One digest over the bytes of all encodings."""
    x = chirp(16000, 2, 30_000)
    digest = hashlib.sha256()
    for spec in [OutputSpec(), OutputSpec(bits=24), OutputSpec(encoding="pcm"), *LOSSY.values()]:
        for index, data in sorted(encode(spec, x, 16000)[1].items()):
            digest.update(index.to_bytes(4) + data)
    return digest.hexdigest()


@pytest.mark.parametrize(
    ("encoding", "sr", "rates"),
    [("opus", 16000, (16, 32, 64)), ("mp3", 44100, (32, 64, 128)), ("vorbis", 16000, (32, 48, 64))],
)
def test_bit_rate_is_kept(encoding: str, sr: int, rates: tuple[int, ...]) -> None:
    """Noise in a voice's band costs about the rate asked for: within a third, and rising with it."""
    rng = np.random.default_rng(0)
    x = np.cumsum(rng.standard_normal((1, 5 * sr)), axis=1)
    x = np.diff(x - np.convolve(x[0], np.ones(64) / 64, "same"), prepend=0) * 0.03
    found = []
    for rate in rates:
        spec = OutputSpec(encoding=encoding, bitrate_kbps=rate)
        found.append(encode(spec, x.astype(np.float32), sr)[0].n_bytes * 8 / 5000)
    assert found == sorted(found)
    assert all(abs(got / asked - 1) < 1 / 3 for got, asked in zip(found, rates, strict=True)), found


def test_opus_complexity_is_passed_on() -> None:
    """Less complexity takes much less time and gives other bytes."""
    x = chirp(16000, 1, 20 * 16000) + np.random.default_rng(0).standard_normal(320_000).astype(np.float32) * np.float32(
        0.01
    )
    times, sizes = [], []
    for complexity in (0, 10):
        started = time.process_time()
        sizes.append(encode(OutputSpec(encoding="opus", bitrate_kbps=24, complexity=complexity), x, 16000)[0].n_bytes)
        times.append(time.process_time() - started)
    assert times[1] > 1.5 * times[0]
    assert sizes[0] != sizes[1]


def test_what_an_encoding_cannot_hold() -> None:
    """A rate or a number of channels that does not fit is refused with what does."""
    assert unsupported("opus", 16000, 2) is None
    assert "48000" in str(unsupported("opus", 44100, 1))
    assert "at most 2 channels" in str(unsupported("mp3", 16000, 3))
    assert unsupported("pcm", 192_000, 64) is None
    with pytest.raises(TrackError, match="opus has no 44100 Hz"):
        open_encoder(LOSSY["opus"], 44100, 1, 4096, "t", lambda index, data: None)


def test_damaged_or_other_streams_are_told() -> None:
    """A stream that is cut, or is of something else, never passes for the right one."""
    x = chirp(16000, 1, 30_000)
    _, out = encode(LOSSY["opus"], x, 16000)
    for data, n_channels, n in [
        (out[0][:2000], 1, 30_000),
        (b"none", 1, 30_000),
        (out[0], 2, 30_000),
        (out[0], 1, 30_001),
    ]:
        with pytest.raises(TrackError) as caught:
            decode_stream(data, "opus", 16000, n_channels, n)
        assert caught.value.reason == "decode"


def test_fixed_serial_keeps_the_sound() -> None:
    """Only serial numbers and checksums change, and what is no Ogg is refused."""
    x = chirp(16000, 1, 30_000)
    buffer = io.BytesIO()
    sf.write(buffer, x.T, 16000, "VORBIS", format="OGG")
    fixed = with_fixed_serial(buffer.getvalue(), 77)
    assert len(fixed) == len(buffer.getvalue())
    np.testing.assert_array_equal(sf.read(io.BytesIO(fixed))[0], sf.read(io.BytesIO(buffer.getvalue()))[0])
    assert with_fixed_serial(fixed, 5) == with_fixed_serial(buffer.getvalue(), 5)
    for bad in (b"RIFF" + bytes(50), fixed[:-1]):
        with pytest.raises(ValueError, match="Ogg page"):
            with_fixed_serial(bad)
