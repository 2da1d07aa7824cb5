"""Level wandering inside a recording: how much of the harm to a recogniser is taken back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from quality import ours
from quality.heard import Heard, count_errors, share_taken_back
from quality.judges import Interval
from quality.material import wandering
from quality.peers import LEVELERS, present
from quality.tables import Table, shared_out
from quality.voices import digit_streams

#: The level goes up and down by so much, twice that from the softest to the loudest, and once in so long.
DEPTH_DB, PERIOD_S = 10.0, 10.0

#: What is hard for everybody: twice as deep, or faster.
HARDER = ((20.0, 10.0), (10.0, 4.0))

N_FULL, N_SHORT, N_DIGITS = 32, 6, 20

OURS = "corpusdiff restore"

_BEFORE, _CLEAN = "untreated", "without the wandering"


@dataclass(frozen=True)
class Leveled:
    """Errors of each treatment of the same streams."""

    heard: dict[str, Heard]
    depth_db: float = DEPTH_DB
    period_s: float = PERIOD_S

    def share(self, name: str) -> Interval:
        """Part of the errors caused by the wandering that the treatment takes back."""
        return share_taken_back(self.heard[_CLEAN], self.heard[_BEFORE], self.heard[name])

    def table(self) -> Table:
        """Treatments by accuracy."""
        rows = [
            (name, str(self.heard[name].accuracy), "" if name in {_BEFORE, _CLEAN} else str(self.share(name)))
            for name in sorted(self.heard, key=lambda name: -self.heard[name].accuracy.mean)
        ]
        first = self.heard[_CLEAN]
        said = (
            f"{len(first.errors)} streams of {first.n_words} spoken digits whose level wanders by "
            f"{2 * self.depth_db:g} dB and back once in {self.period_s:g} s. Digit accuracy, and the share of the "
            "errors caused that is taken back."
        )
        return Table(
            f"Level that wanders by {2 * self.depth_db:g} dB in {self.period_s:g} s",
            said,
            ("", "digit accuracy", "taken back"),
            tuple(rows),
        )


def treatments() -> dict[str, ours.Treatment]:
    """Ours and the peers that can run here."""
    return {OURS: ours.job("restore"), **{peer.name: peer for peer in present(LEVELERS)}}


def _judge(index: int, split: str, n: int, depth_db: float, period_s: float) -> dict[str, int]:
    said = digit_streams(split, n, N_DIGITS)[index]
    x = wandering(said.audio, depth_db, np.random.default_rng([19, index]), period_s)
    found = {name: count_errors(said, treat(x)) for name, treat in treatments().items()}
    return {_CLEAN: count_errors(said, said.audio), _BEFORE: count_errors(said, x), **found}


def measure(n: int = N_FULL, split: str = "test", depth_db: float = DEPTH_DB, period_s: float = PERIOD_S) -> Leveled:
    """Over `n` streams of a split."""
    found = shared_out(partial(_judge, split=split, n=n, depth_db=depth_db, period_s=period_s), range(n))
    n_words = len(digit_streams(split, n, N_DIGITS)[0].words)
    heard = {name: Heard(np.array([errors[name] for errors in found], float), n_words) for name in found[0]}
    return Leveled(heard, depth_db, period_s)


def harder(n: int) -> list[Table]:
    """The same where nobody does well."""
    return [measure(n, "test", *what).table() for what in HARDER]
