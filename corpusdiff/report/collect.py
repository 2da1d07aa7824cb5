"""What a corpus' table says of it, as numbers few enough for a page.

One column after the other is read: four bytes a track at most of numbers and of texts a chunk of 65 536 at a time, so
that the table of ten million tracks takes some tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from corpusdiff.store.columns import CHUNK_ROWS
from corpusdiff.store.read import Corpus

#: Metrics whose distribution is shown, before and after, with units.
METRICS = (
    ("duration_s", "Length", "s"),
    ("loudness_lufs", "Loudness", "LUFS"),
    ("loudness_range_lu", "Loudness range", "LU"),
    ("true_peak_dbtp", "True peak", "dBTP"),
    ("snr_db", "Estimated signal-to-noise ratio", "dB"),
    ("bandwidth_hz", "Bandwidth", "Hz"),
    ("speech_ratio", "Share that stands out of the noise", ""),
    ("clip_rate", "Share of clipped samples", ""),
)

#: Metrics of the change, which have no before.
CHANGES = (("lsd_db", "Log-spectral distance, output to input", "dB"), ("gain_db", "Gain of the loudness", "dB"))

#: What a rule's tracks were, as medians, each before and after.
_OF_RULES = ("snr_db", "out_snr_db", "loudness_lufs", "out_loudness_lufs", "lsd_db")

#: True peaks this low are silence, which has none.
_SILENCE_DB = -199.0

_BINS = 60
_EXAMPLES = 5


@dataclass(frozen=True)
class Histogram:
    """How a metric is distributed.

    Parameters
    ----------
    title, unit : of the metric
    edges : (n + 1,) of the bins; what lies beyond is counted in the first or last
    before, after : (n,) tracks; `before` is None for a metric of the change
    medians : before and after
    """

    title: str
    unit: str
    edges: NDArray[np.float64]
    before: NDArray[np.int64] | None
    after: NDArray[np.int64]
    medians: tuple[float | None, float]


@dataclass(frozen=True)
class RuleUse:
    """What one rule of the job did.

    Parameters
    ----------
    rule : its name; "" for no rule
    tracks, hours : that it took
    snr_db, out_snr_db, loudness_lufs, out_loudness_lufs, lsd_db : medians over its tracks, NaN where none has any
    guard : tracks by what the guard made of the chain: ``halved-1`` to ``halved-4``, ``source``
    """

    rule: str
    tracks: int
    hours: float
    snr_db: float
    out_snr_db: float
    loudness_lufs: float
    out_loudness_lufs: float
    lsd_db: float
    guard: dict[str, int]


@dataclass(frozen=True)
class Failure:
    """One reason for which tracks failed or were left out (`status`), and a few of them as (id, error)."""

    status: str
    reason: str
    tracks: int
    examples: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Collected:
    """All that the page says, but for what is heard.

    Parameters
    ----------
    counts : rows by status
    hours, out_hours : of the tracks that are ok, before and after
    failures : those that failed, then those that were left out, the most frequent first
    histograms : see `METRICS` and `CHANGES`
    rules : the most used first
    """

    counts: dict[str, int]
    hours: float
    out_hours: float
    failures: Sequence[Failure]
    histograms: Sequence[Histogram]
    rules: Sequence[RuleUse]


@dataclass(frozen=True)
class _Words:
    """A column of texts: (n,) which word each row has, and the words."""

    codes: NDArray[np.int32]
    words: Sequence[str]

    def are(self, word: str) -> NDArray[np.bool_]:
        """Rows that have this word."""
        return self.codes == (self.words.index(word) if word in self.words else -1)

    def counts(self, rows: NDArray[np.bool_]) -> list[tuple[str, int]]:
        """Words of these rows and how many have each, the most frequent first."""
        found = np.bincount(self.codes[rows], minlength=len(self.words))
        return [(self.words[code], int(found[code])) for code in np.argsort(-found, kind="stable") if found[code]]


def collect(corpus: Corpus) -> Collected:
    """Read the table, a column at a time. Raises StoreError for damaged columns."""
    status = _words(corpus, "status")
    ok = status.are("ok")
    seconds = corpus.column("duration_s")
    return Collected(
        counts=dict(status.counts(np.ones(len(corpus), bool))),
        hours=_hours(seconds[ok]),
        out_hours=_hours(corpus.column("out_duration_s")[ok]),
        failures=_failures(corpus, status),
        histograms=[found for found in _histograms(corpus, ok) if found is not None],
        rules=_rules(corpus, ok, seconds),
    )


def _words(corpus: Corpus, name: str) -> _Words:
    known: dict[str, int] = {}
    parts = [np.zeros(0, np.int32)]
    for first in range(0, len(corpus), CHUNK_ROWS):
        texts = corpus.chunk(name, first // CHUNK_ROWS)[: len(corpus) - first]
        found = pa.array(texts, pa.string()).dictionary_encode()
        codes = [known.setdefault(word, len(known)) for word in found.dictionary.to_pylist()]
        parts.append(np.array(codes, np.int32)[found.indices.to_numpy()])
    return _Words(np.concatenate(parts), list(known))


def _hours(seconds: NDArray[np.float32]) -> float:
    return float(np.nansum(seconds, dtype=np.float64)) / 3600


def _failures(corpus: Corpus, status: _Words) -> list[Failure]:
    if not any(status.are(name).any() for name in ("failed", "filtered")):
        return []
    reasons = _words(corpus, "reason")
    found = []
    for name in ("failed", "filtered"):
        rows = status.are(name)
        for reason, n in reasons.counts(rows):
            shown = np.flatnonzero(rows & reasons.are(reason))[:_EXAMPLES]
            examples = [(str(corpus.value("id", int(row))), str(corpus.value("error", int(row)))) for row in shown]
            found.append(Failure(name, reason, n, examples))
    return found


def _histograms(corpus: Corpus, ok: NDArray[np.bool_]) -> list[Histogram | None]:
    found = [_histogram(title, unit, _metric(corpus, name, ok), _metric(corpus, f"out_{name}", ok))
             for name, title, unit in METRICS]  # fmt: skip
    return found + [_histogram(title, unit, None, _metric(corpus, name, ok)) for name, title, unit in CHANGES]


def _metric(corpus: Corpus, name: str, ok: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Its values, of the tracks that have one."""
    values = corpus.column(name)[ok]
    there = np.isfinite(values)
    if name.endswith("true_peak_dbtp"):
        there &= values > _SILENCE_DB
    return values[there]


