"""Files whose headers lie, that are cut off, damaged, or no audio at all."""

from __future__ import annotations

import io
import os
import re
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from corpusdiff.errors import TrackError
from corpusdiff.manifests.base import Track
from corpusdiff.source import open_source, probe

SR = 16000
N = 150_000


def signal() -> NDArray[np.float32]:
    t = np.arange(N) / SR
    return (0.3 * np.sin(2 * np.pi * 300 * t * (1 + t)) + 0.02 * np.random.default_rng(0).standard_normal(N)).astype(
        np.float32
    )


def encoded(container: str, subtype: str, x: NDArray[np.float32] | None = None, sr: int = SR) -> bytes:
    buffer = io.BytesIO()
    with sf.SoundFile(buffer, "w", sr, 1, subtype, format=container) as file:
        for part in np.array_split(signal() if x is None else x, 20):
            file.write(part)
    return buffer.getvalue()


def decode(path: Path, data: bytes) -> tuple[NDArray[np.float32], int | None]:
    path.write_bytes(data)
    with open_source(Track("t", str(path))) as reader:
        x = np.concatenate(list(reader.blocks()), axis=1)
    return x, reader.header_diff


def failure(path: Path, data: bytes) -> TrackError:
    path.write_bytes(data)
    with pytest.raises(TrackError) as caught, open_source(Track("t", str(path))) as reader:
        for _ in reader.blocks():
            pass
    return caught.value


def wav_claiming(riff: int, data: int) -> bytes:
    plain = encoded("WAV", "PCM_16")
    return plain[:4] + struct.pack("<I", riff) + plain[8:40] + struct.pack("<I", data) + plain[44:]


def flac_claiming(n_samples: int) -> bytes:
    plain = bytearray(encoded("FLAC", "PCM_16"))
    field = slice(plain.index(b"fLaC") + 18, plain.index(b"fLaC") + 26)
    kept = int.from_bytes(plain[field], "big") >> 36 << 36
    plain[field] = (kept | n_samples).to_bytes(8, "big")
    return bytes(plain)


def mp3_without_length(bitrate_kbps: int) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as file:
        stream = file.add_stream("libmp3lame", rate=SR, layout="mono")
        stream.bit_rate = bitrate_kbps * 1000
        frame = av.AudioFrame.from_ndarray(signal()[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = SR
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("riff", "data", "diff"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF, None),
        (0x7FFFFFFF, 0x7FFFFFFF - 36, None),
        (0, 0, 0),
        (2 * N, 0, 0),
        (2 * N, 4 * N, -N),
    ],
)
def test_wav_size_fields(tmp_path: Path, riff: int, data: int, diff: int | None) -> None:
    """Streams and recordings that were never closed are decoded to their end, whatever the size fields say."""
    x, found = decode(tmp_path / "x.wav", wav_claiming(riff, data))
    np.testing.assert_array_equal(x, decode(tmp_path / "y.wav", encoded("WAV", "PCM_16"))[0])
    assert found == diff
    header = probe(str(tmp_path / "x.wav"))
    assert header.n_samples is None or header.n_samples <= 2 * N


