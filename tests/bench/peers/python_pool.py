"""What one writes in an afternoon: soundfile, soxr, noisereduce, pedalboard and pyloudnorm in a pool.

python tests/bench/peers/python_pool.py SOURCE OUT [--workers N]
"""

from __future__ import annotations

import warnings
from pathlib import Path

import noisereduce
import numpy as np
import pyloudnorm
import soundfile as sf
import soxr
from pedalboard import Compressor, HighpassFilter, Limiter, Pedalboard
from pool import arguments, each_file

SR = 16000


def process(pair: tuple[Path, Path]) -> None:
    """One file: mono, 16 kHz, high-pass, denoise, compress, -23 LUFS, limit; FLAC of 16 bit."""
    path, out = pair
    x, sr = sf.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(x.mean(axis=1), sr, SR, quality="HQ")
    mono = Pedalboard([HighpassFilter(50.0)])(mono, SR)
    mono = noisereduce.reduce_noise(mono, sr=SR, n_fft=512, hop_length=256)
    mono = Pedalboard([Compressor(threshold_db=-24.0, ratio=4.0)])(np.asarray(mono, np.float32), SR)
    loudness_lufs = pyloudnorm.Meter(SR).integrated_loudness(mono)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the limiter is for what would clip
        mono = pyloudnorm.normalize.loudness(mono, loudness_lufs, -23.0)
    mono = Pedalboard([Limiter(threshold_db=-1.0)])(np.asarray(mono, np.float32), SR)
    sf.write(out, mono, SR, subtype="PCM_16", compression_level=5 / 8)


if __name__ == "__main__":
    each_file(process, arguments(__doc__), "flac")
