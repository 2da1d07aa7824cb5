"""Files by their extension."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf

from corpusdiff.dsp.dither import quantize
from corpusdiff.encode.audiofile import EXTENSIONS, LOSSLESS, LOSSY, dither_key, write_audio
from corpusdiff.errors import TrackError, UsageError
from corpusdiff.source.audiofile import read_audio
from corpusdiff.specs import OutputSpec

SR = 16000


def voice(n_channels: int = 1, seconds: float = 1.5) -> np.ndarray:
    """Noise bursts at another level in each channel."""
    rng = np.random.default_rng(5)
    time_s = np.arange(int(SR * seconds)) / SR
    x = 0.2 * np.sin(2 * np.pi * 300 * time_s) + 0.05 * rng.standard_normal(len(time_s))
    return (np.stack([x * 0.7**i for i in range(n_channels)]) * (0.6 + 0.4 * np.sin(9 * time_s))).astype(np.float32)


@pytest.mark.parametrize("extension", LOSSLESS)
@pytest.mark.parametrize("bits", [16, 24, 32])
def test_a_lossless_file_gives_back_what_was_quantised(tmp_path, extension, bits):
    """Sample for sample what the corpus's own quantiser makes of it, whatever the blocks were."""
    if extension == ".flac" and bits == 32:
        pytest.skip("FLAC has no float")
    x = voice(2)
    path = tmp_path / f"a{extension}"
    assert write_audio(path, np.array_split(x, 7, axis=1), SR, 2, bits, track_id="t") == x.shape[1]
    if bits == 32:
        expected = x
    else:
        expected = quantize(x, bits, True, dither_key("t"), 0).astype(np.float64) / 2 ** (15 if bits == 16 else 31)
    y, sr = read_audio(path)
    assert sr == SR
    np.testing.assert_array_equal(y, expected.astype(np.float32))


@pytest.mark.parametrize("extension", LOSSY)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_lossy_file_is_aligned_and_near(tmp_path, extension, n_channels):
    """The decoded signal is the one that went in, at its place: 1024 samples late in bare AAC alone."""
    x = voice(n_channels)
    path = tmp_path / f"a{extension}"
    write_audio(path, [x], SR, n_channels)
    y, sr = read_audio(path)
    late = 1024 if extension == ".aac" else 0
    assert (sr, y.shape[0]) == (SR, n_channels)
    assert 0 <= y.shape[1] - late - x.shape[1] < (1024 if extension in {".m4a", ".aac"} else 1)
    y = y[:, late : late + x.shape[1]]
    inside = slice(2000, -2000)
    error = np.mean((y - x)[:, inside] ** 2) / np.mean(x[:, inside] ** 2)
    assert error < 0.1, f"{10 * np.log10(error):.1f} dB"


def test_equal_audio_gives_equal_bytes(tmp_path):
    """In every format, and whatever the blocks are."""
    x = voice()
    for extension in EXTENSIONS:
        found = set()
        for n_blocks in (1, 5):
            write_audio(tmp_path / f"a{extension}", np.array_split(x, n_blocks, axis=1), SR, 1)
            found.add((tmp_path / f"a{extension}").read_bytes())
        assert len(found) == 1, extension


def test_the_output_of_a_job_sets_bits_and_rate(tmp_path):
    """Where it fits the format; elsewhere the usual ones hold."""
    x = voice()
    write_audio(tmp_path / "a.wav", [x], SR, 1, output=OutputSpec(encoding="flac", bits=24))
    assert sf.info(tmp_path / "a.wav").subtype == "PCM_24"
    write_audio(tmp_path / "a.flac", [x], SR, 1, output=OutputSpec(encoding="pcm", bits=32))
    assert sf.info(tmp_path / "a.flac").subtype == "PCM_24"
    sizes = []
    for kbps in (12, 48):
        write_audio(tmp_path / "a.opus", [x], SR, 1, output=OutputSpec(encoding="opus", bitrate_kbps=kbps))
        sizes.append((tmp_path / "a.opus").stat().st_size)
    assert sizes[1] > 2.5 * sizes[0]


def test_a_file_is_there_whole_or_not_at_all(tmp_path):
    """Blocks that end in an error leave what was there before, and nothing beside it."""
    path = tmp_path / "a.wav"
    write_audio(path, [voice()], SR, 1)
    before = path.read_bytes()

    def breaks():
        yield voice()
        raise TrackError("decode", "damaged")

    for name in ("a.wav", "b.flac", "c.opus"):
        with pytest.raises(TrackError, match="damaged"):
            write_audio(tmp_path / name, breaks(), SR, 1)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize(
    ("name", "sr", "n_channels", "bits", "words"),
    [
        ("a.xyz", SR, 1, None, "no audio format is called .xyz; give one of .wav .w64"),
        ("a", SR, 1, None, "the name has no extension"),
        ("a.opus", 44100, 1, None, "opus has no 44100 Hz; set source.sr to one of 8000"),
        ("a.m4a", 192000, 1, None, "m4a has no 192000 Hz"),
        ("a.mp3", SR, 3, None, "at most 2 channels"),
        ("a.flac", SR, 9, None, "at most 8 channels"),
        ("a.flac", SR, 1, 32, "got 32 bits; give one of 16, 24"),
        ("a.mp3", SR, 1, 16, "a lossy format has no bits per sample"),
        ("nowhere/a.wav", SR, 1, None, "there is no folder"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_with_the_remedy(tmp_path, name, sr, n_channels, bits, words):
    """Before anything is written."""
    with pytest.raises(UsageError, match=words.replace(".", "[.]")):
        write_audio(tmp_path / name, [voice(n_channels)], sr, n_channels, bits)
    assert not list(tmp_path.iterdir())


def test_more_than_a_header_can_say_is_refused(tmp_path, monkeypatch):
    """A WAV ends at 4 GiB; formats that do not are named."""
    monkeypatch.setattr("corpusdiff.encode.audiofile._MOST_BYTES", 1000)
    with pytest.raises(TrackError, match="w64"):
        write_audio(tmp_path / "a.wav", [voice()], SR, 1)
    write_audio(tmp_path / "a.w64", [voice()], SR, 1)
