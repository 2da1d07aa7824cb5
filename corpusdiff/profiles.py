"""What was measured of a recording or a corpus, as a JSON document.

``profile`` writes it; `timbre` takes its spectrum, the causal commands all of it (``--measured``), ``tune`` its
distance. Keys: ``freqs_hz``, ``power_db`` (lists of one length), the numbers of `corpusdiff.stages.base.Measured`
(null where unknown), ``tracks`` and ``seconds`` that went into it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from corpusdiff.errors import UsageError
from corpusdiff.stages.base import Measured


def read_measured(path: str | Path) -> Measured:
    """What the document at `path` says. Raises UsageError for a file that is none."""
    try:
        measured = Measured.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        problem = _problem(measured)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem = repr(error)
    if problem:
        raise UsageError(
            f'{path}: expected a JSON file {{"freqs_hz": [...], "power_db": [...], "level_dbfs": ...}} '
            f"as `corpusdiff profile` writes it: {problem}"
        )
    return measured


def write_profile(path: str | Path, measured: Measured, tracks: int, seconds: float) -> None:
    """Write the document.

    Parameters
    ----------
    path : the file; one that is there is replaced
    measured : spectrum and numbers
    tracks, seconds : number of recordings, and of seconds of audio, that it was measured on

    Raises
    ------
    UsageError : the file cannot be written
    """
    document = {**measured.to_dict(), "tracks": tracks, "seconds": round(seconds, 3)}
    try:
        Path(path).write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error}") from error


def _problem(measured: Measured) -> str:
    """Why these are no measurements; nothing when they are."""
    freqs_hz, power_db = measured.spectrum.freqs_hz, measured.spectrum.power_db
    if freqs_hz.ndim != 1 or freqs_hz.shape != power_db.shape or len(freqs_hz) == 0:
        return f"freqs_hz has shape {freqs_hz.shape} and power_db {power_db.shape}: give two lists of one length"
    if not (np.isfinite(freqs_hz).all() and np.isfinite(power_db).all() and (np.diff(freqs_hz) > 0).all()):
        return "frequencies must rise, and all numbers must be finite"
    return ""
