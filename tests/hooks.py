"""What tests put in the way of a track, by its id (CORPUSDIFF_TEST_HOOK=hooks:poison)."""

from __future__ import annotations

import ctypes
import os
import time
import zlib
from pathlib import PurePosixPath

import numpy as np


def begun(track):
    """Write each start of a track down, in the file that the environment names; nothing where it names none."""
    if "CORPUSDIFF_TEST_COUNT" in os.environ:
        with open(os.environ["CORPUSDIFF_TEST_COUNT"], "a") as file:  # noqa: PTH123  # one short append
            file.write(f"{track.id}\n")


def poison(track):
    """Crash, hang, spin, take 50 GB at once or as much as there is where the track's id says so."""
    begun(track)
    if "segfault" in track.id:
        ctypes.string_at(0)
    if "hang" in track.id:
        time.sleep(3600)
    if "spin" in track.id:
        while True:
            pass
    if "fifty" in track.id:
        np.ones(50 * 2**27)
    if "devour" in track.id:
        _devour()


def slow(track):
    """Take a moment for each track."""
    begun(track)
    time.sleep(0.1)


def crawl(track):
    """Take so long for each track that nobody waits for a shard."""
    begun(track)
    time.sleep(10)


def devour_once(track):
    """Take memory without end at the first start of one track, whichever process comes first."""
    begun(track)
    if "005" in track.id:
        try:
            os.close(os.open(os.environ["CORPUSDIFF_TEST_COUNT"] + ".devoured", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        _devour()


def _devour():
    taken = []
    while True:
        taken.append(np.ones(2**20))


def other(track):
    """Read another file in place of every tenth track, as if this machine computed otherwise."""
    path = PurePosixPath(track.path)
    if path.stem.endswith("3"):
        object.__setattr__(track, "path", str(path.with_stem(f"{int(path.stem) + 4:03d}")))


def count(track):
    """Linger over one in three."""
    begun(track)
    if zlib.crc32(track.id.encode()) % 3 == 0:
        time.sleep(0.06)
