"""sox, in a pool: one process to take the noise's profile of each file's first half second, one to do the work.

python tests/bench/peers/sox_pool.py convert|noisered SOURCE OUT [--workers N]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pool import arguments, each_file, program

_MONO = ("remix", "-", "rate", "-h", "16000")


def convert(pair: tuple[Path, Path], chain: str) -> None:
    """One file to 16 kHz mono FLAC, 16 bit; `noisered` with a high-pass, a compressor and the peak at -1 dB."""
    path, out = pair
    made = ("-b", "16", "-C", "5", out)
    if chain == "convert":
        program("sox", "-V1", path, *made, *_MONO)
        return
    profile = program("sox", "-V1", path, "-n", "trim", "0", "0.5", *_MONO, "highpass", "50", "noiseprof", "-")
    treat = ("highpass", "50", "noisered", "-", "0.2", "compand", "0.02,0.2", "6:-50,-40,-20", "0", "-90", "0.2")
    program("sox", "-V1", path, *made, *_MONO, *treat, "gain", "-n", "-1", stdin=profile)


if __name__ == "__main__":
    args = arguments(__doc__, "convert", "noisered")
    each_file(partial(convert, chain=args.what), args, "flac")
