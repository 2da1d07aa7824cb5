"""Decoding of sound files: formats, segments, channels, blocks."""

from __future__ import annotations

import io
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from numpy.typing import NDArray

from corpusdiff.errors import TrackError
from corpusdiff.manifests import open_manifest
from corpusdiff.manifests.base import Track
from corpusdiff.source import AudioReader, open_source, probe

SR = 16000
N = 3 * 65536 + 777


def tone(n_channels: int = 1, n: int = N, sr: int = SR) -> NDArray[np.float32]:
    t = np.arange(n) / sr
    rng = np.random.default_rng(0)
    rows = [
        0.4 * np.sin(2 * np.pi * (200 + 90 * c + 20 * t) * t) + 0.05 * rng.standard_normal(n) for c in range(n_channels)
    ]
    return np.stack(rows).astype(np.float32)


def write(path: Path, x: NDArray[np.float32], container: str, subtype: str, sr: int = SR) -> Path:
    with sf.SoundFile(path, "w", sr, x.shape[0], subtype, format=container) as file:
        for start in range(0, x.shape[1], 8192):
            file.write(x[:, start : start + 8192].T)
    return path


def decode(path: Path, track: Track | None = None) -> tuple[NDArray[np.float32], AudioReader]:
    with open_source(track or Track("t", str(path))) as reader:
        blocks = list(reader.blocks())
    assert all(x.flags.c_contiguous and x.dtype == np.float32 for x in blocks)
    assert all(x.shape[0] == reader.n_channels and x.shape[1] > 0 for x in blocks)
    x = np.concatenate(blocks, axis=1)
    assert x.shape[1] == reader.n_decoded
    return x, reader


def encode_av(path: Path, x: NDArray[np.float32], sr: int, container: str, codec: str, sample_format: str) -> Path:
    kind = {"u8": np.uint8, "s16": np.int16, "s32": np.int32, "flt": np.float32, "dbl": np.float64}[
        sample_format.rstrip("p")
    ]
    scaled = x if kind in {np.float32, np.float64} else x * (float(np.iinfo(kind).max) / (2 if kind is np.uint8 else 1))
    y = (scaled + (128 if kind is np.uint8 else 0)).astype(kind)
    layout = "mono" if x.shape[0] == 1 else "stereo"
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=sr, layout=layout)
        stream.codec_context.format = av.AudioFormat(sample_format)
        samples = y if sample_format.endswith("p") else np.ascontiguousarray(y.T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format=sample_format, layout=layout)
        frame.sample_rate = sr
        frame.time_base = Fraction(1, sr)
        frame.pts = 0
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            file.mux(packet)
    return path


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_U8"),
        ("WAV", "PCM_24"),
        ("WAV", "PCM_32"),
        ("WAV", "FLOAT"),
        ("WAV", "DOUBLE"),
        ("WAV", "ULAW"),
        ("WAV", "IMA_ADPCM"),
        ("W64", "PCM_16"),
        ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("CAF", "PCM_16"),
        ("AU", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_blocks_are_the_whole_file(tmp_path: Path, container: str, subtype: str, n_channels: int) -> None:
    """Blocks put together are bit for bit what libsndfile gives at once, and the header told their number."""
    path = write(tmp_path / "x", tone(n_channels), container, subtype)
    with sf.SoundFile(path) as file:
        whole = file.read(dtype="float32", always_2d=True).T
    x, reader = decode(path)
    np.testing.assert_array_equal(x, whole)
    assert (reader.sr, reader.n_channels) == (SR, n_channels)
    assert reader.header_diff == 0
    assert reader.decoder == f"soundfile {container}/{subtype}"
    header = probe(str(path))
    assert (header.sr, header.n_channels, header.n_samples) == (SR, n_channels, whole.shape[1])


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("MP3", "MPEG_LAYER_III"),
        ("OGG", "OPUS"),
        ("WAV", "IMA_ADPCM"),
    ],
)
@pytest.mark.parametrize(("offset", "duration"), [(0.0, 1.0), (1.23456, 0.5), (4.1, 5.0), (9.0, None), (12.0, 99.0)])
def test_segments_are_cut_to_the_sample(
    tmp_path: Path, container: str, subtype: str, offset: float, duration: float | None
) -> None:
    """A segment is the slice of the whole, by seeking or by decoding up to it."""
    path = write(tmp_path / "x", tone(2), container, subtype)
    whole, _ = decode(path)
    x, reader = decode(path, Track("t", str(path), offset, duration))
    start = round(offset * SR)
    stop = whole.shape[1] if duration is None else start + round(duration * SR)
    np.testing.assert_array_equal(x, whole[:, start:stop])
    assert reader.header_diff == x.shape[1] - (stop - start)


def test_channel_is_chosen(tmp_path: Path) -> None:
    """One channel of many is one channel; one that is not there is refused."""
    path = write(tmp_path / "x.wav", tone(3), "WAV", "PCM_16")
    whole, _ = decode(path)
    x, reader = decode(path, Track("t", str(path), channel=2))
    assert reader.n_channels == 1
    np.testing.assert_array_equal(x, whole[2:])
    with pytest.raises(TrackError, match="channel 3 .*counted from 0.* with 3 channels") as caught:
        open_source(Track("t", str(path), channel=3))
    assert caught.value.reason == "unsupported"


def test_paths_are_below_the_root(tmp_path: Path) -> None:
    """A relative path is opened below the manifest's root."""
    (tmp_path / "a").mkdir()
    write(tmp_path / "a/x.wav", tone(n=100), "WAV", "PCM_16")
    with open_source(Track("t", "a/x.wav"), str(tmp_path)) as reader:
        assert reader.header_samples == 100


