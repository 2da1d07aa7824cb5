"""The log-spectral amplitude estimator, and the exponential integral that it needs.

G = xi / (1 + xi) exp(E1(v) / 2), v = gamma xi / (1 + xi), xi the a-priori and gamma the a-posteriori
signal-to-noise ratio (Y. Ephraim and D. Malah, Speech enhancement using a minimum mean-square error log-spectral
amplitude estimator, 1985, eq. 20).

E1 by M. Abramowitz and I. Stegun, Handbook of mathematical functions: the series 5.1.11 up to 1, the rational
approximation 5.1.56 over 1.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.fastmath import exp_row

_F = np.float32
_ONE, _HALF, _EULER = _F(1.0), _F(0.5), _F(0.5772156649015329)

#: v is kept within these: the gain does not change beyond.
_LEAST, _MOST = _F(1e-8), _F(60.0)

# (-1)**(n + 1) / (n n!)
_S1, _S2, _S3, _S4 = _F(1.0), _F(-1 / 4), _F(1 / 18), _F(-1 / 96)
_S5, _S6, _S7, _S8 = _F(1 / 600), _F(-1 / 4320), _F(1 / 35280), _F(-1 / 322560)

_A0, _A1, _A2, _A3 = _F(0.2677737343), _F(8.6347608925), _F(18.0590169730), _F(8.5733287401)
_B0, _B1, _B2, _B3 = _F(3.9584969228), _F(21.0996530827), _F(25.6329561486), _F(9.5733223454)


@njit(cache=True, nogil=True, error_model="numpy")
def lsa_row(
    xi: NDArray[np.float32],
    gamma: NDArray[np.float32],
    gain: NDArray[np.float32],
    fade: NDArray[np.float32],
    room: NDArray[np.float32],
    bits: NDArray[np.int32],
) -> None:
    """Gains of one frame to 1e-5 relative, at most 1. All rows are float32 of one length.

    Parameters
    ----------
    xi, gamma : a-priori and a-posteriori signal-to-noise ratio, over 0 and at most 1e12
    gain : where the gains go
    fade : where exp(-v) goes, v kept within 1e-8 and 60
    room, bits : to work in, and its view as int32
    """
    n = xi.size
    for j in range(n):
        gain[j] = -min(max(xi[j] / (_ONE + xi[j]) * gamma[j], _LEAST), _MOST)
    exp_row(gain, room, bits)
    for j in range(n):
        fade[j] = room[j]
    for j in range(n):
        v = -gain[j]
        u = min(v, _ONE)
        series = u * (_S1 + u * (_S2 + u * (_S3 + u * (_S4 + u * (_S5 + u * (_S6 + u * (_S7 + u * _S8)))))))
        above = (((v + _A3) * v + _A2) * v + _A1) * v + _A0
        below = (((v + _B3) * v + _B2) * v + _B1) * v + _B0
        # half of E1, without the logarithm below 1, which becomes the square root further down
        gain[j] = _HALF * (series - _EULER) if v <= _ONE else _HALF * fade[j] / v * above / below
    exp_row(gain, room, bits)
    for j in range(n):
        wiener = xi[j] / (_ONE + xi[j])
        v = max(wiener * gamma[j], _LEAST)
        gain[j] = min(wiener * room[j] / np.sqrt(min(v, _ONE)), _ONE)
