"""What tests put in the way of a track, by its id (CORPUSDIFF_TEST_HOOK=hooks:poison)."""

from __future__ import annotations

import ctypes
import time
from pathlib import PurePosixPath

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


def slow(track):
    """Take a moment for each track."""
    time.sleep(0.1)


def crawl(track):
    """Take so long for each track that nobody waits for a shard."""
    time.sleep(10)


def other(track):
    """Read another file in place of every tenth track, as if this machine computed otherwise."""
    path = PurePosixPath(track.path)
    if path.stem.endswith("3"):
        object.__setattr__(track, "path", str(path.with_stem(f"{int(path.stem) + 4:03d}")))
