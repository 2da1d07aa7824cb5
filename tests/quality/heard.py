"""Streams of digits through a treatment and a recogniser: errors of each stream, and what can be said of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quality.judges import Interval, bootstrap, n_errors, recognise
from quality.voices import Mono, Utterance


@dataclass(frozen=True)
class Heard:
    """Errors on streams of equal length.

    Parameters
    ----------
    errors : (n_streams,) edit distance of each stream
    n_words : digits of a stream
    """

    errors: NDArray[np.float64]
    n_words: int

    @property
    def accuracy(self) -> Interval:
        """1 - edit distance / digits, bootstrapped over streams."""
        return bootstrap(1.0 - self.errors / self.n_words)

    def over(self, other: Heard, level: float = 0.05) -> Interval:
        """Accuracy less that of another treatment of the same streams, paired."""
        return bootstrap((other.errors - self.errors) / self.n_words, level=level)


def count_errors(utterance: Utterance, x: Mono) -> int:
    """Edit distance of what the recogniser hears in `x` from what was said."""
    return n_errors(utterance.words, recognise(x, digits=True))


def share_taken_back(clean: Heard, harmed: Heard, treated: Heard) -> Interval:
    """Part of the errors that the harm causes that the treatment takes back, bootstrapped over streams."""
    rng = np.random.default_rng(17)
    picks = rng.integers(0, len(clean.errors), (10_000, len(clean.errors)))
    caused = (harmed.errors - clean.errors)[picks].mean(axis=1)
    back = (harmed.errors - treated.errors)[picks].mean(axis=1)
    shares = back / np.where(np.abs(caused) < 1e-9, np.nan, caused)
    low, high = np.nanquantile(shares, [0.025, 0.975])
    whole = (harmed.errors - treated.errors).mean() / (harmed.errors - clean.errors).mean()
    return Interval(float(whole), float(low), float(high))
