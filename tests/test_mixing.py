"""Mixing stems: the sum, to the sample, never over the ceiling."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from corpusdiff.cli import main
from corpusdiff.dsp.loudness import LoudnessMeter
from corpusdiff.errors import UsageError
from corpusdiff.mixing import Stem, mix_files
from corpusdiff.source.audiofile import read_audio

SR = 16000
RNG = np.random.default_rng(4)


@pytest.fixture
def stems(tmp_path):
    """Two stems of one rate, the second stereo and longer, and one of another rate."""
    audio = {
        "a": (0.05 * RNG.standard_normal((70_000, 1)), SR),
        "b": (0.05 * RNG.standard_normal((90_001, 2)), SR),
        "c": (0.05 * RNG.standard_normal((8_000, 1)), 8000),
    }
    for name, (x, sr) in audio.items():
        sf.write(tmp_path / f"{name}.wav", x, sr, "FLOAT")
    return {name: (str(tmp_path / f"{name}.wav"), x.astype(np.float32)) for name, (x, _) in audio.items()}


def test_a_mix_is_the_sum_of_its_stems(stems, tmp_path):
    """With gains and offsets, as long as what ends last, mono on both sides."""
    (a, x), (b, y), _ = stems.values()
    n = mix_files([Stem(a, gain_db=-6.0, offset_s=2.5), Stem(b)], str(tmp_path / "mix.wav"), bits=32)
    mixed, sr = read_audio(tmp_path / "mix.wav")
    expected = np.zeros((2, 40_000 + 70_000))
    expected[:, :90_001] += y.T
    expected[:, 40_000:] += 10 ** (-6 / 20) * x.T
    assert (n, sr) == (110_000, SR)
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


def test_stems_of_other_rates_come_to_the_highest(stems, tmp_path):
    """Or to the rate that is asked."""
    (a, _), _, (c, _) = stems.values()
    assert mix_files([Stem(a), Stem(c)], str(tmp_path / "mix.wav")) == 70_000
    assert read_audio(tmp_path / "mix.wav")[1] == SR
    assert mix_files([Stem(c)], str(tmp_path / "mix.flac"), sr=44100) == 44_100


def test_loudness_is_set_and_peaks_are_limited(stems, tmp_path):
    """A target in LUFS; and a sum over full scale ends under it."""
    a, b, _ = (path for path, _ in stems.values())
    mix_files([Stem(a), Stem(b)], str(tmp_path / "mix.flac"), target_lufs=-20.0)
    mixed, _ = read_audio(tmp_path / "mix.flac")
    meter = LoudnessMeter(SR, 2)
    meter.update(mixed)
    assert meter.finish().integrated_lufs == pytest.approx(-20.0, abs=0.1)
    mix_files([Stem(a, gain_db=30.0), Stem(b, gain_db=30.0)], str(tmp_path / "loud.wav"), bits=32)
    assert np.abs(read_audio(tmp_path / "loud.wav")[0]).max() < 10 ** (-1 / 20) + 1e-3


def test_what_cannot_be_mixed_is_named(stems, tmp_path):
    """A stem that is missing or damaged, an output that is a stem, options for more stems than there are."""
    a = stems["a"][0]
    (tmp_path / "x.wav").write_text("no sound")
    for bad in ("absent.wav", "x.wav"):
        with pytest.raises(UsageError, match=bad):
            mix_files([Stem(a), Stem(str(tmp_path / bad))], str(tmp_path / "mix.wav"))
    with pytest.raises(UsageError, match="is a stem too"):
        mix_files([Stem(a)], a)
    assert not (tmp_path / "mix.wav").exists()
    done = CliRunner().invoke(main, ["mix", a, "-o", str(tmp_path / "o.wav"), "--gain", "1", "--gain", "2"])
    assert (done.exit_code, "--gain is given 2 times" in done.stderr) == (2, True)
    done = CliRunner().invoke(main, ["mix", a, "-o", str(tmp_path / "o.wav"), "--gain", "1"])
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'o.wav'}: 70000 samples\n")