@pytest.mark.parametrize(
    ("container", "codec", "sample_format", "step"),
    [
        ("matroska", "pcm_u8", "u8", 1 / 128),
        ("matroska", "pcm_s16le", "s16", 1 / 32768),
        ("matroska", "pcm_s32le", "s32", 1e-7),
        ("matroska", "pcm_f32le", "flt", 1e-7),
        ("matroska", "pcm_f64le", "dbl", 1e-7),
        ("mov", "alac", "s16p", 1 / 32768),
        ("matroska", "flac", "s32", 1e-7),
        ("tta", "tta", "s16", 1 / 32768),
        ("matroska", "wavpack", "fltp", 1e-7),
    ],
)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_other_decoder_scales_every_sample_format(
    tmp_path: Path, container: str, codec: str, sample_format: str, step: float, n_channels: int
) -> None:
    """Packed and planar, integer and float: full scale is 1.0 and nothing is offset."""
    x = tone(n_channels, 20_000)
    path = encode_av(tmp_path / "x", x, SR, container, codec, sample_format)
    y, reader = decode(path)
    assert reader.decoder.startswith("pyav ")
    np.testing.assert_allclose(y, x, atol=2 * step)
    part, _ = decode(path, Track("t", str(path), 0.25, 0.5))
    np.testing.assert_array_equal(part, y[:, 4000:12_000])


def test_both_decoders_agree_on_flac(tmp_path: Path) -> None:
    """FLAC read by either library is the same bit for bit."""
    path = write(tmp_path / "x.flac", tone(2), "FLAC", "PCM_24")
    inside = tmp_path / "x.mka"
    with av.open(str(path)) as source, av.open(str(inside), "w", format="matroska") as copy:
        stream = copy.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    x, one = decode(path)
    y, other = decode(inside)
    assert (one.decoder, other.decoder[:5]) == ("soundfile FLAC/PCM_24", "pyav ")
    np.testing.assert_array_equal(x, y)


def test_memory_is_that_of_a_few_blocks(tmp_path: Path) -> None:
    """An hour takes no more memory than a minute."""
    path = tmp_path / "long.wav"
    with sf.SoundFile(path, "w", 8000, 1, "PCM_U8") as file:
        for _ in range(60):
            file.write(np.zeros(60 * 8000, np.int16))
    tracemalloc.start()
    with open_source(Track("t", str(path))) as reader:
        for _ in reader.blocks():
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reader.n_decoded == 3600 * 8000
    assert peak < 4 * 2**20


def test_reader_changes_of_rate_are_told(tmp_path: Path) -> None:
    """A stream whose rate changes in the middle fails with both rates, not with garbage."""
    parts = []
    for sr in (16000, 24000):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="adts") as file:
            stream = file.add_stream("aac", rate=sr, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone(n=20 * 1024), format="fltp", layout="mono")
            frame.sample_rate = sr
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                file.mux(packet)
        parts.append(buffer.getvalue())
    (tmp_path / "x.aac").write_bytes(b"".join(parts))
    with pytest.raises(TrackError, match="the rate changes from 16000 to 24000 Hz after [0-9]+ samples; split"):
        decode(tmp_path / "x.aac")


def test_every_collection_file_decodes_or_tells_why(corpora: Path) -> None:
    """Odd but sound files decode; damaged ones fail with a known reason and a sentence."""
    failed: dict[str, TrackError] = {}
    decoded: dict[str, int] = {}
    for folder in ("formats", "broken", "video", "music"):
        for path in sorted((corpora / folder).iterdir()):
            try:
                decoded[path.name] = decode(path)[0].shape[1]
            except TrackError as error:
                failed[path.name] = error
    sound = """adpcm_ima.wav adpcm_ms.wav alaw.wav mulaw.wav mp3_in_wav.wav float64.wav example3.sph alac.m4a ep7.m4b
        mono_sine_at_44100Hz.aifc mono_sine_at_44100Hz.aiff mono_sine_at_44100Hz.caf mono_sine_at_44100Hz.ac3 empty.spx
        mono_sine_at_44100Hz.m4a mono_sine_at_44100Hz.mp4 silence-44-s.eac3 silence-1.wma silence-2.wma silence-3.wma
        silence-44-s.wv dsd.wv empty.tta silence-44-s.tak mac-396.ape click.mpc sv8_header.mpc
        5644800-2ch-s01-silence.dsf 5644800-2ch-s01-silence.dff no-tags.3g2 empty.oggflac sample_length.oggtheora
        example.opus video1.mp4 empty.aac"""
    assert not set(sound.split()) - set(decoded)
    assert decoded["silence-44-s.flac"] == 162496
    assert {error.reason for error in failed.values()} == {"decode", "empty", "unsupported"}
    assert not any("Errno" in str(error) or str(corpora) in str(error) for error in failed.values())
    assert str(failed["image.jpg"]) == "not audio: JPEG image"
    assert str(failed["emptyfile.mp3"]) == "the file is empty (0 bytes)"
    assert str(failed["sample.oggtheora"]) == "no audio stream, only video"
    assert "header claims 3726950400 samples, decoded 0" in str(failed["nero-chapters.m4b"])
    assert "OptimFROG" in str(failed["empty.ofr"])


def test_headers_of_a_whole_collection(corpora: Path) -> None:
    """Probing never fails where decoding works, and mostly tells the same rate."""
    for track in open_manifest(str(corpora / "speech")).tracks():
        header = probe(str(corpora / "speech" / track.path))
        with open_source(track, str(corpora / "speech")) as reader:
            n = sum(x.shape[1] for x in reader.blocks())
        assert (header.sr, header.n_channels, header.n_samples) == (reader.sr, reader.n_channels, n)
