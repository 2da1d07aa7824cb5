"""The law of diffusion: an intensity moves step by step away from or toward a reference.

    A[n] = A[n-1] + k*dt*(A[n-1] - A0) = rho*A[n-1] + (1 - rho)*A0,     rho = 1 + k*dt

With D[n] = A[n] - A0 this is D[n] = rho*D[n-1], hence the closed form A[n] = A0 + rho**n * (A[0] - A0):
growth (k > 0) and decay (k < 0) are exponential, A0 is a fixed point, and the decay does not overshoot
as long as rho >= 0. The same recurrence is

- a one-pole follower, when A0 is a signal: y[n] = rho*y[n-1] + (1 - rho)*x[n], rho = exp(-dt/tau);
- a two-sided compressor of ratio 1/rho**T about A0, when A is a level in dB and T steps are taken at
  once (an expander for k > 0);
- the heat equation, when A0 is the mean of the two neighbours (`heat_multiplier`).

rho is within 1e-6 of one in practice and is carried in float64: in float32, 1 + 0.01/8000 is rounded to
a step that is 5 % off.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from corpusdiff.errors import ParameterError

#: Largest factor of a deviation that is taken for meant.
_MOST = 1e6


def rho(k: float, dt: float = 1.0) -> float:
    """Factor of the deviation per step, 1 + k*dt.

    Parameters
    ----------
    k : diffusion coefficient in 1/unit of `dt`; negative toward the reference
    dt : length of a step

    Raises
    ------
    ParameterError : for k < -1/dt, where the deviation would change its sign at every step, and for
        k that is not finite

    >>> rho(0.1), rho(-1.0)
    (1.1, 0.0)
    """
    if not math.isfinite(k):
        raise ParameterError("k", f"got {k}; give a finite number")
    factor = 1.0 + k * dt
    if not factor >= 0.0:
        raise ParameterError("k", f"got {k:g}; under {-1.0 / dt:g} every step overshoots the reference; give more")
    return factor


def deviation_factor(k: float, steps: int) -> float:
    """What `steps` steps of length 1 make of the deviation, rho**steps.

    Raises
    ------
    ParameterError : as `rho`; for a negative or broken number of steps; for a factor over 1e6

    >>> round(deviation_factor(-0.15, 10), 3), deviation_factor(0.5, 0)
    (0.197, 1.0)
    """
    factor = rho(k)
    if not isinstance(steps, int) or steps < 0:
        raise ParameterError("steps", f"got {steps!r}; give a whole number, 0 or more")
    if steps * math.log(max(factor, 1.0)) > math.log(_MOST):
        most = math.floor(math.log(_MOST) / math.log(factor))
        raise ParameterError("steps", f"got {steps}; k = {k:g} grows over {_MOST:g}-fold: give at most {most}")
    return factor**steps


def closed_form(n: ArrayLike, a_init: float, a_ref: float, rho: float) -> NDArray[np.float64]:
    """A[n] without the n steps; infinite where it passes the range of float64.

    Parameters
    ----------
    n : whole numbers of steps, any shape
    a_init, a_ref : A[0] and A0
    rho : factor per step

    >>> closed_form([0, 1, 2], 2.0, 1.0, 0.5)
    array([2.  , 1.5 , 1.25])
    """
    steps = np.asarray(n, np.float64)
    if a_init == a_ref:  # the fixed point, also where rho**n is infinite
        return np.full_like(steps, a_ref)
    with np.errstate(over="ignore"):
        return a_ref + np.power(np.float64(rho), steps) * (a_init - a_ref)


def k_for_gain(gain: float, n_steps: float, dt: float = 1.0) -> float:
    """The k by which A grows `gain` times in `n_steps` steps when A0 is 0.

    >>> round(k_for_gain(2.0, 554518.0935, 1 / 8000), 9)
    0.01
    """
    return math.expm1(math.log(gain) / n_steps) / dt


def steps_for_gain(gain: float, k: float, dt: float = 1.0) -> float:
    """Steps (not whole) after which A has grown `gain` times when A0 is 0.

    >>> round(steps_for_gain(2.0, 0.01, 1 / 8000), 2)
    554518.09
    """
    return math.log(gain) / math.log1p(k * dt)


def rho_for_tau(tau_s: float, dt: float) -> float:
    """Factor per step of `dt` seconds of a follower with time constant `tau_s`; 0 follows at once."""
    return math.exp(-dt / tau_s) if tau_s > 0 else 0.0


def heat_multiplier(d: float, steps: int, n_bins: int) -> NDArray[np.float64]:
    """What `steps` steps of the law along n_bins bins do to each cosine of the bins' DCT-I.

    A step is A[m] += d*(A[m-1] - 2 A[m] + A[m+1]), which is the law with A0 the mean of the neighbours and
    k = -2d. Neumann ends make the eigenvectors cos(pi j m / M), M = n_bins - 1, with the eigenvalues
    1 - 4 d sin^2(pi j / 2M).

    Parameters
    ----------
    d : diffusivity in bins^2 per step, at most 1/4; negative sharpens
    steps : number of steps
    n_bins : at least 2

    Returns
    -------
    (n_bins,) float64
    """
    j = np.arange(n_bins)
    return np.power(1.0 - 4.0 * d * np.sin(0.5 * np.pi * j / (n_bins - 1)) ** 2, steps)


@njit(cache=True, nogil=True)
def follow_step(value: float, x: float, rho_up: float, rho_down: float) -> float:
    """One step of the law toward `x`, with a factor for x over the value (attack) and one for under (release).

    >>> follow_step(0.0, 1.0, 0.5, 0.9), round(follow_step(1.0, 0.0, 0.5, 0.9), 9)
    (0.5, 0.9)
    """
    r = rho_up if x > value else rho_down
    return r * value + (1.0 - r) * x
