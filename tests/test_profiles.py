"""`profile`: the document, and what is measured over a recording or a corpus."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile as sf
from click.testing import CliRunner

from corpusdiff.cli import main
from corpusdiff.errors import UsageError
from corpusdiff.jobfile import load_job
from corpusdiff.metrics import Meter
from corpusdiff.onefile import apply
from corpusdiff.profiles import read_measured, write_profile
from corpusdiff.profiling import GRID_HZ, Totals, profile_source
from corpusdiff.stages.base import Measured, Spectrum

SR = 16000


def shaped_noise(seconds: float, sr: int, db_per_octave: float, seed: int = 0, rms: float = 0.05) -> np.ndarray:
    """(n,) noise whose spectrum falls by so much from 60 Hz on."""
    n = round(seconds * sr)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(n, 1 / sr), 60.0) / 60.0)
    x = np.fft.irfft(spectrum * 10 ** (db_per_octave * octaves / 20), n)
    return (rms * x / np.sqrt(np.mean(x**2))).astype(np.float32)


def slope_db_per_octave(measured: Measured, low_hz: float, high_hz: float) -> float:
    """Of the spectrum between two frequencies."""
    spectrum = measured.spectrum
    band = (spectrum.freqs_hz >= low_hz) & (spectrum.freqs_hz <= high_hz)
    return float(np.polyfit(np.log2(spectrum.freqs_hz[band]), spectrum.power_db[band], 1)[0])


def unheard(line: str) -> None:
    """No line is expected."""
    raise AssertionError(line)


def metered(x: np.ndarray, sr: int) -> Measured:
    """What the first pass measures of it."""
    meter = Meter(sr, 1)
    meter.update(x[None])
    return meter.finish().measured


def test_one_file_gives_the_meters_own_values(tmp_path):
    """Spectrum, loudness, levels and SNR of a single recording are what the first pass measures of it."""
    x = shaped_noise(3.0, SR, -3.0)
    sf.write(tmp_path / "a.wav", x, SR, subtype="FLOAT")
    found = profile_source(str(tmp_path / "a.wav"), unheard, workers=1)
    expected = metered(x, SR)
    np.testing.assert_allclose(found.measured.spectrum.power_db, expected.spectrum.power_db, atol=1e-9)
    assert np.array_equal(found.measured.spectrum.freqs_hz, expected.spectrum.freqs_hz)
    for name in ("loudness_lufs", "level_dbfs", "peak_level_dbfs", "snr_db", "noise_dbfs"):
        assert getattr(found.measured, name) == pytest.approx(getattr(expected, name), abs=1e-9)
    assert (found.tracks, found.seconds, found.failed) == (1, 3.0, 0)


def test_pink_noise_falls_by_3_db_per_octave(tmp_path):
    """At each of three rates, through the command, the JSON document and back."""
    for sr in (8000, 22050, 48000):
        sf.write(tmp_path / f"{sr}.wav", shaped_noise(8.0, sr, -3.01), sr)
    result = CliRunner().invoke(main, ["profile", str(tmp_path), str(tmp_path / "out.json"), "--workers", "2"])
    assert result.exit_code == 0, result.output
    measured = read_measured(tmp_path / "out.json")
    assert slope_db_per_octave(measured, 100, 16000) == pytest.approx(-3.01, abs=0.1)
    assert measured.spectrum.freqs_hz[-1] == 24000
    document = json.loads((tmp_path / "out.json").read_text())
    assert (document["tracks"], document["seconds"]) == (3, 24.0)


def test_a_loud_or_long_track_does_not_dominate():
    """Whichever of two is 60 dB louder and an hour longer, the mean spectrum is the same; levels are medians."""
    grid = np.arange(257) * 31.25
    dull, bright = np.where(grid < 500, 0.0, -30.0), np.where(grid < 500, -30.0, 0.0)

    def mixed(dull_db: float, bright_db: float, dull_s: float) -> Measured:
        totals = Totals()
        for power_db, level_db, seconds in ((dull, dull_db, dull_s), (bright, bright_db, 1.0)):
            totals.add(Measured(math.nan, level_db, level_db, Spectrum(grid, power_db + level_db)), seconds)
        return totals.measured()

    one, other = mixed(0.0, -60.0, 3600.0), mixed(-60.0, 0.0, 1.0)
    np.testing.assert_allclose(one.spectrum.power_db, other.spectrum.power_db, atol=1e-9)
    assert abs(one.spectrum.power_db[8] - one.spectrum.power_db[64]) < 29  # of either alone it would be 30
    assert one.level_dbfs == -30.0
    assert math.isnan(one.loudness_lufs)


def test_the_order_and_number_of_workers_change_nothing(tmp_path):
    """Bit for bit."""
    for i in range(6):
        sf.write(tmp_path / f"{i}.wav", shaped_noise(1.0, SR, -i, seed=i), SR)
    one = profile_source(str(tmp_path), unheard, workers=1)
    three = profile_source(str(tmp_path), unheard, workers=2)
    assert one.measured.to_dict() == three.measured.to_dict()
    assert profile_source(str(tmp_path), unheard, workers=2, limit=2).tracks == 2


def test_a_file_that_cannot_be_read_is_a_line(tmp_path):
    """The rest is measured; nothing that can be is an error."""
    sf.write(tmp_path / "a.wav", shaped_noise(1.0, SR, 0.0), SR)
    (tmp_path / "b.wav").write_text("no sound")
    result = CliRunner().invoke(main, ["profile", str(tmp_path), str(tmp_path / "o.json"), "--json", "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["failed"] == 1
    assert result.stderr.startswith("corpusdiff: b.wav: ")
    (tmp_path / "a.wav").unlink()
    result = CliRunner().invoke(main, ["profile", str(tmp_path), str(tmp_path / "o.json"), "--workers", "1"])
    assert result.exit_code == 1
    assert "none of 1 tracks can be measured" in result.stderr


def test_silence_counts_without_a_spectrum(tmp_path):
    """Its spectrum is left out of the mean, and alone it is a flat floor without a level."""
    sf.write(tmp_path / "silence.wav", np.zeros(SR), SR)
    alone = profile_source(str(tmp_path), unheard, workers=1).measured
    assert math.isnan(alone.level_dbfs)
    x = shaped_noise(1.0, SR, -6.0)
    sf.write(tmp_path / "x.wav", x, SR, subtype="FLOAT")
    both = profile_source(str(tmp_path), unheard, workers=1)
    assert both.tracks == 2
    np.testing.assert_allclose(both.measured.spectrum.power_db, metered(x, SR).spectrum.power_db, atol=1e-9)


def test_timbre_moves_a_muffled_file_toward_the_profile(tmp_path):
    """Through the job file: the slope of a muffled recording comes most of the way to that of the profiled corpus."""
    for i in range(3):
        sf.write(tmp_path / f"{i}.wav", shaped_noise(4.0, SR, -3.0, seed=i), SR)
    found = profile_source(str(tmp_path), unheard, workers=1)
    write_profile(tmp_path / "pink.json", found.measured, found.tracks, found.seconds)
    (tmp_path / "toward.toml").write_text(
        '[[chain]]\nstage = "timbre"\nmode = "profile"\nprofile = "pink.json"\nk = -0.9\nsteps = 1\n'
        "max_boost_db = 40.0\nmax_cut_db = 40.0\n"
    )
    muffled = shaped_noise(4.0, SR, -9.0, seed=9)
    moved = apply(muffled, SR, load_job(str(tmp_path / "toward.toml")))
    before, after = (slope_db_per_octave(metered(x, SR), 200, 7000) for x in (muffled, moved[0]))
    assert before == pytest.approx(-9.0, abs=0.5)
    assert after == pytest.approx(-3.6, abs=0.6)  # a tenth of the deviation is left


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "JSONDecodeError"),
        ("[1]", "expected a JSON file"),
        ('{"freqs_hz": [0, 1]}', "KeyError('power_db')"),
        ('{"freqs_hz": [0, 1], "power_db": [0]}', "two lists of one length"),
        ('{"freqs_hz": [1, 0], "power_db": [0, 0]}', "must rise"),
        ('{"freqs_hz": [0, 1], "power_db": [0, NaN]}', "finite"),
        ('{"freqs_hz": [0, 1], "power_db": [0, 0], "level_dbfs": "x"}', "could not convert"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(tmp_path, text, what):
    """With what is wrong and what was expected."""
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="expected a JSON file") as caught:
        read_measured(path)
    assert what in str(caught.value)


def test_numbers_that_are_not_known_may_be_absent(tmp_path):
    """A spectrum alone is a profile, as `timbre` takes it."""
    (tmp_path / "a.json").write_text('{"freqs_hz": [0, 8000], "power_db": [0, -20]}')
    measured = read_measured(tmp_path / "a.json")
    assert math.isnan(measured.level_dbfs)
    write_profile(tmp_path / "b.json", measured, 1, 2.0)
    assert read_measured(tmp_path / "b.json").spectrum.at(np.array([4000.0])) == -10.0
    with pytest.raises(UsageError, match="cannot be written"):
        write_profile(tmp_path / "no" / "c.json", measured, 1, 2.0)


def test_the_grid_is_that_of_the_usual_rates():
    """At 8, 16 and 32 kHz nothing is interpolated."""
    for sr in (8000, 16000, 32000):
        assert np.isin(metered(shaped_noise(0.2, sr, 0.0), sr).spectrum.freqs_hz, GRID_HZ).all()
