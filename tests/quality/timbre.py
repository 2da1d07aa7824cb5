"""Muffled speech: what a recogniser hears before and after its long-term spectrum is drawn toward that of speech."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from quality import ours
from quality.heard import Heard, count_errors
from quality.material import low_passed, muffled
from quality.tables import Table, shared_out
from quality.voices import Mono, digit_streams

#: What muffles.
HARMS: dict[str, Callable[[Mono], Mono]] = {
    "clean": lambda x: x,
    "-12 dB per octave": partial(muffled, db_per_octave=12.0),
    "-24 dB per octave": partial(muffled, db_per_octave=24.0),
    "1 kHz low-pass": partial(low_passed, cutoff_hz=1000.0),
}

N_FULL, N_SHORT = 48, 6

OURS = "corpusdiff restore"


@dataclass(frozen=True)
class Brightened:
    """Errors before and after, by harm."""

    before: dict[str, Heard]
    after: dict[str, Heard]

    def table(self) -> Table:
        """One row for each harm."""
        rows = [
            (harm, str(self.before[harm].accuracy), str(after.accuracy), str(after.over(self.before[harm])))
            for harm, after in self.after.items()
        ]
        first = self.before["clean"]
        said = (
            f"{len(first.errors)} streams of {first.n_words} spoken digits. No peer measured does this by itself. "
            "Digit accuracy before and after, and the paired difference."
        )
        return Table("Muffled speech", said, ("", "untreated", OURS, "difference"), tuple(rows))


def _judge(index: int, split: str, n: int) -> dict[str, tuple[int, int]]:
    said, treat = digit_streams(split, n)[index], ours.job("restore")
    found = {}
    for name, harm in HARMS.items():
        x = harm(said.audio)
        found[name] = count_errors(said, x), count_errors(said, treat(x))
    return found


def measure(n: int = N_FULL, split: str = "test") -> Brightened:
    """Over `n` streams of a split."""
    found = shared_out(partial(_judge, split=split, n=n), range(n))
    n_words = len(digit_streams(split, n)[0].words)
    counted = {harm: np.array([errors[harm] for errors in found], float) for harm in HARMS}
    return Brightened(
        {harm: Heard(errors[:, 0], n_words) for harm, errors in counted.items()},
        {harm: Heard(errors[:, 1], n_words) for harm, errors in counted.items()},
    )
