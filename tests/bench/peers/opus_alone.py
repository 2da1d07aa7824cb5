"""libopus alone: samples of 16 kHz mono from WAV to 24 kbit/s Ogg Opus by PyAV, and nothing before it.

python tests/bench/peers/opus_alone.py COMPLEXITY SOURCE OUT [--workers N]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import av
import soundfile as sf
from pool import arguments, each_file

#: Samples given to the encoder at once.
BLOCK = 1 << 16


def encode(pair: tuple[Path, Path], complexity: str) -> None:
    """One file."""
    path, out = pair
    with sf.SoundFile(path) as file, av.open(str(out), "w", format="ogg") as made:
        stream = made.add_stream("libopus", rate=file.samplerate, layout="mono")
        stream.bit_rate = 24_000
        stream.options = {"compression_level": complexity}
        position = 0
        for x in file.blocks(BLOCK, dtype="int16", always_2d=True):
            frame = av.AudioFrame.from_ndarray(x.T.copy(), format="s16", layout="mono")
            frame.sample_rate, frame.pts = file.samplerate, position
            position += len(x)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))


if __name__ == "__main__":
    args = arguments(__doc__, *map(str, range(11)))
    each_file(partial(encode, complexity=args.what), args, "opus")
