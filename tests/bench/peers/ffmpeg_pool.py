"""ffmpeg, a process for each file, in a pool.

python tests/bench/peers/ffmpeg_pool.py CHAIN SOURCE OUT [--workers N]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pool import arguments, each_file, program

_MONO = "aformat=channel_layouts=mono,aresample=16000:resampler=soxr"
_TREATED = f"{_MONO},highpass=f=50,afftdn,acompressor"
_FLAC = ("-c:a", "flac", "-compression_level", "5", "-sample_fmt", "s16")
_OPUS = ("-c:a", "libopus", "-b:a", "24k", "-compression_level", "5")

#: name: filters, encoder, suffix. `loudnorm` works at 192 kHz, so the rate is set once more behind it.
CHAINS = {
    "convert": (_MONO, _FLAC, "flac"),
    "full": (f"{_TREATED},loudnorm=I=-23:TP=-1,{_MONO}", _FLAC, "flac"),
    "no-loudnorm": (_TREATED, _FLAC, "flac"),
    "opus": (_MONO, _OPUS, "opus"),
    "music": (
        "superequalizer=1b=1.2:2b=1.1:9b=0.9,loudnorm=I=-14:TP=-1,aformat=channel_layouts=stereo,"
        "aresample=44100:resampler=soxr",
        ("-c:a", "flac", "-compression_level", "5", "-sample_fmt", "s32"),
        "flac",
    ),
}


def convert(pair: tuple[Path, Path], chain: str) -> None:
    """One file through one of CHAINS."""
    path, out = pair
    filters, encoder, _ = CHAINS[chain]
    quiet = ("-nostdin", "-v", "error", "-threads", "1", "-filter_threads", "1")
    program("ffmpeg", *quiet, "-i", path, "-vn", "-af", filters, *encoder, "-threads", "1", out)


if __name__ == "__main__":
    args = arguments(__doc__, *CHAINS)
    each_file(partial(convert, chain=args.what), args, CHAINS[args.what][2])
