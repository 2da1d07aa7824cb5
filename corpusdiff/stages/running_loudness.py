"""Loudness normalisation that knows the past only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.filters import filter_sections
from corpusdiff.dsp.k_weighting import k_weighting
from corpusdiff.dsp.law import follow_step, rho_for_tau
from corpusdiff.dsp.loudness import HOP_S, OFFSET_LUFS, channel_weights
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import at_least, caps, in_range

#: Fall of the estimate of the loudest hop, in dB per second.
_LOUDEST_FALL_DB = 0.5

#: The absolute gate of BS.1770.
_SILENCE_LUFS = -70.0


class _State(NamedTuple):
    """What is carried from block to block.

    Parameters
    ----------
    values : float64, see the indices below
    weighting : (n_channels, 2, 2) state of the K-weighting
    """

    values: NDArray[np.float64]
    weighting: NDArray[np.float64]


# indices into the values: power so far and samples so far of the hop that fills, the running mean power and the
# number of hops in it, the loudest hop in LUFS, the gain in dB at the end of this hop, the gain at the next sample
# and the factor to the one after
_SUM, _COUNT, _POWER, _HOPS, _LOUDEST, _GAIN_DB, _FACTOR, _RATIO = range(8)


@dataclass(frozen=True)
class RunningLoudness:
    """Bring the loudness to a target by a gain that follows slowly: the causal form of loudness normalisation.

    The loudness is that of BS.1770, its mean over the whole track replaced by a running one: K-weighted power at
    0.1 s hops, followed by the law. The gain in dB goes by the law toward what the loudness lacks, linear within a
    hop and the same for all channels. Hops under the gate are neither followed nor acted on, so that pauses are not
    raised. Nothing is delayed: the gain of a hop comes from those before it, and the first one passes as it is.

    Parameters
    ----------
    target_lufs : loudness to reach
    tau_s : time constant of the running loudness; at first it is a plain mean
    gain_tau_s : time constant of the gain
    gate_db : hops so far below the loudest are held; the loudest falls by half a dB in a second
    max_boost_db, max_cut_db : bounds of the gain
    """

    name: ClassVar[str] = "running-loudness"

    target_lufs: float = -23.0
    tau_s: float = 10.0
    gain_tau_s: float = 3.0
    gate_db: float = 20.0
    max_boost_db: float = 30.0
    max_cut_db: float = 60.0

    def __post_init__(self) -> None:
        in_range("target_lufs", self.target_lufs, -70, 0, "LUFS")
        at_least("tau_s", self.tau_s, 0)
        at_least("gain_tau_s", self.gain_tau_s, 0)
        at_least("gate_db", self.gate_db, 0)
        caps(self.max_boost_db, self.max_cut_db)

    def latency(self, sig: Signal) -> int:
        """None."""
        return 0

    def initial_state(self, sig: Signal) -> State:
        """Silence, gain 0 dB."""
        values = np.zeros(8)
        values[[_FACTOR, _RATIO]] = 1.0
        values[_LOUDEST] = -200.0
        return _State(values, np.zeros((sig.n_channels, 2, 2)))

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Apply the gain and listen."""
        values, weighting = state.values.copy(), state.weighting.copy()
        x = np.ascontiguousarray(x)
        heard = filter_sections(x, k_weighting(sig.sr), weighting)
        y = np.empty_like(x)
        hop = max(1, round(HOP_S * sig.sr))
        _apply(x, heard, channel_weights(sig.n_channels), hop, values, self._law(), y)
        return y, _State(values, weighting)

    def flush(self, state: State, sig: Signal) -> Audio:
        """Nothing is left."""
        return np.zeros((sig.n_channels, 0), np.float32)

    def _law(self) -> NDArray[np.float64]:
        """Constants for the kernel, in the order in which `_next_gain_db` unpacks them."""
        rho, gain_rho = rho_for_tau(self.tau_s, HOP_S), rho_for_tau(self.gain_tau_s, HOP_S)
        return np.array([self.target_lufs, rho, gain_rho, self.gate_db, self.max_boost_db, self.max_cut_db])


_DB = 10.0 / np.log(10.0)
_FLOOR = 1e-20
_LOUDEST_STEP = _LOUDEST_FALL_DB * HOP_S


@njit(cache=True, nogil=True)
def _lufs(power: float) -> float:
    return float(_DB * np.log(max(power, _FLOOR)) + OFFSET_LUFS)


@njit(cache=True, nogil=True)
def _next_gain_db(power: float, values: NDArray[np.float64], law: NDArray[np.float64]) -> float:
    """Follow the power of one more hop; the gain in dB to reach at the end of the next one."""
    target, rho, gain_rho, gate, boost, cut = law
    level = _lufs(power)
    values[_LOUDEST] = max(level, values[_LOUDEST] - _LOUDEST_STEP)
    if level < max(values[_LOUDEST] - gate, _SILENCE_LUFS):
        return float(values[_GAIN_DB])
    values[_HOPS] += 1.0
    r = min(rho, 1.0 - 1.0 / values[_HOPS])  # a plain mean first
    values[_POWER] = follow_step(values[_POWER], power, r, r)
    wanted = min(max(target - _lufs(values[_POWER]), -cut), boost)
    return float(follow_step(values[_GAIN_DB], wanted, gain_rho, gain_rho))


@njit(cache=True, nogil=True)
def _apply(
    x: Audio,
    heard: Audio,
    weights: NDArray[np.float64],
    hop: int,
    values: NDArray[np.float64],
    law: NDArray[np.float64],
    y: Audio,
) -> None:
    """Multiply `x` into `y`, sample by sample; `values` moves along."""
    n_channels, n = x.shape
    start = 0
    while start < n:
        stop = min(n, start + hop - int(values[_COUNT]))
        total, factor, ratio = values[_SUM], values[_FACTOR], values[_RATIO]
        for i in range(start, stop):
            gain = np.float32(factor)
            factor *= ratio
            for c in range(n_channels):
                total += weights[c] * float(heard[c, i]) * float(heard[c, i])
                y[c, i] = x[c, i] * gain
        values[_SUM], values[_FACTOR] = total, factor
        values[_COUNT] += stop - start
        if values[_COUNT] == hop:
            old_db, new_db = values[_GAIN_DB], _next_gain_db(total / hop, values, law)
            values[_SUM], values[_COUNT] = 0.0, 0.0
            values[_GAIN_DB] = new_db
            values[_FACTOR] = np.exp(old_db / (2.0 * _DB))
            values[_RATIO] = np.exp((new_db - old_db) / (2.0 * _DB * hop))
        start = stop
