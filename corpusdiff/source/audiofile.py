"""A whole file as an array."""

from __future__ import annotations

import os

import numpy as np

from corpusdiff.manifests.base import Track
from corpusdiff.source import open_source
from corpusdiff.stages.base import Audio


def read_audio(path: str | os.PathLike[str]) -> tuple[Audio, int]:
    """Decode a file: (n_channels, n_samples) float32, and its rate in Hz.

    Everything is in memory at once; `open_source` gives blocks. Raises TrackError as that does.
    """
    name = os.path.abspath(path)  # noqa: PTH100  # a path that is no UTF-8 has no other spelling
    with open_source(Track(name, name)) as reader:
        return np.concatenate([*reader.blocks()], axis=1), reader.sr
