"""Which tracks of a corpus are worth looking at and listening to."""

from __future__ import annotations

from itertools import cycle, islice

import numpy as np
from numpy.typing import NDArray

from corpusdiff.store.columns import CHUNK_ROWS
from corpusdiff.store.read import Corpus

#: Why a track was chosen, in the order of the page.
BEST, WORST, CHANGED, RANDOM = "best", "worst", "changed most", "random"


def choose(corpus: Corpus, n: int, seed: int = 0) -> list[tuple[str, int]]:
    """At most `n` rows that are ok, each with why.

    In turn one whose signal-to-noise ratio rose most (`BEST`), one whose rose least or fell (`WORST`), one whose
    spectrum changed most (`CHANGED`) and one by chance (`RANDOM`); no row twice.
    """
    ok = _ok(corpus)
    gained = corpus.column("out_snr_db") - corpus.column("snr_db")
    random = np.random.default_rng(seed).choice(len(ok), min(n, len(ok)), replace=False, shuffle=True)
    ranked = {
        BEST: _highest(gained[ok], n),
        WORST: _highest(-gained[ok], n),
        CHANGED: _highest(corpus.column("lsd_db")[ok], n),
        RANDOM: random,
    }
    left = {why: iter(ok[order].tolist()) for why, order in ranked.items()}
    found: dict[int, str] = {}
    for why in islice(cycle(ranked), n * len(ranked)):
        row = next((row for row in left[why] if row not in found), None)
        if row is not None and len(found) < n:
            found[row] = why
    return sorted(((why, row) for row, why in found.items()), key=lambda pair: list(ranked).index(pair[0]))


def _ok(corpus: Corpus) -> NDArray[np.int64]:
    """Rows that have audio, in order."""
    parts = [np.zeros(0, np.int64)]
    for first in range(0, len(corpus), CHUNK_ROWS):
        status = corpus.chunk("status", first // CHUNK_ROWS)[: len(corpus) - first]
        parts.append(first + np.flatnonzero(status == "ok"))
    return np.concatenate(parts)


def _highest(values: NDArray[np.float32], n: int) -> NDArray[np.int64]:
    """Places of the `n` highest, the highest first; those that are no number are none."""
    ranked = np.where(np.isfinite(values), values, -np.inf)
    n = min(n, len(ranked))
    top = np.argpartition(-ranked, n - 1)[:n] if 0 < n < len(ranked) else np.arange(len(ranked))
    top = top[np.argsort(-ranked[top], kind="stable")]
    return top[np.isfinite(values[top])][:n]
