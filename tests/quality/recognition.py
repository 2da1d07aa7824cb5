"""What a recogniser hears of digits, clean and in noise, before and after the job for recognisers and the peers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from quality import ours
from quality.heard import Heard, count_errors
from quality.judges import Interval, bootstrap, n_errors, recognise
from quality.material import mixed, noises
from quality.peers import DENOISERS, Peer, present
from quality.tables import Table, shared_out
from quality.voices import SPLITS, Utterance, digit_streams, read_sentences

#: Noise is added at these in turn.
SNRS_DB = (0.0, 5.0, 10.0)

CLEAN = "clean"
OURS = "corpusdiff asr"
UNTREATED = "untreated"

N_FULL, N_SHORT = 30, 3

_PEERS = ("RNNoise", "noisereduce", "ffmpeg afftdn", "WebRTC NS", "speexdsp")


@dataclass(frozen=True)
class Recognised:
    """Errors.

    Parameters
    ----------
    heard : by condition (`CLEAN` or a kind of noise) and treatment
    sentences : word error rate on the clean read sentences, by treatment
    """

    heard: dict[str, dict[str, Heard]]
    sentences: dict[str, float]

    def accuracy(self, condition: str, name: str) -> Interval:
        """Digit accuracy of a treatment."""
        return self.heard[condition][name].accuracy

    def gain(self, condition: str, name: str = OURS) -> Interval:
        """Accuracy less that of the untreated, paired."""
        return self.heard[condition][name].over(self.heard[condition][UNTREATED])

    def harmed(self, name: str = OURS) -> list[str]:
        """Conditions in which a treatment is significantly worse than none, at 5 % over all of them (Bonferroni)."""
        level = 0.05 / len(self.heard)
        return [c for c, by_name in self.heard.items() if by_name[name].over(by_name[UNTREATED], level).high < 0.0]

    def in_noise(self, name: str) -> Interval:
        """Mean gain over all kinds of noise, streams paired."""
        noisy = [by_name for condition, by_name in self.heard.items() if condition != CLEAN]
        changes = [(by_name[UNTREATED].errors - by_name[name].errors) / by_name[name].n_words for by_name in noisy]
        return bootstrap(np.concatenate(changes))

    def names(self) -> list[str]:
        """Treatments, ours and the untreated first."""
        return list(self.heard[CLEAN])

    def table(self) -> Table:
        """One row for each condition, and the mean gain in noise."""
        names = self.names()
        rows = [
            (condition, *(f"{self.accuracy(condition, name).mean:.3f}" for name in names), str(self.gain(condition)))
            for condition in self.heard
        ]
        gains = [str(self.in_noise(name)) for name in names[1:]]
        rows.append(("mean gain in noise", "", *gains, ""))
        first = self.heard[CLEAN][UNTREATED]
        rates = ", ".join(f"{name} {rate:.3f}" for name, rate in self.sentences.items())
        said = (
            f"{len(first.errors)} streams of {first.n_words} spoken digits for each condition, noise at "
            f"{', '.join(f'{snr:g}' for snr in SNRS_DB)} dB in turn. Digit accuracy by pocketsphinx. Its word error "
            f"rate on the clean read sentences: {rates}."
        )
        return Table("Recognition", said, ("", *names, f"{OURS} less {UNTREATED}"), tuple(rows))


def peers() -> list[Peer]:
    """Those that are used before recognisers and can run here."""
    return [peer for peer in present(DENOISERS) if peer.name in _PEERS]


def treatments() -> dict[str, ours.Treatment]:
    """Untreated, ours, the peers."""
    return {UNTREATED: lambda x: x, OURS: ours.job("asr"), **{peer.name: peer for peer in peers()}}


def _judge(item: tuple[str, int], split: str, n: int) -> dict[str, int]:
    condition, index = item
    said = digit_streams(split, n)[index]
    rng = np.random.default_rng([23, index, len(condition)])
    snr_db = SNRS_DB[index % len(SNRS_DB)]
    x = said.audio if condition == CLEAN else mixed(said.audio, condition, snr_db, rng)
    return {name: count_errors(said, treat(x)) for name, treat in treatments().items()}


def _sentence_errors(index: int) -> dict[str, int]:
    said = sentences()[index]
    ways = {UNTREATED: lambda x: x, OURS: ours.job("asr")}
    return {name: n_errors(said.words, recognise(treat(said.audio), digits=False)) for name, treat in ways.items()}


def sentences() -> list[Utterance]:
    """The read sentences that have a transcript, of both halves: there are few."""
    return [said for split in SPLITS for said in read_sentences(split) if said.words]


def measure(n: int = N_FULL, split: str = "test") -> Recognised:
    """Over `n` streams in each condition of a split."""
    conditions = (CLEAN, *noises(split))
    items = [(condition, index) for condition in conditions for index in range(n)]
    found = shared_out(partial(_judge, split=split, n=n), items)
    n_words = len(digit_streams(split, n)[0].words)
    heard = {}
    for k, condition in enumerate(conditions):
        here = found[k * n : (k + 1) * n]
        heard[condition] = {name: Heard(np.array([e[name] for e in here], float), n_words) for name in here[0]}
    errors = shared_out(_sentence_errors, range(len(sentences())))
    n_said = sum(len(said.words) for said in sentences())
    return Recognised(heard, {name: sum(e[name] for e in errors) / n_said for name in (UNTREATED, OURS)})
