"""What a job's chains do to a signal, measured: gain over frequency, and gain over level.

The real chain runs over noise of a speech-like level, spectrum and modulation, so that stages which adapt do so.
The noise is periodic: once the chain has settled, one Fourier transform per period gives the transfer function of
a linear chain exactly, bin by bin (no leakage, no variance; Schoukens and Pintelon, System Identification, 2.5).
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import ParameterError, UsageError
from corpusdiff.job import Job
from corpusdiff.metrics import Meter
from corpusdiff.plots import Curve, Panel, write_html
from corpusdiff.stages.base import Audio, Measured, Signal, Stage, run_whole
from corpusdiff.stages.chain import Chain
from corpusdiff.units import db_to_amplitude, power_to_db

#: Level of the noise, in dBFS, and by how much it swings to either side four times a second.
LEVEL_DBFS = -26.0
_SWING_DB = 12.0
_SWING_HZ = 4.0

#: The noise is pink over this frequency.
_PINK_FROM_HZ = 20.0

#: How long a chain gets to settle, and how many periods are measured then.
_SETTLE_S = 10.0
_PERIODS = 4

#: Points per octave of the gain over frequency, and in the table for a terminal.
PER_OCTAVE = 48
_TABLE_PER_OCTAVE = 3

#: Levels of the second measurement, from soft to loud, and how long each lasts; its last quarter counts.
_LEVELS_DBFS = np.arange(-70.0, -9.0, 5.0)
_STEP_S = 4.0

#: Rate for a job that keeps each file's own.
_USUAL_SR = 48000

#: Gains below this are shown as this, in dB.
_LOWEST_DB = -120.0


@dataclass(frozen=True)
class Response:
    """What a chain does.

    Parameters
    ----------
    latency : delay in samples (taken out of the measurement)
    freqs_hz, gain_db : magnitude of the transfer function |Sxy| / Sxx, 48 points per octave, or every bin
    coherence : |Sxy|^2 / (Sxx Syy): 1 where the chain is linear and does not change with time
    levels_dbfs, level_gain_db : gain for steady noise of a level, in one recording that goes through all of them
    """

    latency: int
    freqs_hz: NDArray[np.float64]
    gain_db: NDArray[np.float64]
    coherence: NDArray[np.float64]
    levels_dbfs: NDArray[np.float64]
    level_gain_db: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """JSON types."""
        numbers = {name: np.round(value, 4).tolist() for name, value in vars(self).items() if name != "latency"}
        return {"latency": self.latency, **numbers}


def job_responses(job: Job) -> dict[str, Response]:
    """Of all chains of a job, by their rules. Guard and loudness are no part of a chain. Raises UsageError."""
    sr = response_sr(job)
    try:
        return {rule: chain_response(stages, sr, job.source.has_reference) for rule, stages in job.chains().items()}
    except ParameterError as error:
        raise UsageError(f"job {job.name} does not fit {sr} Hz: {error}; set source.sr") from error


def response_sr(job: Job) -> int:
    """The rate at which a job is measured, in Hz."""
    return job.source.sr or _USUAL_SR


def chain_response(stages: tuple[Stage, ...], sr: int, has_reference: bool = False) -> Response:
    """Measure a chain on mono noise at `sr` Hz; a far-end signal is silent. Raises ParameterError."""
    chain = Chain(stages)
    noise = pink_noise(sr)
    swing_db = _SWING_DB * np.sin(2 * np.pi * round(_SWING_HZ * len(noise) / sr) * np.arange(len(noise)) / len(noise))
    period = noise * db_to_amplitude(swing_db)
    period *= db_to_amplitude(LEVEL_DBFS) / np.sqrt(np.mean(period**2))
    n_settling = math.ceil(_SETTLE_S * sr / len(period))
    x = np.tile(period, n_settling + _PERIODS)[None].astype(np.float32)
    y = _run(chain, x, sr, has_reference)[0]
    X, Y = (np.fft.rfft(z.reshape(-1, len(period))[n_settling:].astype(np.float64)) for z in (x, y))
    freqs_hz, transfer, coherence = _banded(_bins_hz(len(period), sr), X, Y)
    gain_db = np.maximum(power_to_db(transfer), _LOWEST_DB)
    latency = chain.latency(Signal(sr, 1, n_references=int(has_reference)))
    return Response(latency, freqs_hz, gain_db, coherence, *_level_map(chain, noise, sr, has_reference))


def pink_noise(sr: int) -> NDArray[np.float64]:
    """(n,) one period of at least a second, of mean power 1: equal power in every octave, phases at random."""
    n = 1 << math.ceil(math.log2(sr))
    freqs_hz = _bins_hz(n, sr)
    magnitude = 1 / np.sqrt(np.maximum(freqs_hz, _PINK_FROM_HZ))
    magnitude[[0, -1]] = 0
    phase = np.random.default_rng(0).uniform(0, 2 * np.pi, len(freqs_hz))
    x = np.fft.irfft(magnitude * np.exp(1j * phase), n)
    return x / np.sqrt(np.mean(x**2))


def _bins_hz(n: int, sr: int) -> NDArray[np.float64]:
    return np.arange(n // 2 + 1, dtype=np.float64) * (sr / n)


def _run(chain: Chain, x: Audio, sr: int, has_reference: bool) -> Audio:
    """The chain over a whole recording, after its first pass."""
    rows = np.concatenate([x, np.zeros_like(x)]) if has_reference else x
    return run_whole(chain, rows, Signal(sr, 1, _measured(x, sr), n_references=int(has_reference)))


def _measured(x: Audio, sr: int) -> Measured:
    meter = Meter(sr, 1)
    meter.update(x)
    return meter.finish().measured


def _banded(
    freqs_hz: NDArray[np.float64], X: NDArray[np.complex128], Y: NDArray[np.complex128]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Frequency, |Sxy / Sxx|^2 and coherence of bands from 20 Hz to 0.95 of half the rate, over all periods."""
    audible = (freqs_hz >= _PINK_FROM_HZ) & (freqs_hz <= 0.95 * freqs_hz[-1])
    freqs_hz, X, Y = freqs_hz[audible], X[:, audible], Y[:, audible]
    _, starts = np.unique(np.round(PER_OCTAVE * np.log2(freqs_hz / 1000)), return_index=True)

    def total(z: NDArray[Any]) -> NDArray[Any]:
        return np.add.reduceat(z.sum(axis=0), starts)

    Sxx, Syy, Sxy = total(np.abs(X) ** 2), total(np.abs(Y) ** 2), total(Y * X.conj())
    # a band's gain is that at its power's mean frequency, to first order
    mean_hz = total(freqs_hz * np.abs(X) ** 2) / Sxx
    cross = np.abs(Sxy) ** 2
    return mean_hz, cross / Sxx**2, cross / np.maximum(Sxx * Syy, 1e-300)


