"""Denoising: change of SI-SDR, PESQ and STOI over mixes of speech and noise at 0 to 15 dB."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from quality import ours
from quality.judges import Interval, bootstrap, pesq_wb, si_sdr_db, stoi
from quality.material import mix, noises
from quality.peers import DENOISERS, present
from quality.tables import Table, shared_out
from quality.voices import Mono

#: The chain that is measured: the stages as they come, told by nothing but the audio.
CHAIN = ({"stage": "highpass", "cutoff_hz": 80.0, "phase": "linear"}, {"stage": "denoise"})

N_FULL, N_SHORT = 320, 16

OURS = "corpusdiff denoise"
JOB = "corpusdiff job enhance"


@dataclass(frozen=True)
class Denoised:
    """What came out.

    Parameters
    ----------
    split, kinds : half of the material, and the kind of noise of each mix
    scores : (n_mixes, 3) SI-SDR, PESQ, STOI of each treatment; ``untreated`` is one of them
    neural : names of treatments learned from data
    """

    split: str
    kinds: tuple[str, ...]
    scores: dict[str, NDArray[np.float64]]
    neural: frozenset[str]

    def gains(self, name: str) -> tuple[Interval, Interval, Interval]:
        """Mean change of SI-SDR, PESQ and STOI, paired."""
        changes = self.scores[name] - self.scores["untreated"]
        return bootstrap(changes[:, 0]), bootstrap(changes[:, 1]), bootstrap(changes[:, 2])

    def only(self, kinds: Collection[str]) -> Denoised:
        """What came of the mixes with these kinds of noise."""
        chosen = np.array([kind in kinds for kind in self.kinds])
        scores = {name: found[chosen] for name, found in self.scores.items()}
        return replace(self, kinds=tuple(kind for kind in self.kinds if kind in kinds), scores=scores)

    def table(self) -> Table:
        """Treatments by their gain of PESQ."""
        before = self.scores["untreated"].mean(axis=0)
        found = {name: self.gains(name) for name in self.scores if name != "untreated"}
        rows = [
            (name + (" (neural)" if name in self.neural else ""), *map(str, found[name]))
            for name in sorted(found, key=lambda name: -found[name][1].mean)
        ]
        said = (
            f"{len(self.kinds)} mixes of two sentences in {', '.join(noises(self.split))} at 0, 5, 10 and 15 dB; "
            f"untreated {before[0]:.1f} dB SI-SDR, {before[1]:.2f} PESQ, {before[2]:.3f} STOI. "
            f"Mean change and its paired 95 % interval.{self._share()}"
        )
        return Table("Denoising", said, ("", "SI-SDR in dB", "PESQ-WB", "STOI"), tuple(rows))

    def _share(self) -> str:
        """How near we come to the networks, as a sentence."""
        pesq = self.gains(OURS)[1].mean
        shares = {name: pesq / self.gains(name)[1].mean for name in sorted(self.neural)}
        return "".join(f" {OURS} has {share:.0%} of the gain in PESQ of {name}." for name, share in shares.items())

    def by_noise(self) -> Table:
        """Our gain in each kind of noise."""
        rows = []
        for kind in dict.fromkeys(self.kinds):
            here = np.array([k == kind for k in self.kinds])
            changes = (self.scores[OURS] - self.scores["untreated"])[here]
            rows.append((kind, *(str(bootstrap(changes[:, i])) for i in range(3))))
        return Table("Denoising by noise", "`denoise` alone.", ("", "SI-SDR in dB", "PESQ-WB", "STOI"), tuple(rows))


def treatments() -> dict[str, ours.Treatment]:
    """Ours and the peers that can run here."""
    return {OURS: ours.chained(*CHAIN), JOB: ours.job("enhance"), **{peer.name: peer for peer in present(DENOISERS)}}


def scores(x: Mono, clean: Mono) -> tuple[float, float, float]:
    """SI-SDR, PESQ and STOI."""
    return si_sdr_db(x, clean), pesq_wb(x, clean), stoi(x, clean)


def _judge(index: int, split: str) -> tuple[str, dict[str, tuple[float, float, float]]]:
    item = mix(split, index)
    found = {name: scores(treat(item.noisy), item.clean) for name, treat in treatments().items()}
    return item.noise, {"untreated": scores(item.noisy, item.clean), **found}


def measure(n: int = N_FULL, split: str = "test") -> Denoised:
    """Over the first `n` mixes of a split."""
    found = shared_out(partial(_judge, split=split), range(n))
    by_name = {name: np.array([scored[name] for _, scored in found]) for name in found[0][1]}
    neural = frozenset(peer.name for peer in DENOISERS if peer.neural and peer.name in by_name)
    return Denoised(split, tuple(kind for kind, _ in found), by_name, neural)
