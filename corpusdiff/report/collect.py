"""What a corpus' table says of it, as numbers few enough for a page. Columns are read one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpusdiff.store.read import Corpus

#: Metrics whose distribution is shown, before and after, with units.
METRICS = (
    ("duration_s", "Length", "s"),
    ("loudness_lufs", "Loudness", "LUFS"),
    ("true_peak_dbtp", "True peak", "dBTP"),
    ("snr_db", "Estimated signal-to-noise ratio", "dB"),
    ("bandwidth_hz", "Bandwidth", "Hz"),
    ("speech_ratio", "Share that stands out of the noise", ""),
    ("clip_rate", "Share of clipped samples", ""),
)

#: Metrics of the change, which have no before.
CHANGES = (("lsd_db", "Log-spectral distance, output to input", "dB"), ("gain_db", "Gain of the loudness", "dB"))

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
    snr_db, out_snr_db, lsd_db : medians over its tracks
    """

    rule: str
    tracks: int
    hours: float
    snr_db: float
    out_snr_db: float
    lsd_db: float


@dataclass(frozen=True)
class Failure:
    """One reason for which tracks failed, and a few of them as (id, error)."""

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
    failures : the most frequent first
    histograms : see `METRICS` and `CHANGES`
    rules : the most used first
    """

    counts: dict[str, int]
    hours: float
    out_hours: float
    failures: Sequence[Failure]
    histograms: Sequence[Histogram]
    rules: Sequence[RuleUse]


def collect(corpus: Corpus) -> Collected:
    """Read the table, a column at a time. Raises StoreError for damaged columns."""
    status = corpus.column("status")
    ok = status == "ok"
    seconds, out_seconds = corpus.column("duration_s"), corpus.column("out_duration_s")
    return Collected(
        counts=dict(Counter(status.tolist())),
        hours=float(np.nansum(seconds[ok], dtype=np.float64)) / 3600,
        out_hours=float(np.nansum(out_seconds[ok], dtype=np.float64)) / 3600,
        failures=_failures(corpus, np.flatnonzero(status == "failed")),
        histograms=[found for found in _histograms(corpus, ok) if found is not None],
        rules=_rules(corpus, ok, seconds),
    )


def _failures(corpus: Corpus, failed: NDArray[np.int64]) -> list[Failure]:
    if not len(failed):
        return []
    reasons = corpus.column("reason")[failed]
    found = []
    for reason, n in Counter(reasons.tolist()).most_common():
        rows = failed[np.flatnonzero(reasons == reason)[:_EXAMPLES]]
        examples = [(str(corpus.value("id", int(row))), str(corpus.value("error", int(row)))) for row in rows]
        found.append(Failure(reason, n, examples))
    return found


def _histograms(corpus: Corpus, ok: NDArray[np.bool_]) -> list[Histogram | None]:
    found = [_histogram(title, unit, corpus.column(name)[ok], corpus.column(f"out_{name}")[ok])
             for name, title, unit in METRICS]  # fmt: skip
    return found + [_histogram(title, unit, None, corpus.column(name)[ok]) for name, title, unit in CHANGES]


def _histogram(
    title: str, unit: str, before: NDArray[np.float32] | None, after: NDArray[np.float32]
) -> Histogram | None:
    parts = [values[np.isfinite(values)].astype(np.float64) for values in (before, after) if values is not None]
    everything = np.concatenate(parts)
    if not len(everything):
        return None
    low, high = np.percentile(everything, [0.5, 99.5])
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    counts = [np.histogram(np.clip(values, low, high), edges)[0] for values in parts]
    medians = [float(np.median(values)) if len(values) else float("nan") for values in parts]
    if before is None:
        return Histogram(title, unit, edges, None, counts[0], (None, medians[0]))
    return Histogram(title, unit, edges, counts[0], counts[1], (medians[0], medians[1]))


def _rules(corpus: Corpus, ok: NDArray[np.bool_], seconds: NDArray[np.float32]) -> list[RuleUse]:
    rules = corpus.column("rule")
    numbers = {name: corpus.column(name) for name in ("snr_db", "out_snr_db", "lsd_db")}
    found = []
    for rule, n in Counter(rules[ok].tolist()).most_common():
        rows = ok & (rules == rule)
        medians = {name: _median(values[rows]) for name, values in numbers.items()}
        found.append(RuleUse(rule, n, float(np.nansum(seconds[rows], dtype=np.float64)) / 3600, **medians))
    return found


def _median(values: NDArray[np.float32]) -> float:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else float("nan")


def choose(corpus: Corpus, n: int, seed: int = 0) -> list[tuple[str, int]]:
    """Rows to listen to, each with why: what gained most and least, what changed most, and some by chance."""
    ok = np.flatnonzero(corpus.column("status") == "ok")
    if not len(ok):
        return []
    gained = (corpus.column("out_snr_db") - corpus.column("snr_db"))[ok]
    changed = corpus.column("lsd_db")[ok]
    by_gain, by_change = np.argsort(np.where(np.isnan(gained), 0, gained)), np.argsort(np.nan_to_num(changed))
    chance = np.random.default_rng(seed).permutation(len(ok))
    ranked = {
        "gained most": by_gain[::-1],
        "gained least": by_gain,
        "changed most": by_change[::-1],
        "by chance": chance,
    }
    found: dict[int, str] = {}
    for place in range(len(ok)):
        for why, order in ranked.items():
            if len(found) < n:
                found.setdefault(int(ok[order[place]]), why)
    return sorted(((why, row) for row, why in found.items()), key=lambda pair: list(ranked).index(pair[0]))
