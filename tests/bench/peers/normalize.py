"""ffmpeg-normalize over all files of a folder, 16 kHz mono FLAC at -23 LUFS, with the filters of `full` before it.

python tests/bench/peers/normalize.py SOURCE OUT [--workers N]
"""

from __future__ import annotations

import sys
from pathlib import Path

from pool import arguments, each_file, program


def convert(pair: tuple[Path, Path]) -> None:
    """One file in two passes of loudnorm, by a process of the tool, which has no pool of its own."""
    path, out = pair
    filters = "aformat=channel_layouts=mono,aresample=16000:resampler=soxr,highpass=f=50,afftdn,acompressor"
    made = ("-c:a", "flac", "-ar", "16000", "-t", "-23", "-tp", "-1", "--pre-filter", filters)
    program(
        sys.executable, "-m", "ffmpeg_normalize", path, "-o", out, *made, "-e=-sample_fmt s16 -threads 1", "--quiet"
    )


if __name__ == "__main__":
    each_file(convert, arguments(__doc__), "flac")
