"""One track through the child into memory: for trials, and for ears."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from corpusdiff.encode import decode_flac
from corpusdiff.errors import TrackError
from corpusdiff.fetch import Fetcher
from corpusdiff.isolate import TRIES, Child, ChildDied, Stalled
from corpusdiff.manifests.base import Track
from corpusdiff.specs import OutputSpec
from corpusdiff.stages.base import Audio

#: How the child hands the audio over: an integer of 24 bits holds all that anybody hears.
OUTPUT = OutputSpec(encoding="flac", bits=24, level=0, dither=False)

#: Samples per chunk of it.
_CHUNK = 1 << 17

#: Full scale of left-justified integers.
_FULL_SCALE = np.float32(2.0**-31)


def through(
    child: Child, job: Mapping[str, Any], root: str, track: Track, spool: str | None
) -> tuple[dict[str, Any], Audio]:
    """A track's row and audio after a job whose first output is `OUTPUT`.

    Raises TrackError, also for a track that the job leaves out.
    """
    with tempfile.TemporaryFile(dir=spool) as streams:
        child.configure(job, root, _CHUNK, f"/proc/{os.getpid()}/fd/{streams.fileno()}")
        with Fetcher([track], root, job["source"]["reference_field"], spool) as fetcher, fetcher.copies() as copies:
            row = _row(child, track, copies.files)
        if row["status"] != "ok":
            raise TrackError(row["reason"], row["error"])
        return row, _audio(row, streams)


def _row(child: Child, track: Track, files: Mapping[str, str | None]) -> dict[str, Any]:
    """A crash or a stall is tried twice."""
    cause: Exception | None = None
    for _ in range(TRIES):
        try:
            return child.track(track, 0, lambda _seconds: None, files).rows[0]
        except (ChildDied, Stalled) as error:
            cause = error
    raise TrackError("crash", f"its decoder or a stage crashed or stalled, {TRIES} times: {cause}")


def _audio(row: Mapping[str, Any], streams: IO[bytes]) -> Audio:
    """(n_channels, n_samples) float32; chunks that are not there are silent."""
    output = row["outputs"][0]
    audio = np.zeros((row["n_channels"], output["size"]), np.float32)
    for index, offset, n_bytes in output["chunks"]:
        streams.seek(offset)
        x, _ = decode_flac(streams.read(n_bytes))
        audio[:, index * _CHUNK : index * _CHUNK + x.shape[1]] = x * _FULL_SCALE
    return audio
