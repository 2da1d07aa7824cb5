"""The law on the level: what wanders comes back to a reference."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.activity import ACT_ON, N_ACTIVITY, activity_law, activity_step, initial_activity
from corpusdiff.dsp.filters import filter_sections
from corpusdiff.dsp.k_weighting import k_weighting
from corpusdiff.dsp.law import deviation_factor, follow_step, rho_for_tau
from corpusdiff.dsp.loudness import OFFSET_LUFS
from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import at_least, caps, in_range, one_of
from corpusdiff.units import power_to_db

#: Distance of two values of the gain, in seconds.
HOP_S = 0.01

#: Levels under this are silence whatever the gate says, in dBFS or LUFS.
SILENCE_DB = -100.0

#: Fall of the causal estimate of the loudest level, in dB per second.
_PEAK_FALL_DB = 1.0

#: Fall of the loudest level of the last moments, in dB per second: a pause between two words lasts half a second.
_LOCAL_FALL_DB = 20.0

#: Time constant of the causal estimate of the usual level, in seconds.
_USUAL_TAU_S = 10.0


class _State(NamedTuple):
    """What is carried from block to block.

    Parameters
    ----------
    held : (n_channels, latency) samples that wait for the gain at their hop's end, and for what comes after
    values : float64, see the indices below
    weighting : (n_channels, 2, 2) state of the K-weighting, None where the reference is not in LUFS
    """

    held: Audio
    values: NDArray[np.float64]
    weighting: NDArray[np.float64] | None


# indices into the values: power so far and samples so far of the hop that fills, follower (negative before
# its first hop), the gain in dB at the end of the hop that leaves, the gain at its next sample and the factor
# to the one after, the causal estimates of the loudest and the usual level, and the number of hops in them, the
# loudest level of the last moments; behind them the state of the activity
_SUM, _COUNT, _POWER, _GAIN_DB, _FACTOR, _RATIO, _PEAK, _USUAL, _HOPS, _LOCAL, _ACTIVITY = range(11)


@dataclass(frozen=True)
class Level:
    """Scale the level's deviation from a reference by rho**steps, rho = 1 + k.

    A two-sided compressor of ratio 1/rho**steps about the reference (k < 0), or an expander (k > 0). The
    level is a one-pole follower of the channels' mean power at 10 ms hops; the gain is linear in dB between
    hops and the same for all channels. Hops under the floor gate are neither followed nor acted on: the
    gain is held over a pause, and what comes after meets the level from before it.

    Parameters
    ----------
    k, steps : the law's; k per step, at least -1
    reference_dbfs : level to move to
    reference_lufs : the same, for a level that is K-weighted (BS.1770); at most one of the two. With neither, the
        track's own median level (first pass, else running)
    tau_s : time constant of the follower
    release_s : the same for falling levels; None for `tau_s`
    lookahead_s : the gain knows what comes: a follower lags by about `tau_s`, and so much lookahead makes up for it
    gate_db : hops so far below the loudest (95th percentile of the first pass, else running) are held
    local_gate_db : so are those so far below the loudest of the last moments, in which it falls by 20 dB a second:
        where the level wanders, the noise between two words is below them, wherever they are. None for no such gate
    act_on : ``all``; ``speech``: hops that do not stand out of the noise are held too; ``noise``: those that do
    max_boost_db, max_cut_db : bounds of the gain
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "level"

    k: float = -0.15
    steps: int = 10
    reference_dbfs: float | None = None
    reference_lufs: float | None = None
    tau_s: float = 0.4
    release_s: float | None = None
    lookahead_s: float = 0.0
    gate_db: float = 30.0
    local_gate_db: float | None = None
    act_on: str = "all"
    max_boost_db: float = 20.0
    max_cut_db: float = 20.0
    mix: float = 1.0

    def __post_init__(self) -> None:
        deviation_factor(self.k, self.steps)
        in_range("reference_dbfs", self.reference_dbfs, SILENCE_DB, 0, "dBFS")
        in_range("reference_lufs", self.reference_lufs, SILENCE_DB, 0, "LUFS")
        if self.reference_dbfs is not None and self.reference_lufs is not None:
            raise ParameterError("reference_lufs", "there is a reference_dbfs too: give one of them")
        at_least("tau_s", self.tau_s, 0)
        at_least("release_s", self.release_s or 0.0, 0)
        in_range("lookahead_s", self.lookahead_s, 0, 10, "seconds")
        at_least("gate_db", self.gate_db, 0)
        in_range("local_gate_db", self.local_gate_db, 0, 200, "dB")
        one_of("act_on", self.act_on, ACT_ON)
        caps(self.max_boost_db, self.max_cut_db)
        in_range("mix", self.mix, 0, 1)

    def latency(self, sig: Signal) -> int:
        """One hop, since the gain at its end is known when it is full, and the lookahead."""
        return _hop(sig) + round(self.lookahead_s * sig.sr)

    def period(self, sig: Signal) -> int:
        """One hop."""
        return _hop(sig)

    def initial_state(self, sig: Signal) -> State:
        """Silence, gain 0 dB."""
        values = np.zeros(_ACTIVITY + N_ACTIVITY)
        values[_POWER] = -1.0
        values[[_FACTOR, _RATIO]] = 1.0
        values[[_PEAK, _LOCAL]] = SILENCE_DB
        values[_ACTIVITY:] = initial_activity(self._noise_db(sig))
        weighting = None if self.reference_lufs is None else np.zeros((sig.n_channels, 2, 2))
        return _State(np.zeros((sig.n_channels, self.latency(sig)), np.float32), values, weighting)

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Delay and apply the gain."""
        if x.shape[1] == 0:
            return x, state
        heard, weighting = x, None
        if state.weighting is not None:
            weighting = state.weighting.copy()
            heard = filter_sections(np.ascontiguousarray(x), k_weighting(sig.sr), weighting)
        values = state.values.copy()
        line = np.concatenate([state.held, x], axis=1)
        n = x.shape[1]
        y = np.empty_like(x, order="C")
        _apply(np.ascontiguousarray(heard), line, _hop(sig), self.mix, values, self._law(sig), y)
        return y, _State(line[:, n:].copy(), values, weighting)

    def flush(self, state: State, sig: Signal) -> Audio:
        """The last hop, of which what fills only a part gets the gain of that part, and what looked ahead."""
        values = state.values.copy()
        hop = _hop(sig)
        gain = np.pad(_last_gains(hop, sig.n_channels, values, self._law(sig)), (0, self.latency(sig) - hop), "edge")
        return state.held * (1.0 + self.mix * (gain - 1.0)).astype(np.float32)

    def _noise_db(self, sig: Signal) -> float:
        """Level of the noise, NaN where it is not known."""
        found = sig.measured
        if found is None:
            return math.nan
        return found.noise_dbfs + (0.0 if self.reference_lufs is None else found.loudness_lufs - found.level_dbfs)

    def _law(self, sig: Signal) -> NDArray[np.float64]:
        """Constants for the kernels, in the order in which `_next_gain_db` unpacks them."""
        reference, loudest, offset = self.reference_dbfs, np.nan, 0.0
        found = sig.measured
        if found is not None and np.isfinite(found.level_dbfs):
            loudest = found.peak_level_dbfs
            reference = found.level_dbfs if reference is None else reference
        if self.reference_lufs is not None:
            reference = self.reference_lufs
            offset = OFFSET_LUFS + float(power_to_db(sig.n_channels))  # channels add up, and are not averaged
            weighted = found is not None and np.isfinite(found.loudness_lufs)
            loudest = loudest + found.loudness_lufs - found.level_dbfs if found and weighted else np.nan
        release_s = self.tau_s if self.release_s is None else self.release_s
        return np.array(
            [
                deviation_factor(self.k, self.steps) - 1.0,
                np.nan if reference is None else reference,
                loudest,
                offset,
                self.gate_db,
                self.max_boost_db,
                self.max_cut_db,
                rho_for_tau(self.tau_s, HOP_S),
                rho_for_tau(release_s, HOP_S),
                np.inf if self.local_gate_db is None else self.local_gate_db,
                ACT_ON.index(self.act_on),
                *self._activity_law(),
            ]
        )

    def _activity_law(self) -> NDArray[np.float64]:
        """What is certainly speech moves the gain; what is certainly none does when it acts on the noise."""
        is_on_noise = self.act_on == "noise"
        return activity_law(HOP_S, onset_s=0.0) if is_on_noise else activity_law(HOP_S, hangover_s=0.0)


def _hop(sig: Signal) -> int:
    return max(1, round(HOP_S * sig.sr))


_DB = 10.0 / np.log(10.0)
_FLOOR = 1e-20
_USUAL_RHO = rho_for_tau(_USUAL_TAU_S, HOP_S)
_PEAK_STEP = _PEAK_FALL_DB * HOP_S
_LOCAL_STEP = _LOCAL_FALL_DB * HOP_S
_ALL, _SPEECH = ACT_ON.index("all"), ACT_ON.index("speech")


@njit(cache=True, nogil=True)
def _next_gain_db(power: float, values: NDArray[np.float64], law: NDArray[np.float64]) -> float:
    """Follow the power of one more hop; the gain in dB at its end. NaN: no such constant, estimate it."""
    scale, reference, loudest, offset, gate, boost, cut, rho_up, rho_down, local_gate, act_on = law[:11]
    level = _DB * np.log(max(power, _FLOOR)) + offset
    if np.isnan(loudest):
        values[_PEAK] = max(level, values[_PEAK] - _PEAK_STEP)
        loudest = values[_PEAK]
    values[_LOCAL] = max(level, values[_LOCAL] - _LOCAL_STEP)
    is_left = act_on != _ALL and activity_step(level, values[_ACTIVITY:], law[11:]) != (act_on == _SPEECH)
    if is_left or level < max(loudest - gate, values[_LOCAL] - local_gate, SILENCE_DB):
        return float(values[_GAIN_DB])
    values[_POWER] = power if values[_POWER] < 0.0 else follow_step(values[_POWER], power, rho_up, rho_down)
    followed = _DB * np.log(values[_POWER]) + offset
    if np.isnan(reference):
        values[_HOPS] += 1.0
        r = min(_USUAL_RHO, 1.0 - 1.0 / values[_HOPS])  # a plain mean first
        values[_USUAL] = follow_step(values[_USUAL], level, r, r)
        reference = values[_USUAL]
    return float(min(max(scale * (followed - reference), -cut), boost))


@njit(cache=True, nogil=True)
def _turn(n: int, new_db: float, values: NDArray[np.float64]) -> None:
    """Let the gain go from where it is to `new_db` over n samples."""
    old_db = values[_GAIN_DB]
    values[_GAIN_DB] = new_db
    values[_FACTOR] = np.exp(old_db / (2.0 * _DB))
    values[_RATIO] = np.exp((new_db - old_db) / (2.0 * _DB * n))


@njit(cache=True, nogil=True)
def _apply(
    heard: NDArray[np.float32],
    line: NDArray[np.float32],
    hop: int,
    mix: float,
    values: NDArray[np.float64],
    law: NDArray[np.float64],
    y: NDArray[np.float32],
) -> None:
    """The samples of `line` that leave while `heard` enters go to `y`; `values` moves along."""
    n_channels, n = heard.shape
    start = 0
    while start < n:
        stop = min(n, start + hop - int(values[_COUNT]))
        total, factor, ratio = values[_SUM], values[_FACTOR], values[_RATIO]
        for i in range(start, stop):
            gain = np.float32(1.0 + mix * (factor - 1.0))
            factor *= ratio
            for c in range(n_channels):
                total += float(heard[c, i]) * float(heard[c, i])
                y[c, i] = line[c, i] * gain
        values[_SUM], values[_FACTOR] = total, factor
        values[_COUNT] += stop - start
        if values[_COUNT] == hop:
            values[_SUM] = 0.0
            values[_COUNT] = 0.0
            _turn(hop, _next_gain_db(total / (hop * n_channels), values, law), values)
        start = stop


@njit(cache=True, nogil=True)
def _last_gains(
    hop: int, n_channels: int, values: NDArray[np.float64], law: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Gains of the last hop of samples."""
    gain = np.empty(hop)
    n_partial = int(values[_COUNT])
    for i in range(hop):
        if i == hop - n_partial:
            power = values[_SUM] / (n_partial * n_channels)
            _turn(n_partial, _next_gain_db(power, values, law), values)
        gain[i] = values[_FACTOR]
        values[_FACTOR] *= values[_RATIO]
    return gain
