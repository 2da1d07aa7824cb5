"""Where a signal stands out of its own noise: a running floor by the law, an onset and a hangover.

The floor is the law in dB toward the level, slowly where the level is over it and fast where it is under, so that
it lies at the level of the pauses. A hop is active when it, and those shortly before it, are so far over the floor;
it stays active for a while afterwards. Nothing here looks ahead.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.law import follow_step, rho_for_tau

#: Time constants of the floor, in seconds.
RISE_S, FALL_S = 3.0, 0.05

#: How far over the floor is active, in dB.
OVER_DB = 6.0

#: How long a level must be over before it counts, and for how long it counts afterwards, in seconds.
ONSET_S, HANGOVER_S = 0.03, 0.2

#: What comes first, perhaps half a frame or a fade, says nothing of the floor, in seconds.
SETTLE_S = 0.05

#: Time constant of the weights of frames, and the weight that is none.
FADE_S = 0.015
_NO_WEIGHT = 1e-3

#: What a stage may act on.
ACT_ON = ("all", "speech", "noise")

#: Under this level nothing is active, and the floor stays where it is.
SILENCE_DBFS = -100.0

#: Length of the state of `activity_step`: the floor in dB (NaN: none yet), hops over it, hops of hangover left, hops
#: that were waited for.
N_ACTIVITY = 4


def initial_activity(noise_dbfs: float = math.nan) -> NDArray[np.float64]:
    """The state before the first hop, from a level of the noise where it is known; (N_ACTIVITY,) float64."""
    return np.array([noise_dbfs, 0.0, 0.0, 0.0])


def activity_law(
    dt: float,
    *,
    over_db: float = OVER_DB,
    onset_s: float = ONSET_S,
    hangover_s: float = HANGOVER_S,
    settle_s: float = SETTLE_S,
) -> NDArray[np.float64]:
    """Constants of `activity_step` for hops of `dt` seconds; (6,) float64."""
    onset = max(1.0, round(onset_s / dt))
    return np.array(
        [rho_for_tau(RISE_S, dt), rho_for_tau(FALL_S, dt), over_db, onset, round(hangover_s / dt), round(settle_s / dt)]
    )


@njit(cache=True, nogil=True)
def activity_step(level_db: float, state: NDArray[np.float64], law: NDArray[np.float64]) -> bool:
    """Take the level of one more hop, move `state` on, and say whether the hop is active."""
    rho_up, rho_down, over_db, onset, hangover, settle = law
    floor, run, left, waited = state
    is_over = False
    if level_db > SILENCE_DBFS and waited < settle:
        waited += 1.0
    elif level_db > SILENCE_DBFS:
        floor = level_db if np.isnan(floor) else follow_step(floor, level_db, rho_up, rho_down)
        is_over = level_db > floor + over_db
    run = run + 1.0 if is_over else 0.0
    left = hangover if run >= onset else max(left - 1.0, 0.0)
    state[0], state[1], state[2], state[3] = floor, run, left, waited
    return run >= onset or left > 0.0


@njit(cache=True, nogil=True)
def frame_weights(
    power: NDArray[np.float32],
    scale: float,
    state: NDArray[np.float64],
    law: NDArray[np.float64],
    rho: float,
    active: bool,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Weights, from 0 to 1, of the frames that are active (or are not), and which they are.

    Parameters
    ----------
    power : (n_frames, n_bins) float32 power spectra; `scale` times their sum is the power of a frame
    state : (N_ACTIVITY + 1,) float64, from `initial_activity` and the weight of the frame before; moves on
    law : from `activity_law`
    rho : factor by which a weight's distance from 0 or 1 falls from frame to frame
    active : which frames have weight 1

    Returns
    -------
    (n_frames,) float64 and (n_frames,) bool
    """
    n_frames, n_bins = power.shape
    weights, wanted = np.empty(n_frames), np.empty(n_frames, np.bool_)
    for i in range(n_frames):
        total = 0.0
        for j in range(n_bins):
            total += power[i, j]
        level_db = 10.0 * np.log10(max(total * scale, 1e-20))
        wanted[i] = activity_step(level_db, state[:N_ACTIVITY], law) == active
        weight = follow_step(state[N_ACTIVITY], 1.0 if wanted[i] else 0.0, rho, rho)
        state[N_ACTIVITY] = weight if wanted[i] or weight > _NO_WEIGHT else 0.0
        weights[i] = state[N_ACTIVITY]
    return weights, wanted
