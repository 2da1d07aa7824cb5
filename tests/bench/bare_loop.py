"""The least that the work could be: decode, mix down, resample, encode FLAC; no metrics, no store.

python tests/bench/bare_loop.py FOLDER
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from pathlib import Path

import soundfile as sf
import soxr


def bare_loop(paths: Iterable[Path]) -> int:
    """Bytes of FLAC at 16 kHz mono that come of `paths`."""
    n_bytes = 0
    for path in paths:
        x, sr = sf.read(path, dtype="float32", always_2d=True)
        mono = x[:, 0] if x.shape[1] == 1 else 0.5 * (x[:, 0] + x[:, 1])
        buffer = io.BytesIO()
        sf.write(buffer, soxr.resample(mono, sr, 16000, quality="HQ"), 16000, format="FLAC", subtype="PCM_16")
        n_bytes += buffer.tell()
    return n_bytes


if __name__ == "__main__":
    print(bare_loop(sorted(Path(sys.argv[1]).iterdir())), "bytes")
