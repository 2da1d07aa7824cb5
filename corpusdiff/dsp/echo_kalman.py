"""The adaptive filter of an echo canceller: a Kalman filter on partitions in the frequency domain.

The echo path is cut into partitions of one block each, H_p[k], which wander as H <- A H + noise of power
(1 - A^2) E|H|^2. With X_p the spectrum of the far end p blocks ago, E that of the error, and P_p the variance of
what is not known of H_p, one block is

    K_p = P_p X_p^* / (sum_p P_p |X_p|^2 + 2 S),   H_p <- A (H_p + K_p E),   P_p <- A^2 (1 - K_p X_p / 2) P_p + ...

where S is the power of the near end and 2 the ratio of transform and block (G. Enzner and P. Vary, Frequency-domain
adaptive Kalman filter for acoustic echo control in hands-free telephones, 2006; F. Kuech, E. Mabande and G. Enzner,
State-space architecture of the partitioned-block-based acoustic echo controller, 2014, eqs. 9 to 18).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp import echo_watch

#: What keeps a quotient of powers finite.
_TINY = 1e-10

#: Variance of the first partition before anything is known, over the ratio of microphone and far end, and how it falls
#: from one to the next, in dB.
PRIOR, FALL_DB = 30.0, 1.5

#: Partitions per block that are held to a block's length in time.
N_HELD = 4


class FilterState(NamedTuple):
    """What is carried from block to block.

    Parameters
    ----------
    weights : (n_references, n_partitions, n_bins) complex64
    variance : (n_references, n_partitions, n_bins) float32 of the weights
    near : (n_bins,) float32 power of the near end
    watched : state of `echo_watch`
    """

    weights: NDArray[np.complex64]
    variance: NDArray[np.float32]
    near: NDArray[np.float32]
    watched: NDArray[np.float64]


class Predicted(NamedTuple):
    """What a filter says of one block.

    Parameters
    ----------
    echo : (block,) float32
    spectrum : (n_bins,) complex64 of the echo of two blocks, of which the second is the one
    error : (n_bins,) complex64 spectrum of what is left, after a block of silence
    unknown : (n_bins,) float32 share of the predicted power that is unknown
    """

    echo: NDArray[np.float32]
    spectrum: NDArray[np.complex64]
    error: NDArray[np.complex64]
    unknown: NDArray[np.float32]


def initial(n_references: int, n_partitions: int, n_bins: int) -> FilterState:
    """The state before the first block: a path of which only the order of size is known."""
    shape = (n_references, n_partitions, n_bins)
    return FilterState(
        np.zeros(shape, np.complex64), _prior(shape, 1.0), np.zeros(n_bins, np.float32), echo_watch.initial()
    )


def copy(state: FilterState) -> FilterState:
    """Arrays that `step` may change."""
    return FilterState(state.weights.copy(), state.variance.copy(), state.near.copy(), state.watched.copy())


def renew(state: FilterState, verdict: int) -> None:
    """Obey `echo_watch`, in place; how large the path may be goes by the powers that were heard."""
    if verdict == echo_watch.KEEP:
        return
    if verdict == echo_watch.FORGET:
        state.weights[:] = 0.0
    state.variance[:] = _prior(state.variance.shape, echo_watch.ratio(state.watched))


def moved(state: FilterState, n_blocks: int) -> FilterState:
    """The state of a filter that looks so many blocks further back: the partitions change places, and none is sure."""
    weights = np.zeros_like(state.weights)
    n = weights.shape[1]
    kept = slice(max(0, n_blocks), min(n, n + n_blocks))
    if kept.start < kept.stop:
        weights[:, max(0, -n_blocks) : min(n, n - n_blocks)] = state.weights[:, kept]
    return state._replace(weights=weights, variance=_prior(weights.shape, echo_watch.ratio(state.watched)))


def step(
    mic: NDArray[np.float32],
    spectra: NDArray[np.complex64],
    newest: int,
    state: FilterState,
    n_blocks: int,
    transition: float,
    near_rho: float,
) -> Predicted:
    """Predict one block of echo, and learn from it: `state` moves along in place.

    Parameters
    ----------
    mic : (block,) float32
    spectra, newest : as in `predict`
    n_blocks : blocks so far: which partitions' turn it is to be held to a block's length
    transition, near_rho : see `corpusdiff.dsp.echo.Design`
    """
    import scipy.fft

    block = mic.size
    predicted, unknown, known = predict(spectra, newest, state.weights, state.variance)
    echo = scipy.fft.irfft(predicted, 2 * block)[block:]
    padded = np.zeros(2 * block, np.float32)
    padded[block:] = mic - echo
    error = scipy.fft.rfft(padded)
    near_power(state.near, error, near_rho)
    update(spectra, newest, state.weights, state.variance, error, unknown, state.near, transition)
    _hold(state.weights, n_blocks, block)
    return Predicted(echo, predicted, error, unknown / (known + np.float32(_TINY)))


def _prior(shape: tuple[int, ...], ratio: float) -> NDArray[np.float32]:
    variance = PRIOR * ratio * 10.0 ** (-0.1 * FALL_DB * np.arange(shape[1]))
    return np.broadcast_to(variance[:, None], shape).astype(np.float32)


def _hold(weights: NDArray[np.complex64], n_blocks: int, block: int) -> None:
    """Take from some partitions what lies outside of a block in time: each block's turn is on other ones."""
    import scipy.fft

    n_partitions = weights.shape[1]
    turn = (n_blocks * N_HELD + np.arange(min(N_HELD, n_partitions))) % n_partitions
    responses = scipy.fft.irfft(weights[:, turn], 2 * block, axis=-1)
    responses[..., block:] = 0.0
    weights[:, turn] = scipy.fft.rfft(responses, axis=-1)


