"""Stretches of long recordings, fetched without the rest: sample for sample what the whole file gives."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile as sf

from corpusdiff.manifests.base import Track
from corpusdiff.manifests.stretch import Wanted, fetch_stretch
from corpusdiff.source import BLOCK, open_source

SECONDS = 240.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four minutes of noise whose level wanders, so that frames differ in size; with silence in it."""
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(11)
    sr = 16000
    t = np.arange(int(SECONDS * sr)) / sr
    x = rng.standard_normal(len(t)) * 0.2 * (1.1 + np.sin(t / 7))
    x[40 * sr : 90 * sr] = 0
    x = np.clip(x, -1, 1)
    sf.write(folder / "a.wav", x, sr)
    sf.write(folder / "float.wav", x, sr, "FLOAT")
    sf.write(folder / "a.flac", x, sr)
    sf.write(folder / "stereo24.flac", np.stack([x, x[::-1]], 1), sr, "PCM_24")
    sf.write(folder / "a.ogg", x[: 10 * sr], sr)
    sf.write(folder / "adpcm.wav", x[: 10 * sr], sr, "MS_ADPCM")
    sf.write(folder / "short.flac", x[: 10 * sr], sr)
    return folder


def decoded(path, start_s, seconds):
    """(n_channels, n) samples of a segment."""
    with open_source(Track("x", str(path), start_s, seconds), "/") as reader:
        return np.concatenate(list(reader.blocks()), axis=1)


def fetched(path, start_s, seconds):
    """The segment's samples from a stretch, and how many bytes of the file it took."""
    size = path.stat().st_size
    taken = 0
    with path.open("rb") as whole:

        def read(start, stop):
            nonlocal taken
            assert 0 <= start < stop <= size
            taken += stop - start
            whole.seek(start)
            return whole.read(stop - start)

        file = fetch_stretch(read, size, Wanted(start_s, start_s + seconds, BLOCK), None)
    if file is None:
        return None, taken
    with file:
        return decoded(f"/proc/{os.getpid()}/fd/{file.fileno()}", start_s, seconds), taken


@pytest.mark.parametrize("name", ["a.wav", "float.wav", "a.flac", "stereo24.flac"])
@pytest.mark.parametrize(
    ("start_s", "seconds"), [(0.0, 3.0), (33.3, 5.01), (60.0, 40.0), (150.12345, 0.5), (235.0, 5.0)]
)
def test_the_same_samples(folder, name, start_s, seconds):
    """Whatever lies around the stretch, and less than half of the file is read."""
    path = folder / name
    samples, taken = fetched(path, start_s, seconds)
    assert np.array_equal(samples, decoded(path, start_s, seconds))
    assert taken < 0.5 * path.stat().st_size


def test_many_places_in_flac(folder):
    """Every few seconds; the search takes a handful of requests."""
    path = folder / "a.flac"
    for start_s in np.arange(0.7, SECONDS - 1, 9.77):
        samples, taken = fetched(path, float(start_s), 0.3)
        assert np.array_equal(samples, decoded(path, float(start_s), 0.3)), start_s
        assert taken < 2 * 2**20


@pytest.mark.parametrize("name", ["a.ogg", "adpcm.wav", "short.flac"])
def test_what_is_not_cut(folder, name):
    """Streams without places of their own, and short ones, are for the whole file."""
    assert fetched(folder / name, 3.0, 1.0)[0] is None


def test_damaged_and_odd_headers(folder):
    """They are for the decoder, with the whole file: no stretch, and no error."""
    data = (folder / "a.flac").read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(300):
        harmed = bytearray(data[: 3 * 2**20])
        for place in rng.integers(0, 100, 3):
            harmed[place] = rng.integers(256)
        file = fetch_stretch(lambda a, b, harmed=harmed: bytes(harmed[a:b]), len(harmed), Wanted(10.0, 11.0, 0), None)
        if file is not None:
            file.close()
