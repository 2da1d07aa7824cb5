"""Lhotse: recordings from files, resampled lazily, saved as FLAC by processes.

python tests/bench/peers/lhotse_pool.py SOURCE OUT [--workers N]
"""

from __future__ import annotations

from pathlib import Path

from lhotse import Recording
from pool import arguments, each_file


def convert(pair: tuple[Path, Path]) -> None:
    """One file to 16 kHz mono FLAC, 16 bit."""
    path, out = pair
    cut = Recording.from_file(path).resample(16000).to_cut()
    mono = cut if cut.num_channels == 1 else cut.to_mono(mono_downmix=True)
    mono.save_audio(out, encoding="PCM_16")


if __name__ == "__main__":
    each_file(convert, arguments(__doc__), "flac")
