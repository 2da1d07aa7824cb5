"""A chain over pieces, against the chain over the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from corpusdiff.errors import ParameterError
from corpusdiff.pieces.shape import needed, run_piece
from corpusdiff.pieces.share import Stretch
from corpusdiff.stages import registry
from corpusdiff.stages.base import Measured, Signal, Spectrum, run_whole
from corpusdiff.stages.chain import Chain
from corpusdiff.testing import make_signal

SR = 16000
SPECTRUM = Spectrum(np.linspace(0, 8000, 65), -20 * np.log10(1 + np.linspace(0, 8000, 65) / 500))
SIGNAL = Signal(SR, 2, Measured(-25.0, -26.0, -18.0, SPECTRUM, snr_db=50.0))

CHAINS = {
    "clear": [("highpass", {"cutoff_hz": 50.0})],
    "equalised": [("highpass", {"cutoff_hz": 80.0, "phase": "linear"}), ("timbre", {}), ("denoise", {})],
    "limited": [("highpass", {}), ("heat", {"n_fft": 384, "hop_length": 96}), ("limiter", {"ceiling_dbtp": -20.0})],
    "nothing": [],
}


def reader(x, block):
    """Blocks of a stretch of x."""

    def blocks(stretch):
        part = x[:, stretch.start : stretch.stop]
        return [part[:, at : at + block] for at in range(0, part.shape[1], block)]

    return blocks


def in_pieces(chain, x, places, block):
    """Output of every piece, each with what it needs alone, in blocks."""
    parts = []
    for start, stop in pairwise(places):
        piece = Stretch(start, stop)
        heard = needed(chain, piece, SIGNAL)
        part = np.full_like(x, np.nan)  # what was not asked for would spread
        part[:, heard.start : heard.stop] = x[:, heard.start : heard.stop]
        made = [*run_piece(chain, reader(part, block), piece, SIGNAL), np.zeros((2, 0), np.float32)]
        parts.append(np.concatenate(made, axis=1))
        assert parts[-1].shape[1] == (x.shape[1] if stop is None else min(stop, x.shape[1])) - start
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("name", CHAINS)
def test_pieces_are_the_whole(name):
    """Within 1e-6, with cuts anywhere, and bit for bit the same whatever the blocks."""
    chain = Chain(tuple(registry.create(*each) for each in CHAINS[name]))
    x = make_signal(SR, 2, 20 * SR)
    places = [0, 1, 70_001, 131_072, 131_100, 250_000, 20 * SR - 100, None]
    found = in_pieces(chain, x, places, 30_000)
    whole = run_whole(chain, x, SIGNAL)
    assert np.abs(found.astype(np.float64) - whole).max() <= 1e-6
    assert np.abs(whole).max() > 0.05
    np.testing.assert_array_equal(found, in_pieces(chain, x, places, 7_777))


def test_a_warm_up_is_needed():
    """Without one the difference is seen: the comparison above can fail."""
    chain = Chain((registry.create("highpass", {"cutoff_hz": 50.0}),))
    x = make_signal(SR, 2, 4 * SR)
    cold = run_whole(chain, x[:, 20_000:], SIGNAL)
    assert np.abs(cold - run_whole(chain, x, SIGNAL)[:, 20_000:]).max() > 1e-4


def test_little_is_heard_twice():
    """A piece of 10 minutes with the chain of clear speech is heard from 0.3 s before it at most."""
    chain = Chain((registry.create("highpass", {"cutoff_hz": 50.0}),))
    heard = needed(chain, Stretch(600 * SR, 1200 * SR), SIGNAL)
    assert 0 < 600 * SR - heard.start < 0.3 * SR
    assert heard.stop == 1200 * SR


def test_what_cannot_be_cut_is_refused():
    """A follower that a gate holds has no bound, and the error says so."""
    with pytest.raises(ParameterError, match="chain remembers all that it has heard"):
        needed(Chain((registry.create("level", {}),)), Stretch(SR), SIGNAL)
