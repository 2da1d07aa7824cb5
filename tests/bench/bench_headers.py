"""How fast headers are read: by one worker, beside a bare loop of `soundfile.info` in this process.

python tests/bench/bench_headers.py [number of files]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import soundfile as sf

from corpusdiff.isolate import close_children
from corpusdiff.manifests import open_manifest
from corpusdiff.probing import probe_many
from corpusdiff.shards import RunOptions


def make(folder: Path, n_files: int) -> None:
    """Files of half a second in WAV and FLAC."""
    x = np.random.default_rng(0).standard_normal(8000) * 0.1
    for number in range(n_files):
        sf.write(folder / f"{number:06d}.{('wav', 'flac')[number % 2]}", x, 16000)


def main() -> None:
    """Interleaved, five times each; the medians and their ratio."""
    n_files = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), n_files)
        manifest = open_manifest(folder)
        tracks = list(manifest.tracks())
        paths = [f"{manifest.root}/{track.path}" for track in tracks]
        ours, bare = [], []
        for _ in range(6):
            started = time.perf_counter()
            found = list(probe_many(iter(tracks), manifest.root, 1, RunOptions()))
            ours.append(time.perf_counter() - started)
            assert all(track.header_samples == 8000 for track in found)
            started = time.perf_counter()
            assert all(sf.info(path).frames == 8000 for path in paths)
            bare.append(time.perf_counter() - started)
    close_children()
    ours_s, bare_s = median(ours[1:]), median(bare[1:])  # the first time the child starts
    print(
        f"{n_files / ours_s:.0f} headers a second for one worker, {ours_s / bare_s:.2f} times as long as soundfile.info"
    )


if __name__ == "__main__":
    main()