@njit(cache=True, nogil=True)
def predict(
    spectra: NDArray[np.complex64],
    newest: int,
    weights: NDArray[np.complex64],
    variance: NDArray[np.float32],
) -> tuple[NDArray[np.complex64], NDArray[np.float32], NDArray[np.float32]]:
    """What the filter says of the next block.

    Parameters
    ----------
    spectra : (n_references, n_history, n_bins) complex64, a ring of the far end's spectra
    newest : place in the ring that the first partition sees
    weights : (n_references, n_partitions, n_bins) complex64, H_p
    variance : (n_references, n_partitions, n_bins) float32, P_p

    Returns
    -------
    (n_bins,) complex64 sum of H_p X_p, (n_bins,) float32 sum of P_p |X_p|^2, (n_bins,) float32 sum of |H_p X_p|^2
    """
    n_references, n_partitions, n_bins = weights.shape
    n_history = spectra.shape[1]
    echo = np.zeros(n_bins, np.complex64)
    unknown = np.zeros(n_bins, np.float32)
    known = np.zeros(n_bins, np.float32)
    for r in range(n_references):
        for p in range(n_partitions):
            x = spectra[r, (newest - p) % n_history]
            w = weights[r, p]
            v = variance[r, p]
            for k in range(n_bins):
                power = x[k].real * x[k].real + x[k].imag * x[k].imag
                echo[k] += w[k] * x[k]
                unknown[k] += v[k] * power
                known[k] += (w[k].real * w[k].real + w[k].imag * w[k].imag) * power
    return echo, unknown, known


@njit(cache=True, nogil=True)
def update(
    spectra: NDArray[np.complex64],
    newest: int,
    weights: NDArray[np.complex64],
    variance: NDArray[np.float32],
    error: NDArray[np.complex64],
    unknown: NDArray[np.float32],
    near: NDArray[np.float32],
    transition: float,
) -> None:
    """Learn from one block, in place.

    Parameters
    ----------
    spectra, newest, weights, variance : as in `predict`; the last two are changed
    error : (n_bins,) complex64 spectrum
    unknown : (n_bins,) float32 sum of P_p |X_p|^2, from `predict`
    near : (n_bins,) float32 power of the near end
    transition : A
    """
    n_references, n_partitions, n_bins = weights.shape
    n_history = spectra.shape[1]
    a = np.float32(transition)
    keep = np.float32(transition * transition)
    drift = np.float32(1.0 - transition * transition)
    scale = np.empty(n_bins, np.float32)
    for k in range(n_bins):
        scale[k] = np.float32(1.0) / (unknown[k] + np.float32(2.0) * near[k] + np.float32(_TINY))
    for r in range(n_references):
        for p in range(n_partitions):
            x = spectra[r, (newest - p) % n_history]
            w = weights[r, p]
            v = variance[r, p]
            for k in range(n_bins):
                step = v[k] * scale[k]
                power = x[k].real * x[k].real + x[k].imag * x[k].imag
                new = a * (w[k] + step * (np.conj(x[k]) * error[k]))
                w[k] = new
                size = new.real * new.real + new.imag * new.imag
                v[k] = keep * (np.float32(1.0) - np.float32(0.5) * step * power) * v[k] + drift * size


@njit(cache=True, nogil=True)
def near_power(near: NDArray[np.float32], error: NDArray[np.complex64], rho: float) -> None:
    """Follow the power of the near end, for which the error is taken, in place."""
    r = np.float32(rho)
    for k in range(near.size):
        power = error[k].real * error[k].real + error[k].imag * error[k].imag
        near[k] = r * near[k] + (np.float32(1.0) - r) * power
