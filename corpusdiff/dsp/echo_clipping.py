"""The level at which a loudspeaker clips, found from what an adaptive filter leaves of its echo.

With h the echo path that the filter has learnt, x the far end and c the level, the error falls along the derivative of
the echo with respect to c, g = h * (sign(x) where |x| > c). A Kalman filter of one state moves c by the correlation of
g and the error, each bin weighted by the power of the near end. As long as no clipping is known, the error is regressed
on the predicted echo and on what clipping at a share of the far end's peak would take away of it; shares take turns.
The coefficient of the second is 0 where the loudspeaker is linear, whatever the near end does, a fifth or more where it
clips near that share. The model is the Hammerstein structure of A. Stenger and W. Kellermann, Adaptation of a
memoryless preprocessor for nonlinear acoustic echo cancelling, 2000.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Shares of the peak at which clipping is tried in turn, blocks of a turn, and the share over which it is none.
TRIED, TURN, NONE = (0.4, 0.2, 0.1), 96, 0.8

#: Coefficient from which on the loudspeaker clips, the blocks that it takes of a probe as loud as the near end, and
#: the blocks of any probe in the turn.
ENTER, EVIDENCE, HEARD = 0.17, 4.0, 24

#: Factor of the sums per block.
RHO = 0.98

#: Standard deviations of the level in shares of the peak: at first and at most, and what is added per block.
FIRST, DRIFT = 0.3, 0.006

#: Errors of neighbouring bins and blocks are not independent: so much of the information counts, per bin.
TRUST = 8.0

#: Largest step of the level per block, and the least level, in shares of the peak; how it rises by itself per block.
STEP, LEAST, RISE = 0.1, 0.02, 1e-4

#: Partitions of the filter that the correlation is taken with.
N_PARTITIONS = 12

_QUIET = np.float32(1e-6)


class Products(NamedTuple):
    """Inner products of spectra, over the power of the near end, means over the bins.

    Parameters
    ----------
    probe_error, probe_probe, probe_echo, echo_echo, echo_error : of the probe's echo, the predicted echo, the error
    """

    probe_error: float = 0.0
    probe_probe: float = 0.0
    probe_echo: float = 0.0
    echo_echo: float = 0.0
    echo_error: float = 0.0

    def __add__(self, other: tuple[float, ...]) -> Products:  # type: ignore[override]  # sums, not a longer tuple
        return Products(*(a + b for a, b in zip(self, other, strict=True)))


class ClipState(NamedTuple):
    """What is known of one loudspeaker.

    Parameters
    ----------
    level : where it clips, None where it does not
    peak : of the far end so far
    variance : of the level, in shares of the peak squared
    sums : of `Products`, of the blocks so far
    n_heard : blocks with a probe
    """

    level: float | None = None
    peak: float = 0.0
    variance: float = FIRST**2
    sums: Products = Products()
    n_heard: int = 0


def play(x: NDArray[np.float32], state: ClipState) -> tuple[NDArray[np.float32], NDArray[np.float32], ClipState]:
    """What the loudspeaker makes of one block, the probe, and the state with the block's peak; (block,) float32."""
    state = state._replace(peak=max(state.peak, float(np.abs(x).max())))
    if state.level is None:
        tried = np.float32(_tried(state) * state.peak)
        return x, np.clip(x, -tried, tried) - x, state
    level = np.float32(state.level)
    return np.clip(x, -level, level), np.where(np.abs(x) > level, np.sign(x), np.float32(0.0)), state


def learn(state: ClipState, products: Products) -> ClipState:
    """The state after a block, by what `correlate` gives, summed over the microphones."""
    heard = state.n_heard + (products.probe_probe > 1e-3)
    sums = Products(*(RHO * value for value in state.sums)) + products
    share = sums.probe_echo / max(sums.echo_echo, 1e-9)
    if state.level is None:
        error, power = _apart(sums, share)
        if heard % TURN == 0 and heard > state.n_heard:
            return state._replace(sums=Products(), n_heard=heard)
        if heard % TURN > HEARD and sums.probe_probe > EVIDENCE and error > ENTER * power > 0.0:
            return ClipState(_tried(state) * state.peak, state.peak, n_heard=heard)
        return state._replace(sums=sums, n_heard=heard)
    slope, curvature = _apart(products, share)
    slope, curvature = TRUST * slope * state.peak, TRUST * curvature * state.peak**2
    variance = state.variance / (1.0 + state.variance * max(curvature, 0.0))
    step = min(max(variance * slope, -STEP), STEP)
    level = max((state.level + step * state.peak) * (1.0 + RISE), LEAST * state.peak)
    if level > NONE * state.peak:
        return ClipState(None, state.peak, n_heard=heard)
    variance = min(variance + DRIFT**2, FIRST**2)
    return state._replace(level=level, variance=variance, sums=sums, n_heard=heard)


def _tried(state: ClipState) -> float:
    return TRIED[state.n_heard // TURN % len(TRIED)]


def _apart(products: Products, share: float) -> tuple[float, float]:
    """Product with the error, and power, of the probe less its share in the echo, which the filter learns by itself."""
    error = products.probe_error - share * products.echo_error
    return error, products.probe_probe - 2.0 * share * products.probe_echo + share**2 * products.echo_echo


@njit(cache=True, nogil=True)
def correlate(
    probe: NDArray[np.complex64], echo: NDArray[np.complex64], error: NDArray[np.complex64], near: NDArray[np.float32]
) -> tuple[float, float, float, float, float]:
    """Fields of `Products` of one block.

    Parameters
    ----------
    probe, echo : (n_bins,) complex64 spectra of two blocks, of which the second is the one
    error : (n_bins,) complex64 spectrum of one block after a block of silence
    near : (n_bins,) float32 power of the near end
    """
    a, b, c, d, e = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(near.size):
        weight = 1.0 / (near[k] + _QUIET)
        a += (probe[k].real * error[k].real + probe[k].imag * error[k].imag) * weight
        b += (probe[k].real * probe[k].real + probe[k].imag * probe[k].imag) * weight
        c += (probe[k].real * echo[k].real + probe[k].imag * echo[k].imag) * weight
        d += (echo[k].real * echo[k].real + echo[k].imag * echo[k].imag) * weight
        e += (echo[k].real * error[k].real + echo[k].imag * error[k].imag) * weight
    n = near.size
    return a / n, 0.5 * b / n, 0.5 * c / n, 0.5 * d / n, e / n  # of one block each
