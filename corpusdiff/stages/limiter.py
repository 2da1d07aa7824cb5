"""A true-peak limiter that looks ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.law import rho_for_tau
from corpusdiff.dsp.truepeak import BOUND, HALF, between
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import in_range
from corpusdiff.units import db_to_amplitude

#: Reductions are whole numbers of this, so that their running sum comes back to exactly zero.
_UNIT = 2.0**-40

#: Intervals that are looked at together.
_STRETCH = 32


class _State(NamedTuple):
    """What is carried from block to block.

    Parameters
    ----------
    history : (n_channels, latency + HALF) last samples
    demands : (lookahead,) reductions that the next samples need at least
    recent : (lookahead,) reductions after the release, whose mean is applied
    numbers : sum of `recent`, last reduction, reduction that the last interval needs, position in the rings
    """

    history: Audio
    demands: NDArray[np.int64]
    recent: NDArray[np.int64]
    numbers: NDArray[np.int64]


@dataclass(frozen=True)
class Limiter:
    """Keep the true peak under a ceiling.

    The gain that each sample needs is held for the look-ahead before it, released by the law, and averaged
    over the look-ahead, so that it is down where the peak comes and never jumps. One gain for all
    channels; where nothing passes the ceiling the output is the input, bit for bit.

    Parameters
    ----------
    ceiling_dbtp : highest true peak, -60 to 0
    lookahead_s : 0.0005 to 0.05
    release_s : time constant of the release, 0.001 to 10
    """

    name: ClassVar[str] = "limiter"

    ceiling_dbtp: float = -1.0
    lookahead_s: float = 0.005
    release_s: float = 0.1

    def __post_init__(self) -> None:
        in_range("ceiling_dbtp", self.ceiling_dbtp, -60, 0, "dBTP")
        in_range("lookahead_s", self.lookahead_s, 0.0005, 0.05, "seconds")
        in_range("release_s", self.release_s, 0.001, 10, "seconds")

    def latency(self, sig: Signal) -> int:
        """The look-ahead and half the interpolator."""
        return self._ahead(sig) + HALF - 1

    def initial_state(self, sig: Signal) -> State:
        """No reduction."""
        ahead = self._ahead(sig)
        history = np.zeros((sig.n_channels, self.latency(sig) + HALF), np.float32)
        return _State(history, np.zeros(ahead, np.int64), np.zeros(ahead, np.int64), np.zeros(4, np.int64))

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Delay and reduce."""
        n = x.shape[1]
        line = np.ascontiguousarray(np.concatenate([state.history, x], axis=1))
        demands, recent, numbers = state.demands.copy(), state.recent.copy(), state.numbers.copy()
        ceiling, release = float(db_to_amplitude(self.ceiling_dbtp)), rho_for_tau(self.release_s, 1.0 / sig.sr)
        gain = np.empty(n)
        _reduce(line, line.view(np.int32), gain, ceiling, release, demands, recent, numbers)
        delayed = line[:, HALF : HALF + n]
        y = delayed * gain.astype(np.float32) if (gain < 1.0).any() else delayed.copy()
        return y, _State(line[:, n:].copy(), demands, recent, numbers)

    def flush(self, state: State, sig: Signal) -> Audio:
        """What silence after the end pushes out."""
        silence = np.zeros((sig.n_channels, self.latency(sig)), np.float32)
        return self.step(silence, state, sig)[0]

    def _ahead(self, sig: Signal) -> int:
        ahead = round(self.lookahead_s * sig.sr)
        if ahead < 1:
            raise ParameterError("lookahead_s", f"got {self.lookahead_s:g}; less than a sample at {sig.sr} Hz")
        return ahead


@njit(cache=True, nogil=True)
def _needed(
    line: Audio, bits: NDArray[np.int32], start: int, n: int, ceiling: float, low: int, needed: NDArray[np.int64]
) -> bool:
    """Reductions in units that the n intervals from sample start + HALF - 1 on need; whether there are any.

    `bits` is the view of `line` as integers, and `low` the bits of a float32: magnitudes of floats compare as their
    bits do, many at a time. Where none is over `low`, no point between samples is over the ceiling.
    """
    is_any = False
    needed[:] = 0
    for c in range(line.shape[0]):
        n_high = np.int32(0)
        for i in range(start, start + n + 2 * HALF - 1):
            n_high += np.int32((bits[c, i] & np.int32(0x7FFFFFFF)) > low)
        if n_high == 0:
            continue
        for i in range(n):
            peak = between(line[c], start + i)
            if peak > ceiling:
                needed[i] = max(needed[i], int(np.ceil((1.0 - ceiling / peak) / _UNIT)))
                is_any = True
    return is_any


@njit(cache=True, nogil=True)
def _reduce(
    line: Audio,
    bits: NDArray[np.int32],
    gain: NDArray[np.float64],
    ceiling: float,
    release: float,
    demands: NDArray[np.int64],
    recent: NDArray[np.int64],
    numbers: NDArray[np.int64],
) -> None:
    """Gains of the samples that leave; the rings and numbers move along."""
    ahead = demands.size
    n = gain.size
    needed = np.zeros(_STRETCH, np.int64)
    first = line.shape[1] - n - 2 * HALF + 1  # the interval that the first new sample completes
    low = np.array([ceiling / BOUND * (1.0 - 1e-6)], np.float32).view(np.int32)[0]
    total, last, before, at = numbers
    n_demanding = ahead  # samples for which there may be demands, of those that follow
    for start in range(0, n, _STRETCH):
        stop = min(start + _STRETCH, n)
        is_needed = _needed(line, bits, first + start, stop - start, ceiling, low, needed)
        if not is_needed and before == 0 and n_demanding <= 0 and last == 0 and total == 0:
            gain[start:stop] = 1.0  # nothing to do, nothing to remember
            at = (at + stop - start) % ahead
            continue
        for i in range(start, stop):
            here = max(needed[i - start], before)  # an interval binds the samples at both of its ends
            before = needed[i - start]
            demands[at] = 0
            n_demanding -= 1
            if here > 0:
                n_demanding = ahead
                for j in range(ahead):
                    demands[j] = max(demands[j], here)
            following = at + 1 if at + 1 < ahead else 0
            last = max(demands[following], int(last * release))
            total += last - recent[at]
            recent[at] = last
            at = following
            gain[i] = 1.0 - total * (_UNIT / ahead)
    numbers[0], numbers[1], numbers[2], numbers[3] = total, last, before, at
