"""The floor: soundfile, soxr HQ and FLAC in a bare pool of processes; nothing is measured, kept track of or safe.

python tests/bench/peers/floor.py speech|music SOURCE OUT [--workers N]
"""

from __future__ import annotations

from pathlib import Path

import soundfile as sf
import soxr
from pool import arguments, each_file

#: FLAC's level 5 of 8 as libsndfile counts.
LEVEL = 5 / 8


def speech(pair: tuple[Path, Path]) -> None:
    """To 16 kHz mono, 16 bit; block by block, since a file may be hours long."""
    path, out = pair
    with sf.SoundFile(path) as file, sf.SoundFile(out, "w", 16000, 1, "PCM_16", compression_level=LEVEL) as made:
        resampler = soxr.ResampleStream(file.samplerate, 16000, 1, dtype="float32", quality="HQ")
        for x in file.blocks(1 << 18, dtype="float32", always_2d=True):
            mono = x[:, 0] if x.shape[1] == 1 else 0.5 * (x[:, 0] + x[:, 1])
            made.write(resampler.resample_chunk(mono))
        made.write(resampler.resample_chunk(mono[:0], last=True))


def music(pair: tuple[Path, Path]) -> None:
    """The same rate and channels, 24 bit."""
    path, out = pair
    like = sf.info(path)
    made = sf.SoundFile(out, "w", like.samplerate, like.channels, "PCM_24", compression_level=LEVEL)
    with sf.SoundFile(path) as file, made:
        for x in file.blocks(1 << 18, dtype="float32"):
            made.write(x)


if __name__ == "__main__":
    args = arguments(__doc__, "speech", "music")
    each_file({"speech": speech, "music": music}[args.what], args, "flac")
