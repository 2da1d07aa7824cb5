"""Measuring a corpus: its long-term spectrum and its usual level, as `corpusdiff.profiles` keeps them.

Every track has the same weight, however long or loud: its spectrum is divided by its own K-weighted power first.
Memory does not grow with the number of tracks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.describe import nothing_in
from corpusdiff.dsp.filters import power_response
from corpusdiff.dsp.k_weighting import k_weighting
from corpusdiff.errors import CorpusdiffError, TrackError, UsageError
from corpusdiff.fetch import Fetcher
from corpusdiff.isolate import TRIES, ChildDied, Stalled, close_children, own_child
from corpusdiff.job import Job
from corpusdiff.manifests import USUAL, Reading, open_manifest
from corpusdiff.manifests.base import Track
from corpusdiff.runner import Notify
from corpusdiff.shards import RunOptions
from corpusdiff.stages.base import Measured, Spectrum
from corpusdiff.units import db_to_power, power_to_db

#: The common grid of frequencies: what 16 kHz and its multiples by two have.
GRID_HZ: NDArray[np.float64] = np.arange(769, dtype=np.float64) * 31.25

#: Tracks are brought to equal power up to here, which all usual rates have.
_WEIGHED_HZ = 4000.0

#: Rate for which the K-weighting of the grid is computed.
_K_SR = 48000

#: Mean powers under this are silence, in dB.
_SILENCE_DB = -190.0

#: Tracks in flight for each worker.
_PER_WORKER = 4

_NUMBERS = ("loudness_lufs", "level_dbfs", "peak_level_dbfs", "snr_db", "noise_dbfs")


@dataclass(frozen=True)
class Profile:
    """What was measured of a corpus.

    Parameters
    ----------
    measured : mean spectrum; medians of the numbers over the tracks that have them
    tracks, seconds : how much went into it
    failed : tracks that could not be measured
    """

    measured: Measured
    tracks: int
    seconds: float
    failed: int


def profile_source(
    source: str, notify: Notify, workers: int | None = None, limit: int | None = None, reading: Reading = USUAL
) -> Profile:
    """Measure every track of a source, each in a child process. The order in which they end changes nothing.

    Parameters
    ----------
    source : recording, folder, glob or manifest
    notify : takes a line for each track that cannot be measured
    workers : child processes; None for one per core
    limit : take the first so many tracks only
    reading : how to read the source, see `corpusdiff.manifests.Reading`

    Raises
    ------
    CorpusdiffError : no such source, or nothing of it can be measured
    """
    manifest = open_manifest(source, reading)
    job = Job("profile").to_dict()
    totals = Totals()
    failed = 0

    def measure(track: Track) -> list[dict[str, Any]] | TrackError:
        return _rows(track, job, manifest.root)

    try:
        for track, found in _in_order(measure, islice(manifest.tracks(), limit), workers or os.cpu_count() or 1):
            if isinstance(found, TrackError):
                failed += 1
                notify(f"{track.id}: {found}")
                continue
            for row in found:
                totals.add(Measured.from_dict(row["measured"]), row["metrics"]["duration_s"])
    finally:
        close_children()
    if not totals.tracks:
        raise (
            CorpusdiffError(f"{source}: none of {failed} tracks can be measured")
            if failed
            else UsageError(nothing_in(manifest))
        )
    return Profile(totals.measured(), totals.tracks, totals.seconds, failed)


class Totals:
    """Sums over tracks, of bounded size.

    Attributes
    ----------
    tracks, seconds : what was added
    """

    def __init__(self) -> None:
        self.tracks = 0
        self.seconds = 0.0
        self._power = np.zeros(len(GRID_HZ))
        self._counts = np.zeros(len(GRID_HZ))
        self._level_db = 0.0
        self._heard = 0
        self._numbers = {name: Median() for name in _NUMBERS}
        self._weights = power_response(k_weighting(_K_SR), GRID_HZ, _K_SR)

    def add(self, measured: Measured, seconds: float) -> None:
        """One more track. Silence has no spectrum and no level, and counts as a track."""
        self.tracks += 1
        self.seconds += seconds
        for name, median in self._numbers.items():
            median.add(getattr(measured, name))
        spectrum = measured.spectrum
        known = spectrum.freqs_hz[-1] >= GRID_HZ
        power = np.interp(GRID_HZ, spectrum.freqs_hz, db_to_power(spectrum.power_db))
        weighed = known & (GRID_HZ <= _WEIGHED_HZ)
        level = float(np.average(power[weighed], weights=self._weights[weighed]))
        if power_to_db(level) < _SILENCE_DB:
            return
        self._power[known] += power[known] / level
        self._counts += known
        self._level_db += float(power_to_db(level))
        self._heard += 1

    def measured(self) -> Measured:
        """The means and medians; a spectrum of silence where nothing was heard. The grid ends with the highest rate."""
        heard = max(1, self._heard)
        n_bins = max(2, int(np.count_nonzero(self._counts)))
        mean = self._power[:n_bins] / np.maximum(self._counts[:n_bins], 1)
        level_db = self._level_db / heard
        spectrum = Spectrum(GRID_HZ[:n_bins].copy(), power_to_db(mean * db_to_power(level_db)))
        return Measured(spectrum=spectrum, **{name: median.value() for name, median in self._numbers.items()})


class Median:
    """Median of any number of values in constant memory, to 0.01: exact where no two of the middle share a cell.

    >>> median = Median()
    >>> for value in (-30.0, -20.5, float("nan"), -10.0, -20.0):
    ...     median.add(value)
    >>> median.value()
    -20.25
    """

    #: Cells of 0.01 from -200 to 100: every level, loudness and ratio in dB lies in them.
    _LOW, _HIGH, _PER_UNIT = -200.0, 100.0, 100

    def __init__(self) -> None:
        n_cells = round((self._HIGH - self._LOW) * self._PER_UNIT) + 1
        self._counts = np.zeros(n_cells, np.int64)
        self._sums = np.zeros(n_cells)

    def add(self, value: float) -> None:
        """One more value; NaN is none."""
        if np.isfinite(value):
            cell = round((min(max(value, self._LOW), self._HIGH) - self._LOW) * self._PER_UNIT)
            self._counts[cell] += 1
            self._sums[cell] += value

    def value(self) -> float:
        """The median, NaN of nothing."""
        up_to = np.cumsum(self._counts)
        n = int(up_to[-1])
        if n == 0:
            return float("nan")
        middle = [int(np.searchsorted(up_to, rank, "right")) for rank in ((n - 1) // 2, n // 2)]
        return float(np.mean([self._sums[cell] / self._counts[cell] for cell in middle]))


def _rows(track: Track, job: dict[str, Any], root: str) -> list[dict[str, Any]] | TrackError:
    """What a child measured of a track, or why it could not; a crash or a stall is tried twice."""
    child = own_child(RunOptions(), {})
    child.configure(job, root)
    cause: Exception | None = None
    for _ in range(TRIES):
        try:
            with Fetcher([track], root) as fetcher, fetcher.copies() as copies:
                return child.measure(track, copies.files)
        except TrackError as error:
            return error
        except (ChildDied, Stalled) as error:
            cause = error
        except OSError as error:
            raise CorpusdiffError(f"{track.id}: {error}") from error
    return TrackError("crash", f"its decoder crashed or stalled, {TRIES} times: {cause}")


def _in_order(
    measure: Callable[[Track], list[dict[str, Any]] | TrackError], tracks: Iterable[Track], workers: int
) -> Iterator[tuple[Track, list[dict[str, Any]] | TrackError]]:
    """Each track with what was found, in their order, a bounded number of them at a time."""
    waiting: deque[tuple[Track, Future[list[dict[str, Any]] | TrackError]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for track in tracks:
                waiting.append((track, pool.submit(measure, track)))
                if len(waiting) >= _PER_WORKER * workers:
                    first, found = waiting.popleft()
                    yield first, found.result()
            while waiting:
                first, found = waiting.popleft()
                yield first, found.result()
        finally:
            pool.shutdown(cancel_futures=True)
