"""Decibels and times. All decibels in this package are power decibels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Power below which a level is not told apart from silence (-200 dB).
POWER_FLOOR = 1e-20

_DB_PER_NEPER = 10.0 / np.log(10.0)


def power_to_db(power: ArrayLike) -> NDArray[np.float64]:
    """Level in dB of a power, at least -200.

    >>> power_to_db([1.0, 0.0]).round(9)
    array([   0., -200.])
    """
    return _DB_PER_NEPER * np.log(np.maximum(np.asarray(power, np.float64), POWER_FLOOR))


def db_to_power(db: ArrayLike) -> NDArray[np.float64]:
    """Power of a level in dB.

    >>> float(db_to_power(10.0)).__round__(12)
    10.0
    """
    return np.exp(np.asarray(db, np.float64) / _DB_PER_NEPER)


def db_to_amplitude(db: ArrayLike) -> NDArray[np.float64]:
    """Amplitude factor of a gain in dB.

    >>> float(db_to_amplitude(20.0)).__round__(12)
    10.0
    """
    return np.exp(np.asarray(db, np.float64) / (2.0 * _DB_PER_NEPER))


def amplitude_to_db(amplitude: ArrayLike) -> NDArray[np.float64]:
    """Level in dB of an amplitude, at least -200.

    >>> float(amplitude_to_db(0.1)).__round__(9)
    -20.0
    """
    return power_to_db(np.square(np.asarray(amplitude, np.float64)))
