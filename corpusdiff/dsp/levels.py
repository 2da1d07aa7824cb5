"""Peak, power, offset, clipping and the level over time of a signal in blocks."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.sums import scratch, sum_and_power
from corpusdiff.units import power_to_db

#: Distance of two levels, in seconds; a fifth of it is a whole number of samples.
HOP_S = 0.05

#: So many neighbouring samples at their channel's own extreme are a clipped peak.
CLIP_RUN = 3

#: An extreme under this, -6 dBFS, is no clipping, whatever its shape.
CLIP_FROM = 0.5

_GATE_DB = 30.0
_SILENCE_DBFS = -100.0


class LevelMeter:
    """Sums up samples one by one, so that no number depends on the blocks.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    """

    def __init__(self, sr: int, n_channels: int) -> None:
        self.n_samples = 0
        self._hop = 5 * max(1, round(HOP_S / 5 * sr))
        self._sums = np.zeros((n_channels, 2))
        self._flats = np.zeros((n_channels, 2, 3))
        self._rest = np.zeros((n_channels, 0), np.float32)
        self._hops: list[NDArray[np.float64]] = []
        self._lead = _Lead(n_channels)

    @property
    def grid(self) -> int:
        """Samples that the part of a track that may be merged is a multiple of."""
        return self._hop

    def update(self, x: NDArray[np.float32]) -> None:
        """(n_channels, n) float32."""
        self._lead.update(x)
        samples = np.ascontiguousarray(x)
        _follow_flats(samples, self._flats)
        self.n_samples += x.shape[1]
        missing = self._hop - self._rest.shape[1] if self._rest.size else 0
        if self._rest.size:
            self._rest = np.concatenate([self._rest, samples[:, :missing]], axis=1)
            self._add(self._rest, 0)
        if missing <= x.shape[1]:
            self._add(samples, missing)
            self._rest = samples[:, x.shape[1] - (x.shape[1] - missing) % self._hop :].copy()

    def _add(self, x: NDArray[np.float32], start: int) -> None:
        """The whole hops from a sample on."""
        hops = _add_hops(x, start, self._hop, self._sums)
        if len(hops):
            self._hops.append(hops)

    def merge(self, later: LevelMeter) -> None:
        """Go on with what another meter found of the samples that follow: as if this one had heard them too.

        Extremes and counts are equal to those of one meter, sums but for rounding. What came here is a multiple of
        `grid`, and something came there. Raises ValueError where it is not.
        """
        check_on_grid(self._rest.shape[1])
        for c in range(len(self._sums)):
            for side, sign in enumerate((1.0, -1.0)):
                _join_flats(self._flats[c, side], later._flats[c, side], *later._lead.at(c, sign, later.n_samples))
        self._sums += later._sums
        self._rest = later._rest
        self._hops += later._hops
        self.n_samples += later.n_samples

    @property
    def peak(self) -> float:
        """Highest magnitude."""
        return float(self._flats[:, :, _EXTREME].max())

    @property
    def mean_square(self) -> float:
        """Mean over channels and samples."""
        return float((self._sums + self._unfinished())[:, _POWER].sum()) / max(1, self._sums.shape[0] * self.n_samples)

    @property
    def dc(self) -> float:
        """The channel's mean that is farthest from zero."""
        means = (self._sums + self._unfinished())[:, _OFFSET] / max(1, self.n_samples)
        return float(means[np.abs(means).argmax()])

    def _unfinished(self) -> NDArray[np.float64]:
        """(n_channels, 2): the sums of the unfinished hop."""
        sums = np.zeros_like(self._sums)
        _add_hops(self._rest, 0, max(1, self._rest.shape[1]), sums)
        return sums

    @property
    def clip_rate(self) -> float:
        """Share of the samples that lie in runs of `CLIP_RUN` or more at their channel's own extreme.

        The highest and the lowest value of a channel count where they are at -6 dBFS or over: a recording that was
        clipped and then attenuated is found as well (as by the flat factor of SoX's ``stats``). Clipping that a
        lossy codec or a filter has passed since is not flat any more, and not found.
        """
        flat = np.where(self._flats[:, :, _EXTREME] >= CLIP_FROM, self._flats[:, :, _FLAT], 0.0)
        return float(flat.sum()) / max(1, self._sums.shape[0] * self.n_samples)

    def levels_dbfs(self) -> NDArray[np.float64]:
        """(n,) mean power of all channels over each 50 ms from the start, in dBFS; the rest counts as one more."""
        sums = np.concatenate([np.zeros(0), *self._hops, [float(self._unfinished()[:, _POWER].sum())]])
        counts = np.full(len(sums), float(self._hop))
        counts[-1] = self._rest.shape[1]
        return power_to_db(sums / np.maximum(counts, 1.0) / self._sums.shape[0])


