"""What must hold of the sound, on clips that no parameter was picked on: in full, and by a sample."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from quality import codec, denoise, echo, level, recognition, snr, timbre
from quality.peers import DENOISERS

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.timeout(3600)]

_NON_NEURAL = [peer.name for peer in DENOISERS if not peer.neural]


@pytest.fixture(autouse=True)
def _tools_and_material(corpora: Path) -> None:
    for name in ("pesq", "pystoi", "pocketsphinx"):
        pytest.importorskip(name, reason="the extra `quality` is not installed")
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed: no voices to measure with")


#: What no classical method tells from speech: other speech, and clicks shorter than a frame.
_LIKE_SPEECH = {"babble", "keyboard"}


@pytest.mark.quality
def test_denoise_beats_every_peer_without_a_network() -> None:
    """Over 320 mixes at 0 to 15 dB: SI-SDR rises as promised, STOI does not fall, and PESQ rises as promised in noise
    that is neither speech nor clicks; over all kinds it rises by less, and by more than every peer's.
    """
    found = denoise.measure()
    si_sdr, pesq, stoi = found.gains(denoise.OURS)
    assert si_sdr.mean >= 5.0
    assert si_sdr.low >= 4.5
    assert stoi.mean >= 0.0
    unlike = found.only(set(found.kinds) - _LIKE_SPEECH).gains(denoise.OURS)[1]
    assert unlike.mean >= 0.54
    assert unlike.low >= 0.45
    for name in set(_NON_NEURAL) & set(found.scores):
        assert pesq.mean > found.gains(name)[1].mean, name
        assert si_sdr.mean > found.gains(name)[0].mean, name


@pytest.mark.quality
def test_the_job_for_recognisers_costs_nothing_and_helps_in_noise() -> None:
    """Clean digits lose nothing beyond the interval, no noise loses significantly, and the mean beats the best peer."""
    found = recognition.measure()
    assert found.gain(recognition.CLEAN).high >= 0.0
    assert not found.harmed()
    for peer in recognition.peers():
        assert found.in_noise(recognition.OURS).mean > found.in_noise(peer.name).mean, peer.name


@pytest.mark.quality
def test_restore_takes_back_what_a_wandering_level_costs() -> None:
    """Four fifths of the errors that wandering by 20 dB causes."""
    assert level.measure().share(level.OURS).mean >= 0.8


@pytest.mark.quality
def test_restore_opens_muffled_speech() -> None:
    """Digit accuracies of 0.82 and 0.58 lie in or under the intervals; clean speech loses nothing beyond its own."""
    found = timbre.measure()
    assert found.after["-12 dB per octave"].accuracy.high >= 0.82
    assert found.after["-24 dB per octave"].accuracy.high >= 0.58
    assert found.after["clean"].over(found.before["clean"]).high >= 0.0


@pytest.mark.quality
def test_echo_goes_and_the_near_end_stays() -> None:
    """ERLE, SI-SDR and PESQ on a linear path, and behind a loudspeaker that clips."""
    found = echo.measure()
    assert found.mean(echo.OURS, "linear", "erle_db") >= 28.0
    assert found.mean(echo.OURS, "linear", "si_sdr_db") >= 20.0
    assert found.mean(echo.OURS, "linear", "pesq") >= 2.8
    assert found.mean(echo.OURS, "clipping", "erle_db") >= 21.0
    assert found.mean(echo.OURS, "clipping", "si_sdr_db") >= 9.0


@pytest.mark.quality
def test_the_estimated_snr_is_near_the_truth() -> None:
    """Spearman 0.93, mean error under 2.5 dB, and no gated recording at the cap."""
    found = snr.measure()
    assert found.rank_correlation >= 0.93
    assert found.error_db < 2.5
    assert found.saturated == 0.0


@pytest.mark.quality
def test_denoised_speech_codes_better_and_clean_speech_is_left_as_large_by_diffusion() -> None:
    """Denoised noisy speech is smaller in FLAC and better in Opus, with certainty."""
    found = codec.measure()
    assert found.table().rows
    assert np.mean(found.flac) < 1.0
    assert codec.bootstrap(found.flac).high < 1.0
    assert codec.bootstrap(found.opus).low > 0.0


@pytest.mark.quality_short
def test_a_few_mixes_are_denoised() -> None:
    """Over 16 mixes: better than untreated, and than the worst of the peers."""
    found = denoise.measure(denoise.N_SHORT)
    si_sdr, pesq, stoi = found.gains(denoise.OURS)
    assert si_sdr.low > 1.0
    assert pesq.low > 0.1
    assert stoi.high > -0.02


@pytest.mark.quality_short
def test_a_few_streams_are_heard_as_before() -> None:
    """Clean ones lose no more than a digit in fifteen, and over all noises nothing is lost."""
    found = recognition.measure(recognition.N_SHORT)
    assert found.gain(recognition.CLEAN).mean > -1 / 15
    assert found.in_noise(recognition.OURS).high >= 0.0


@pytest.mark.quality_short
def test_a_few_streams_are_restored() -> None:
    """Wandering and muffled speech is heard better after the job."""
    leveled, opened = level.measure(level.N_SHORT), timbre.measure(timbre.N_SHORT)
    assert leveled.heard[level.OURS].over(leveled.heard["untreated"]).mean > 0.0
    muffled = "-24 dB per octave"
    assert opened.after[muffled].over(opened.before[muffled]).mean > 0.0


@pytest.mark.quality_short
def test_an_echo_is_cancelled() -> None:
    """One scene of each kind."""
    found = echo.measure(echo.N_SHORT)
    assert found.mean(echo.OURS, "linear", "erle_db") > 15.0


@pytest.mark.quality_short
def test_a_few_ratios_are_estimated() -> None:
    """Over 48 mixes."""
    found = snr.measure(snr.N_SHORT)
    assert found.rank_correlation > 0.8
    assert found.error_db < 4.0


@pytest.mark.quality_short
def test_a_few_clips_code_better() -> None:
    """Over a dozen."""
    found = codec.measure(codec.N_SHORT)
    assert codec.bootstrap(found.flac).mean < 1.0
    assert codec.bootstrap(found.opus).mean > 0.0
