"""`jobs --response`: what a chain measurably does is what its stages say."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner

from corpusdiff.cli import main
from corpusdiff.dsp.filters import butterworth_highpass, power_response
from corpusdiff.errors import UsageError
from corpusdiff.job import Job, Rule
from corpusdiff.response import chain_response, job_responses, pink_noise, write_responses
from corpusdiff.specs import SourceSpec
from corpusdiff.stages.frame_gain import FrameGain
from corpusdiff.stages.gain import Gain
from corpusdiff.stages.highpass import Highpass
from corpusdiff.stages.level import Level
from corpusdiff.stages.timbre import Timbre
from corpusdiff.units import power_to_db

SR = 16000


@pytest.mark.parametrize(("cutoff_hz", "order", "sr"), [(50.0, 2, 8000), (80.0, 4, 16000), (200.0, 8, 48000)])
def test_a_highpass_measures_as_its_sections_compute(cutoff_hz, order, sr):
    """Within 0.05 dB down to -60 dB, and the chain is found to be linear."""
    found = chain_response((Highpass(cutoff_hz, order),), sr)
    expected = power_to_db(power_response(butterworth_highpass(cutoff_hz, order, sr), found.freqs_hz, sr))
    assert np.abs(found.gain_db - expected)[expected > -60].max() < 0.05
    assert found.coherence.min() > 0.99
    assert found.freqs_hz[0] == pytest.approx(20, abs=1)
    assert found.freqs_hz[-1] == pytest.approx(0.475 * sr, rel=0.01)


def test_a_gain_of_minus_6_db_is_flat_in_frequency_and_level():
    """Nothing else is."""
    found = chain_response((Gain(gain_db=-6.0),), SR)
    assert np.abs(found.gain_db + 6.0).max() < 1e-4
    assert np.abs(found.level_gain_db + 6.0).max() < 1e-4
    assert found.latency == 0


def test_the_map_of_a_level_stage_is_its_compressor():
    """(rho^T - 1) (L - R) within the bounds, and 0 dB under the floor gate."""
    stage = Level(k=-0.5, steps=1, reference_dbfs=-25.0, max_boost_db=9.0)
    found = chain_response((stage,), SR)
    louder = found.levels_dbfs > -35
    expected = np.minimum(-0.5 * (found.levels_dbfs + 25.0), 9.0)
    np.testing.assert_allclose(found.level_gain_db[louder], expected[louder], atol=0.2)
    assert found.level_gain_db[found.levels_dbfs <= -50].tolist() == pytest.approx([0.0] * 5, abs=1e-3)
    assert found.latency == SR // 100


def test_timbre_flattens_the_pink_noise():
    """Its gain rises by as much as the noise falls, half of it: the spectrum-dependent stage acted."""
    found = chain_response((Timbre(k=-0.5, steps=1, max_boost_db=60, max_cut_db=60, low_hz=0),), SR)
    band = (found.freqs_hz > 500) & (found.freqs_hz < 6000)
    slope = np.polyfit(np.log2(found.freqs_hz[band]), found.gain_db[band], 1)[0]
    assert slope == pytest.approx(1.5, abs=0.1)


def test_what_is_not_linear_has_less_coherence():
    """A stage that jumps at the edges of its frames is told from a filter."""
    assert chain_response((FrameGain(frame_length=256),), SR).coherence.min() < 0.99


def test_a_job_is_measured_chain_by_chain_even_with_a_far_end():
    """Each rule's and the job's own, at the job's rate; an echo stage's reference is silent then."""
    job = Job(
        "two",
        source=SourceSpec(sr=8000, channels=1, reference_channel=1),
        rules=(Rule("quiet", "rms_dbfs < -40", (Gain(gain_db=6.0),)),),
    )
    found = job_responses(job)
    assert [*found] == ["quiet", "default"]
    assert np.abs(found["quiet"].gain_db - 6).max() < 1e-4
    assert np.abs(found["default"].gain_db).max() < 1e-9
    assert found["default"].freqs_hz[-1] < 4000
    with pytest.raises(UsageError, match="does not fit 1000 Hz"):
        job_responses(Job("no", source=SourceSpec(sr=1000), chain=(Highpass(cutoff_hz=600.0),)))


def test_the_noise_has_equal_power_in_every_octave():
    """Within 0.3 dB, and is the same each time."""
    x = pink_noise(SR)
    power = np.abs(np.fft.rfft(x)) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / SR)
    octaves = [power[(hz >= low) & (hz < 2 * low)].sum() for low in (125, 250, 500, 1000, 2000)]
    assert np.ptp(power_to_db(octaves)) < 0.3
    assert np.array_equal(x, pink_noise(SR))


def test_the_command_writes_numbers_a_page_or_a_table(tmp_path):
    """CSV and JSON hold the same values; the page is one file; without a file a table is printed."""
    job = tmp_path / "my.toml"
    job.write_text('[source]\nsr = 8000\n[[chain]]\nstage = "gain"\ngain_db = -6.0\n')
    for kind in ("html", "csv", "json"):
        result = CliRunner().invoke(main, ["jobs", str(job), "--response", str(tmp_path / f"r.{kind}")])
        assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "r.json").read_text())
    with (tmp_path / "r.csv").open() as file:
        rows = [*csv.DictReader(file)]
    by_frequency = [row for row in rows if row["freq_hz"]]
    assert [float(row["gain_db"]) for row in by_frequency] == document["chains"]["default"]["gain_db"]
    assert {row["gain_db"] for row in rows} == {"-6.0000"}
    page = (tmp_path / "r.html").read_text()
    assert "<script src=" not in page
    assert "Gain over frequency" in page
    printed = CliRunner().invoke(main, ["jobs", str(job), "--response"])
    assert printed.exit_code == 0, printed.output
    assert "  1000    -6.0" in printed.stdout, printed.stdout


def test_other_files_are_refused(tmp_path):
    """Before the disk is touched, with what is known."""
    job = Job("empty", source=SourceSpec(sr=8000))
    found = job_responses(job)
    with pytest.raises(UsageError, match=r"ends in \.html, \.csv or \.json"):
        write_responses(found, job, str(tmp_path / "r.png"))
    with pytest.raises(UsageError, match="cannot be written"):
        write_responses(found, job, str(tmp_path / "no" / "r.html"))
