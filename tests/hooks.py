"""What tests put in the way of a track, by the names in its id (CORPUSDIFF_TEST_HOOK=hooks:poison)."""

from __future__ import annotations

import ctypes
import time

import numpy as np


def poison(track):
    """Crash, hang, spin or take 50 GB where the track's id says so."""
    if "segfault" in track.id:
        ctypes.string_at(0)
    if "hang" in track.id:
        time.sleep(3600)
    if "spin" in track.id:
        while True:
            pass
    if "fifty" in track.id:
        np.ones(50 * 2**27)