def _level_map(
    chain: Chain, noise: NDArray[np.float64], sr: int, has_reference: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Levels in, and the gain at each once it has settled."""
    n_step = round(_STEP_S * sr)
    steady = np.resize(noise, n_step)
    steps = [steady * db_to_amplitude(level_dbfs) for level_dbfs in _LEVELS_DBFS]
    x = np.concatenate(steps)[None].astype(np.float32)
    y = _run(chain, x, sr, has_reference)
    before, after = (
        power_to_db(np.mean(z.reshape(-1, n_step)[:, -n_step // 4 :].astype(np.float64) ** 2, axis=1)) for z in (x, y)
    )
    return _LEVELS_DBFS.copy(), np.maximum(after - before, _LOWEST_DB)


def write_responses(found: Mapping[str, Response], job: Job, path: str) -> None:
    """Write them as a page (``.html``) or as numbers (``.csv``, ``.json``). Raises UsageError."""
    sr = response_sr(job)
    kind = Path(path).suffix.lower()
    if kind == ".html":
        write_html(path, f"Job {job.name}: response of its chains at {sr} Hz", _panels(found))
        return
    if kind == ".json":
        chains = {rule: response.to_dict() for rule, response in found.items()}
        text = json.dumps({"job": job.name, "sr": sr, "chains": chains}) + "\n"
    elif kind == ".csv":
        text = _csv(found)
    else:
        raise UsageError(f"{path}: expected a name that ends in .html, .csv or .json")
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error}") from error


def _panels(found: Mapping[str, Response]) -> list[Panel]:
    return [
        Panel("Gain over frequency", "Hz", "dB",
              [Curve(rule, r.freqs_hz, r.gain_db) for rule, r in found.items()], log_x=True),
        Panel("Gain over the level of steady noise", "dBFS", "dB",
              [Curve(rule, r.levels_dbfs, r.level_gain_db, dots=True) for rule, r in found.items()]),
        Panel("Coherence: 1 where the chain is linear and does not change with time", "Hz", "1",
              [Curve(rule, r.freqs_hz, r.coherence) for rule, r in found.items()], log_x=True),
    ]  # fmt: skip


def _csv(found: Mapping[str, Response]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["chain", "freq_hz", "level_dbfs", "gain_db", "coherence"])
    for rule, r in found.items():
        for hz, db, coherence in zip(r.freqs_hz, r.gain_db, r.coherence, strict=True):
            table.writerow([rule, f"{hz:.3f}", "", f"{db:.4f}", f"{coherence:.4f}"])
        for dbfs, db in zip(r.levels_dbfs, r.level_gain_db, strict=True):
            table.writerow([rule, "", f"{dbfs:.1f}", f"{db:.4f}", ""])
    return text.getvalue()


def response_lines(found: Mapping[str, Response]) -> Iterator[str]:
    """The gains in third octaves, and over the level, for a terminal: a column for each chain."""
    some = next(iter(found.values()))
    bands = np.round(_TABLE_PER_OCTAVE * np.log2(some.freqs_hz / 1000))
    rows = {}
    for band in np.unique(bands):
        mine = bands == band
        rows[f"{1000 * 2 ** (band / _TABLE_PER_OCTAVE):.0f}"] = [r.gain_db[mine].mean() for r in found.values()]
    yield from _table("Hz", found, rows)
    yield ""
    levels = {f"{dbfs:.0f}": [r.level_gain_db[i] for r in found.values()] for i, dbfs in enumerate(some.levels_dbfs)}
    yield from _table("dBFS", found, levels)


_BARS = "▁▂▃▄▅▆▇█"


def _table(unit: str, found: Mapping[str, Response], rows: Mapping[str, list[float]]) -> Iterator[str]:
    """Gains in dB, each with a bar on one scale for all."""
    width = max(10, *(len(rule) + 2 for rule in found))
    yield f"{unit:>6}" + "".join(f"{rule:>{width}}" for rule in found) + "  dB"
    shown = np.array([*rows.values()])
    low, high = float(shown.min()), float(shown.max())
    for name, gains in rows.items():
        cells = (f"{gain:.1f} {_bar(gain, low, high)}" for gain in gains)
        yield f"{name:>6}" + "".join(f"{cell:>{width}}" for cell in cells)


def _bar(value: float, low: float, high: float) -> str:
    share = (value - low) / max(high - low, 1.0)
    return _BARS[round(share * (len(_BARS) - 1))]
