"""The judges and the peers themselves: known answers, lengths, delays."""

from __future__ import annotations

import numpy as np
import pytest

from quality import judges
from quality.material import NOISES, _unit, gated, muffled, noise, wandering
from quality.peers import DENOISERS, LEVELERS, Peer, PeerError, delay_of
from quality.tables import Table, shared_out
from quality.voices import SR

#: Noises that need neither voices nor files.
MADE = [kind for kind in (*NOISES["dev"], *NOISES["test"]) if kind != "babble" and not kind.startswith("noise")]


def _speechlike(seconds: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(1)
    n = round(seconds * SR)
    envelope = np.abs(np.sin(2 * np.pi * 1.3 * np.arange(n) / SR)) ** 2
    smooth = np.convolve(rng.standard_normal(n), np.hanning(24) / 12, "same")
    return 0.1 * envelope * smooth


def test_si_sdr_of_a_known_mixture() -> None:
    """Orthogonal noise of a tenth of the amplitude is 20 dB down, whatever the scale."""
    t = np.arange(SR) / SR
    clean, other = np.sin(2 * np.pi * 100 * t), np.sin(2 * np.pi * 200 * t)
    assert judges.si_sdr_db(3.0 * (clean + 0.1 * other), clean) == pytest.approx(20.0, abs=1e-6)


def test_erle_of_a_known_residue() -> None:
    """A tenth of the amplitude is 20 dB."""
    x = _speechlike()
    assert judges.erle_db(x, 0.1 * x) == pytest.approx(20.0, abs=1e-6)


def test_edit_distance() -> None:
    """One substitution, one insertion, one deletion."""
    assert judges.n_errors(("one", "two", "three"), ("one", "six", "three", "four")) == 2
    assert judges.n_errors(("one", "two"), ()) == 2


def test_bootstrap_covers_the_mean_and_repeats() -> None:
    """The interval of a thousand normal numbers is the textbook's, and the same twice."""
    x = np.random.default_rng(0).standard_normal(1000)
    found = judges.bootstrap(x)
    assert found == judges.bootstrap(x)
    assert found.high - found.low == pytest.approx(2 * 1.96 / np.sqrt(1000), rel=0.1)


def test_spearman_of_any_monotonic_function_is_one() -> None:
    """Ranks alone count."""
    x = np.arange(20.0)
    assert judges.spearman(x, np.exp(x)) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", MADE)
def test_made_noise_is_the_same_each_time(kind: str) -> None:
    """From a fixed seed, at an RMS of 0.1, finite."""
    x = noise(kind)
    noise.cache_clear()
    assert np.array_equal(x, noise(kind))
    assert np.sqrt(np.mean(x**2)) == pytest.approx(0.1)


def test_slopes_of_the_made_noises() -> None:
    """Pink falls by 3 dB per octave, brown by 6."""
    for kind, slope in (("pink", -3.0), ("brown", -6.0), ("white", 0.0)):
        power = np.abs(np.fft.rfft(noise(kind))) ** 2
        freqs = np.fft.rfftfreq(len(noise(kind)), 1 / SR)
        low, high = (10 * np.log10(power[(freqs > f) & (freqs < 2 * f)].mean()) for f in (200.0, 1600.0))
        assert (high - low) / 3 == pytest.approx(slope, abs=0.3)


def test_muffling_and_wandering_do_what_their_names_say() -> None:
    """A tone three octaves over the corner is 36 dB down at 12 dB per octave; the level moves both ways."""
    t = np.arange(4 * SR) / SR
    rms = np.std(muffled(np.sin(2 * np.pi * 3200 * t), 12.0))
    assert 20 * np.log10(rms * np.sqrt(2)) == pytest.approx(-36, abs=0.1)
    gain_db = 20 * np.log10(wandering(np.ones(4 * SR), 20.0, np.random.default_rng(0)))
    assert (gain_db.min(), gain_db.max()) == (pytest.approx(-20.0, abs=0.01), pytest.approx(20.0, abs=0.01))


def test_gating_leaves_speech_and_silences_pauses() -> None:
    """Digital silence where the clean speech pauses, the mix elsewhere."""
    clean = np.concatenate([np.zeros(SR), 10 * _unit(_speechlike(1.0)), np.zeros(SR)])
    y = gated(clean + 0.01, clean)
    assert not y[: SR // 2].any()
    assert np.mean(y[SR : 2 * SR] != 0) > 0.5


@pytest.mark.parametrize("peer", [*DENOISERS, *LEVELERS], ids=lambda peer: peer.name)
@pytest.mark.filterwarnings("default")
def test_peers_are_aligned_and_of_the_same_length(peer: Peer) -> None:
    """What comes out lies within two samples of what went in (its delay was taken out)."""
    if peer.absence():
        pytest.skip(peer.absence())
    x = _speechlike() + 0.002 * np.random.default_rng(2).standard_normal(3 * SR)
    y = peer(x)
    shifted = np.concatenate([np.zeros(500), y])
    assert abs(delay_of(x, shifted) - 500) <= 2


def test_a_peer_that_does_nothing_is_an_error() -> None:
    """A filter that failed silently must not be taken for one that does no harm."""
    idle = Peer("idle", lambda x: x, lambda: "0")
    short = Peer("short", lambda x: x[:-1], lambda: "0")
    for peer in (idle, short):
        with pytest.raises(PeerError):
            peer(_speechlike())


def test_tables_are_markdown() -> None:
    """Heading, paragraph, head, rule, rows."""
    text = Table("T", "Said.", ("", "a"), (("x", "1"),)).markdown()
    assert text.splitlines() == ["### T", "", "Said.", "", "|  | a |", "|---|---|", "| x | 1 |"]


def test_work_is_done_in_order() -> None:
    """Results are those of a plain loop."""
    assert shared_out(abs, [-3, 2, -1]) == [3, 2, 1]
