"""A small corpus to try things on, which the examples of the documentation use."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from corpusdiff.store.read import Corpus

#: Frequency in Hz and length in seconds of each track.
TONES = {"low": (220.0, 1.0), "middle": (880.0, 1.5), "high": (3520.0, 1.0)}

SR = 16_000


@cache
def tones() -> Corpus:
    """Three short tones in a little noise, made and processed at the first call, and gone with the process.

    >>> corpus = tones()
    >>> [(item.id, item.sr, item.n_samples) for item in corpus]
    [('high.wav', 16000, 16000), ('low.wav', 16000, 16000), ('middle.wav', 16000, 24000)]
    """
    from corpusdiff.driver import execute
    from corpusdiff.request import RunRequest
    from corpusdiff.store.read import open as open_corpus

    folder = Path(tempfile.mkdtemp(prefix="corpusdiff-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write_tones(folder / "recordings")
    execute(RunRequest(str(folder / "recordings"), str(folder / "corpus"), cluster="none"))
    return open_corpus(str(folder / "corpus"))


def write_tones(folder: str | Path) -> None:
    """The tones as WAV files of a folder."""
    from corpusdiff.encode.audiofile import write_audio

    folder = Path(folder)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, (frequency_hz, seconds) in TONES.items():
        t = np.arange(round(seconds * SR)) / SR
        x = 0.1 * np.sin(2 * np.pi * frequency_hz * t) + 0.001 * rng.standard_normal(len(t))
        write_audio(folder / f"{name}.wav", [x[None].astype(np.float32)], SR, 1, bits=16)
