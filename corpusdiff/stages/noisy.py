"""When to take noise away: not from what has none."""

from __future__ import annotations

import math

from corpusdiff.stages.base import Signal

#: Under the limit, noise reduction fades in over this many dB.
FADE_DB = 5.0


def noisy_share(max_snr_db: float | None, sig: Signal) -> float:
    """How much of a noise reduction is wanted: 0 at `max_snr_db` and over, 1 from 5 dB below.

    1 where there is no limit, no first pass, or no estimate.

    >>> noisy_share(20.0, Signal(16000, 1))
    1.0
    """
    if max_snr_db is None or sig.measured is None or math.isnan(sig.measured.snr_db):
        return 1.0
    return min(max((max_snr_db - sig.measured.snr_db) / FADE_DB, 0.0), 1.0)