def _histogram(
    title: str, unit: str, before: NDArray[np.float32] | None, after: NDArray[np.float32]
) -> Histogram | None:
    parts = [after] if before is None else [before, after]
    everything = np.concatenate(parts)
    if not len(everything):
        return None
    low, high = (float(edge) for edge in np.percentile(everything, [0.5, 99.5]))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    counts = [np.histogram(np.clip(values, low, high), _BINS, (low, high))[0] for values in parts]
    medians = [_median(values) for values in parts]
    if before is None:
        return Histogram(title, unit, edges, None, counts[0], (None, medians[0]))
    return Histogram(title, unit, edges, counts[0], counts[1], (medians[0], medians[1]))


def _rules(corpus: Corpus, ok: NDArray[np.bool_], seconds: NDArray[np.float32]) -> list[RuleUse]:
    rules, guard = _words(corpus, "rule"), _words(corpus, "guard")
    rows_of = {rule: ok & rules.are(rule) for rule, _ in rules.counts(ok)}
    medians: dict[str, dict[str, float]] = {rule: {} for rule in rows_of}
    for name in _OF_RULES:
        values = corpus.column(name)
        for rule, rows in rows_of.items():
            medians[rule][name] = _median(values[rows])
    return [
        RuleUse(
            rule=rule,
            tracks=int(rows.sum()),
            hours=_hours(seconds[rows]),
            guard={word: n for word, n in guard.counts(rows) if word},
            **medians[rule],
        )
        for rule, rows in rows_of.items()
    ]


def _median(values: NDArray[np.float32]) -> float:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else float("nan")