class _Lead:
    """How many samples of each channel, from the first on, are equal to the first."""

    def __init__(self, n_channels: int) -> None:
        self._first = np.zeros((n_channels, 1))
        self._n = np.zeros(n_channels, np.int64)
        self._goes_on = np.ones(n_channels, np.bool_)

    def update(self, x: NDArray[np.float32]) -> None:
        if not x.shape[1] or not self._goes_on.any():
            return
        if not self._n.any():
            self._first[:] = x[:, :1]
        differs = x != self._first
        ends = differs.any(axis=1)
        self._n += np.where(self._goes_on, np.where(ends, differs.argmax(axis=1), x.shape[1]), 0)
        self._goes_on &= ~ends

    def at(self, channel: int, sign: float, n_samples: int) -> tuple[float, float, bool]:
        """First sample times the sign, how many are equal to it, and whether they are all of `n_samples`."""
        n = int(self._n[channel])
        return float(sign * self._first[channel, 0]), float(n), n == n_samples


def _join_flats(
    flat: NDArray[np.float64], later: NDArray[np.float64], lead: float, n_lead: float, all_lead: bool
) -> None:
    """Go on with the flats of the samples that follow, which begin with `n_lead` times the value `lead`."""
    if later[_EXTREME] > flat[_EXTREME]:
        flat[:] = later
    elif later[_EXTREME] < flat[_EXTREME]:
        flat[_RUN] = 0.0
    else:
        before, begun = flat[_RUN], n_lead if lead == flat[_EXTREME] else 0.0
        parted = _counted(before) + _counted(begun)
        flat[_FLAT] += later[_FLAT] + _counted(before + begun) - parted
        flat[_RUN] = before + begun if all_lead and begun else later[_RUN]


def _counted(run: float) -> float:
    return run if run >= CLIP_RUN else 0.0


def check_on_grid(n_over: int) -> None:
    """Raises ValueError unless a meter that goes on with another's findings has `n_over` = 0 samples over its grid."""
    if n_over:
        raise ValueError(f"{n_over} samples over the grid: only whole hops can be merged with what follows")


def usual_levels(levels_dbfs: NDArray[np.float64]) -> tuple[float, float]:
    """Median of the levels over the floor gate, and 95th percentile of all that are not silence; NaN for silence.

    The gate lies 30 dB under the 95th percentile.
    """
    heard = np.sort(levels_dbfs[levels_dbfs > _SILENCE_DBFS])
    if not len(heard):
        return float("nan"), float("nan")
    loudest = ranked(heard, 0.95)
    return ranked(heard[np.searchsorted(heard, loudest - _GATE_DB) :], 0.5), loudest


def ranked(values: NDArray[np.float64], q: float) -> float:
    """The quantile of sorted values, linear in between, as `numpy.quantile` has it in a tenth of the time."""
    place = q * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    return float(values[below] + (place - below) * (values[above] - values[below]))


# columns of the sums: sum, sum of squares
_OFFSET, _POWER = range(2)

# of the flats, upward and downward: extreme so far, samples in a row at it now, and samples in long runs at it
_EXTREME, _RUN, _FLAT = range(3)

#: Samples that are passed over together where none of them reaches an extreme.
_STRETCH = 64


@njit(cache=True, nogil=True)
def _at_extreme(value: float, flat: NDArray[np.float64]) -> None:
    """Follow the runs at the extreme so far, which `value` is at or over."""
    if value > flat[_EXTREME]:
        flat[_EXTREME], flat[_RUN], flat[_FLAT] = value, 1.0, 0.0
        return
    flat[_RUN] += 1.0
    if flat[_RUN] >= CLIP_RUN:
        flat[_FLAT] += CLIP_RUN if flat[_RUN] == CLIP_RUN else 1.0


@njit(cache=True, nogil=True)
def _follow_flats(x: NDArray[np.float32], flats: NDArray[np.float64]) -> None:
    """Add the runs at the extremes of each channel."""
    for c in range(len(x)):
        _follow_flat(x[c], flats[c])


@njit(cache=True, nogil=True)
def _follow_flat(x: NDArray[np.float32], flats: NDArray[np.float64]) -> None:
    """Add the runs at the extremes of one channel; stretches that reach neither extreme are passed over."""
    for start in range(0, x.size, _STRETCH):
        part = x[start : start + _STRETCH]
        highest, lowest = np.float32(flats[0, _EXTREME]), np.float32(-flats[1, _EXTREME])
        n_reaching = 0
        for i in range(part.size):  # a sum, for many samples are compared at once so
            n_reaching += (part[i] >= highest) | (part[i] <= lowest)
        if n_reaching == 0:
            flats[:, _RUN] = 0.0
            continue
        for i in range(part.size):
            value = float(part[i])
            for side in range(2):
                if value >= flats[side, _EXTREME]:
                    _at_extreme(value, flats[side])
                else:
                    flats[side, _RUN] = 0.0
                value = -value


@njit(cache=True, nogil=True)
def _add_hops(x: NDArray[np.float32], start: int, hop: int, sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add the whole hops of (n_channels, n) samples to `sums`; (n_hops,) the power of each, all channels together.

    `x` is contiguous: vector instructions are made of no other.
    """
    hops = np.zeros((x.shape[1] - start) // hop)
    folded = scratch(hop)
    for c in range(len(x)):
        channel = x[c]
        for k in range(hops.size):
            at = start + k * hop
            offset, power = sum_and_power(channel[at : at + hop], folded)
            sums[c, _OFFSET] += offset
            sums[c, _POWER] += power
            hops[k] += power
    return hops