@pytest.mark.parametrize("n_claimed", [0, N // 2, 2 * N, 2**36 - 1])
def test_flac_sample_count(tmp_path: Path, n_claimed: int) -> None:
    """A FLAC file is decoded to its last frame, whether it claims less, more, or nothing."""
    x, diff = decode(tmp_path / "x.flac", flac_claiming(n_claimed))
    np.testing.assert_array_equal(x, decode(tmp_path / "y.flac", encoded("FLAC", "PCM_16"))[0])
    assert diff == (N - n_claimed if n_claimed else None)


def test_segment_beyond_a_claim_that_is_too_low(tmp_path: Path) -> None:
    """What lies after a false end of the header can be had as a segment too."""
    path = tmp_path / "x.flac"
    whole, _ = decode(path, flac_claiming(N // 2))
    with open_source(Track("t", str(path), 6.0, 1.0)) as reader:
        np.testing.assert_array_equal(np.concatenate(list(reader.blocks()), axis=1), whole[:, 96_000:112_000])


@pytest.mark.parametrize("tail", [b"TAG" + b"x" * 125, bytes(5000), b"APETAGEX" + bytes(range(256)) * 20])
@pytest.mark.parametrize(("container", "subtype"), [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")])
def test_tags_at_the_end_are_not_audio(tmp_path: Path, container: str, subtype: str, tail: bytes) -> None:
    """A tag or padding after the last frame changes nothing."""
    plain = encoded(container, subtype)
    x, diff = decode(tmp_path / "x", plain + tail)
    np.testing.assert_array_equal(x, decode(tmp_path / "y", plain)[0])
    assert diff == 0


def test_mp3_estimates_do_not_cut(tmp_path: Path) -> None:
    """An MP3 without a length, whose rate falls, is decoded beyond the estimate of its first frames."""
    high, low = mp3_without_length(160), mp3_without_length(16)
    x, diff = decode(tmp_path / "x.mp3", high + 3 * low)
    assert diff is not None
    assert diff > N
    assert abs(x.shape[1] - 4 * decode(tmp_path / "y.mp3", high)[0].shape[1]) < 4 * 1152


def test_cut_off_flac_fails(tmp_path: Path) -> None:
    """A FLAC file cut inside a frame fails with how far decoding came."""
    data = encoded("FLAC", "PCM_16")
    error = failure(tmp_path / "x", data[: len(data) // 2])
    assert error.reason == "decode"
    assert re.fullmatch(r"decoded \d+ of 150000 claimed samples, then: invalid data", str(error))


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("MP3", "MPEG_LAYER_III"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
    ],
)
def test_cut_off_files_that_end_cleanly_are_decoded(tmp_path: Path, container: str, subtype: str) -> None:
    """Formats without an end of their own give what is there, and the difference is told where the header tells."""
    data = encoded(container, subtype)
    whole, _ = decode(tmp_path / "y", data)
    x, diff = decode(tmp_path / "x", data[: len(data) // 2 + 1])
    assert 0.3 * N < x.shape[1] < 0.7 * N
    assert diff == (0 if container == "OGG" else x.shape[1] - N)
    start = 0 if container != "OGG" else 1000
    np.testing.assert_array_equal(x[:, start:-3000], whole[:, start : x.shape[1] - 3000])


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", "PCM_16"), ("MP3", "MPEG_LAYER_III")])
@pytest.mark.parametrize("at", [0.3, 0.8])
def test_holes_are_found(tmp_path: Path, container: str, subtype: str, at: float) -> None:
    """Zeros in the middle of a compressed file fail it; they are never skipped in silence."""
    data = bytearray(encoded(container, subtype))
    start = int(at * len(data))
    data[start : start + 4000] = bytes(4000)
    assert failure(tmp_path / "x", bytes(data)).reason == "decode"


def test_chained_ogg(tmp_path: Path) -> None:
    """Ogg streams one after the other are decoded one after the other."""
    one, two = encoded("OGG", "VORBIS"), encoded("OGG", "VORBIS", signal()[:50_000])
    x, _ = decode(tmp_path / "x.ogg", one + two)
    assert abs(x.shape[1] - N - 50_000) < 2048


def test_two_mp3_files_in_one_are_not_cut_in_silence(tmp_path: Path) -> None:
    """A second MP3 file behind one that states its length is decoded too, not dropped."""
    plain = encoded("MP3", "MPEG_LAYER_III")
    x, diff = decode(tmp_path / "x.mp3", plain + plain)
    assert abs(x.shape[1] - 2 * N) < 3 * 1152
    assert diff == x.shape[1] - N


def test_two_flac_files_in_one_are_refused(tmp_path: Path) -> None:
    """A second FLAC file behind the first is told, not dropped."""
    plain = encoded("FLAC", "PCM_16")
    assert "another recording begins" in str(failure(tmp_path / "x.flac", plain + plain))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_values_that_are_no_numbers(tmp_path: Path, bad: float, subtype: str) -> None:
    """NaN and infinity fail the track, naming the first one."""
    x = signal()
    x[100_000] = x[120_000] = bad
    sf.write(tmp_path / "x.wav", np.stack([signal(), x], axis=1), SR, subtype)
    error = failure(tmp_path / "x.wav", (tmp_path / "x.wav").read_bytes())
    assert str(error) == f"sample 100000 of channel 1 is {np.float32(bad)}, no number"


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "empty", "the file is empty (0 bytes)"),
        (b"\xff\xd8\xff\xe0" + bytes(500), "unsupported", "not audio: JPEG image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "unsupported", "not audio: PNG image"),
        (
            b"<!DOCTYPE html><html>",
            "unsupported",
            "not audio: a web page or other markup, perhaps of a failed download",
        ),
        (b"hello world\n" * 50, "unsupported", "not audio: text"),
        (bytes(5000), "unsupported", "not audio: zeros"),
        (b"PK\x03\x04" + bytes(100), "unsupported", "not audio: ZIP archive (or a document of that kind)"),
        (b"#EXTM3U\n#EXTINF:10,\nsecret.wav\n#EXT-X-ENDLIST\n", "unsupported", "not audio: playlist"),
        (b"ffconcat version 1.0\nfile secret.wav\n", "unsupported", "not audio: playlist"),
        (b"\x01\x02\x03\x04" * 200, "unsupported", "no audio format known here (begins with 01 02 03 04 01 02 03 04)"),
        (b"fLaC" + bytes(100), "decode", "damaged FLAC file (invalid data)"),
    ],
)
def test_what_is_no_audio_is_named(tmp_path: Path, data: bytes, reason: str, message: str) -> None:
    """The message says what was found, in words; playlists never open what they list."""
    (tmp_path / "secret.wav").write_bytes(encoded("WAV", "PCM_16"))
    error = failure(tmp_path / "x.wav", data)
    assert (error.reason, str(error)) == (reason, message)


def test_wav_without_samples(tmp_path: Path) -> None:
    """A header and nothing else is empty, not damaged."""
    error = failure(tmp_path / "x.wav", encoded("WAV", "PCM_16", signal()[:0]))
    assert (error.reason, str(error)) == ("empty", "the file holds no samples")


@pytest.mark.parametrize(("field", "value"), [(24, 0), (24, 2**31), (22, 0), (22, 60_000)])
def test_absurd_headers(tmp_path: Path, field: int, value: int) -> None:
    """No channels, thousands of them, or an impossible rate are refused before anything is allocated."""
    data = bytearray(encoded("WAV", "PCM_16"))
    data[field : field + (4 if field == 24 else 2)] = value.to_bytes(4 if field == 24 else 2, "little")
    assert failure(tmp_path / "x.wav", bytes(data)).reason in {"unsupported", "decode"}


def test_missing_and_irregular_files(tmp_path: Path) -> None:
    """What is not there, not a file, or somewhere else is told apart, and nothing waits for a pipe."""
    os.mkfifo(tmp_path / "pipe.wav")
    for path, reason in [
        (str(tmp_path / "none.wav"), "missing"),
        (str(tmp_path / "none" / "x.wav"), "missing"),
        (str(tmp_path / "a\0b.wav"), "missing"),
        (str(tmp_path), "unsupported"),
        (str(tmp_path / "pipe.wav"), "unsupported"),
        ("http://host/x.wav", "unsupported"),
    ]:
        for action in (lambda p: open_source(Track("t", p)), probe):
            with pytest.raises(TrackError) as caught:
                action(path)
            assert caught.value.reason == reason


def test_segments_that_are_not_there(tmp_path: Path) -> None:
    """A segment behind the end, or shorter than a sample, is empty."""
    path = tmp_path / "x.wav"
    path.write_bytes(encoded("WAV", "PCM_16"))
    with pytest.raises(TrackError, match="begins at 99 s, where the file has already ended"):
        open_source(Track("t", str(path), 99.0))
    with pytest.raises(TrackError, match="holds no sample"):
        open_source(Track("t", str(path), 1.0, 1e-6))


def test_files_are_closed(tmp_path: Path) -> None:
    """Success, failure and refusal leave no file open."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    for name, data in [
        ("a.wav", encoded("WAV", "PCM_16")),
        ("b", bytes(900)),
        ("c", encoded("FLAC", "PCM_16")[:30_000]),
    ]:
        try:
            decode(tmp_path / name, data)
            probe(str(tmp_path / name))
        except TrackError:
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before
