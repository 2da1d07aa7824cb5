"""When an adaptive filter has to begin anew: the echo path is another one than it was.

The error of a filter that fits does not correlate with the echo that it predicts, whatever the near end says. After a
change of the path it does, negatively. A Kalman filter that was sure of the old path would take long to see it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Blocks of far-end speech after which the level of the echo is known, and that a verdict takes.
FIRST, ENOUGH = 32, 16

#: Factors per block of the sums, and of the powers.
RHO, POWER_RHO = 0.96, 0.98

#: A correlation coefficient of error and predicted echo under this is a wrong path.
WRONG = -0.4

#: Mean power under which the far end is silent.
SILENCE = 1e-9

#: What is to be done: nothing; take the weights for unsure; forget them too.
KEEP, DOUBT, FORGET = 0, 1, 2

#: Length of the state of `watch`: powers of microphone and far end, blocks heard, blocks since the filter began, sums
#: of error times echo, error squared, echo squared.
N_WATCHED = 7


def initial() -> NDArray[np.float64]:
    """The state before the first block."""
    return np.zeros(N_WATCHED)


@njit(cache=True, nogil=True)
def watch(
    mic: NDArray[np.float32], far: NDArray[np.float32], echo: NDArray[np.float32], state: NDArray[np.float64]
) -> int:
    """Hear one block, move `state` on, and say whether the filter begins anew.

    Parameters
    ----------
    mic, echo : (block,) float32, and what the filter predicted of it
    far : (n_references, block) float32
    state : from `initial`, changed in place

    Returns
    -------
    KEEP, DOUBT or FORGET
    """
    played = 0.0
    for r in range(far.shape[0]):
        for i in range(far.shape[1]):
            played += float(far[r, i]) ** 2
    if played < SILENCE * far.size:
        return KEEP
    heard, cross, left, known = 0.0, 0.0, 0.0, 0.0
    for i in range(mic.size):
        error = float(mic[i]) - float(echo[i])
        heard += float(mic[i]) ** 2
        cross += error * float(echo[i])
        left += error * error
        known += float(echo[i]) ** 2
    state[0] = POWER_RHO * state[0] + heard
    state[1] = POWER_RHO * state[1] + played
    state[2] += 1.0
    state[3] += 1.0
    state[4] = RHO * state[4] + cross
    state[5] = RHO * state[5] + left
    state[6] = RHO * state[6] + known
    wrong = state[3] >= ENOUGH and state[4] < WRONG * np.sqrt(state[5] * state[6])
    if wrong:
        state[3:] = 0.0
        return FORGET
    if state[2] == FIRST:
        return DOUBT
    return KEEP


def ratio(state: NDArray[np.float64]) -> float:
    """Power of the microphone over that of the far end, 1 before it is known."""
    return float(state[0] / state[1]) if state[2] >= FIRST else 1.0
