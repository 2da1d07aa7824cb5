"""What an adaptive filter leaves of an echo, and gains that take it down.

The residual echo is taken for a share of the echo that the filter predicts, bin by bin. The share follows the
ratio of error and prediction by the law, with the probability that the near end is silent as its rate: the tracker of
`corpusdiff.dsp.denoise` with the predicted echo for a floor. The gain is the log-spectral amplitude estimator of
`corpusdiff.dsp.lsa` over that residue.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.fastmath import exp_row
from corpusdiff.dsp.lsa import lsa_row

_ONE, _ZERO = np.float32(1.0), np.float32(0.0)

#: A-priori ratio of near end and residue in a bin that holds near-end speech: 15 dB.
PRIOR = np.float32(10.0**1.5)
_SLOPE = np.float32(PRIOR / (1 + PRIOR))

#: Where the near end has been this probable for long, the share is stuck, and the probability is held under it.
STUCK = np.float32(0.99)

#: A residue of less than this share of the error is none, and the gain is one.
NOTHING = np.float32(1e-6)

_TINY, _LEAST, _MOST, _STEEP = np.float32(1e-20), np.float32(1e-8), np.float32(1e12), np.float32(80.0)


class ResidualState(NamedTuple):
    """What is carried from frame to frame, each (n_bins,) float32.

    Parameters
    ----------
    error, echo : powers whose quotient is the share of the echo that is left
    presence : smoothed probability of the near end
    clean : power of the near end as the last frame's gain left it
    """

    error: NDArray[np.float32]
    echo: NDArray[np.float32]
    presence: NDArray[np.float32]
    clean: NDArray[np.float32]


def initial(n_bins: int) -> ResidualState:
    """The state before the first frame: all of the echo is left."""
    start = np.full(n_bins, _TINY, np.float32)
    silence = np.zeros(n_bins, np.float32)
    return ResidualState(start, start, silence, silence)


@njit(cache=True, nogil=True)
def residual_gains(
    error: NDArray[np.float32],
    echo: NDArray[np.float32],
    unknown: NDArray[np.float32],
    state: ResidualState,
    rhos: tuple[np.float32, np.float32, np.float32],
    over: np.float32,
    floor: np.float32,
) -> NDArray[np.float32]:
    """Gains of frames; the state moves along in place.

    Parameters
    ----------
    error, echo : (n_frames, n_bins) float32 powers of what the filter left and of the echo that it predicted
    unknown : (n_frames, n_bins) float32 share of the echo that the filter itself does not trust
    state : arrays that may change
    rhos : factors per frame of the share, of the probability, and of the decision-directed a-priori ratio
    over : factor of the residue
    floor : least gain

    Returns
    -------
    (n_frames, n_bins) float32
    """
    sum_error, sum_echo, presence, clean = state
    share_rho, presence_rho, prior_rho = rhos
    n_frames, n_bins = error.shape
    gains = np.empty((n_frames, n_bins), np.float32)
    residue, p, fade, room = np.empty((4, n_bins), np.float32)
    xi, gamma = np.empty((2, n_bins), np.float32)
    bits = room.view(np.int32)
    least = max(floor * floor, _LEAST)
    for i in range(n_frames):
        for k in range(n_bins):
            share = max(sum_error[k] / sum_echo[k], unknown[i, k])
            residue[k] = max(share * echo[i, k], NOTHING * error[i, k] + _TINY)
            gamma[k] = min(error[i, k] / residue[k], _MOST)
            p[k] = -_SLOPE * min(gamma[k], _STEEP)
        exp_row(p, room, bits)
        for k in range(n_bins):
            near = _ONE / (_ONE + (_ONE + PRIOR) * room[k])
            presence[k] = presence_rho * presence[k] + (_ONE - presence_rho) * near
            rate = (_ONE - share_rho) * (_ONE - (min(near, STUCK) if presence[k] > STUCK else near))
            sum_error[k] += rate * (error[i, k] - sum_error[k])
            sum_echo[k] += rate * (echo[i, k] - sum_echo[k])
            gamma[k] = min(error[i, k] / (over * residue[k]), _MOST)
            prior = prior_rho * clean[k] / (over * residue[k]) + (_ONE - prior_rho) * max(gamma[k] - _ONE, _ZERO)
            xi[k] = min(max(prior, least), _MOST)
            gamma[k] = max(gamma[k], _LEAST)
        lsa_row(xi, gamma, gains[i], fade, room, bits)
        for k in range(n_bins):
            nothing = residue[k] <= NOTHING * error[i, k] + _TINY
            gains[i, k] = _ONE if nothing else max(gains[i, k], floor)
            clean[k] = gains[i, k] * gains[i, k] * error[i, k]
    return gains
