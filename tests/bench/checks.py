"""Whether a side did its work: every output is opened, decoded to its end, and as long as its input.

A filter chain that fails in silence looks very fast.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import IO

import soundfile as sf

#: Seconds by which an output may differ: MP3's padding, and what sox's `noisered` leaves away at the end.
TOLERANCE_S = 0.1

#: Highest magnitude under which an output is taken for empty.
SILENCE = 1e-3

#: (source, out, sr, n_channels): raises AssertionError.
Check = Callable[[Path, Path, int, int], None]


def files(source: Path, out: Path, sr: int, n_channels: int) -> None:
    """A file for each of the source's, named by it."""
    made = {path.name.rsplit(".", 1)[0]: path for path in out.iterdir()}
    wanted = {path.name: path for path in source.iterdir()}
    assert made.keys() == wanted.keys(), f"{out}: {len(made)} files of {len(wanted)}"
    for name, path in wanted.items():
        _compare(name, made[name], sf.info(path).duration, sr, n_channels)


def arrow(source: Path, out: Path, sr: int, n_channels: int) -> None:
    """A row for each of the source's files in a data set of Hugging Face."""
    import datasets

    rows = datasets.load_from_disk(str(out / "made"))
    wanted = {str(path) for path in source.iterdir()}
    assert {row["path"] for row in rows} == wanted, f"{out}: {len(rows)} rows of {len(wanted)}"
    for row in rows:
        _compare(row["path"], io.BytesIO(row["audio"]), sf.info(row["path"]).duration, sr, n_channels)


def corpus(source: Path, out: Path, sr: int, n_channels: int) -> None:
    """A track of ours for each of the source's files."""
    import corpusdiff

    made = corpusdiff.open(str(out))
    names = {path.name: path for path in source.iterdir()}
    assert sorted(made.table()["id"].to_pylist()) == sorted(names), f"{out}: {len(made)} tracks of {len(names)}"
    for index in range(len(made)):
        track = made[index]
        duration_s = sf.info(names[track.id]).duration
        loudest = float(abs(track.audio).max())
        _agree(track.id, duration_s, track.audio.shape[1] / track.sr, loudest)
        found = (track.sr, len(track.audio))
        assert found == (sr, n_channels), f"{track.id}: {found}, expected {(sr, n_channels)}"


def _compare(name: str, made: Path | IO[bytes], duration_s: float, sr: int, n_channels: int) -> None:
    with sf.SoundFile(made) as file:
        loudest, length = 0.0, 0
        for x in file.blocks(1 << 20, dtype="float32"):
            loudest, length = max(loudest, float(abs(x).max())), length + len(x)
        _agree(name, duration_s, length / file.samplerate, loudest)
        rates = {sr, 48000} if file.subtype == "OPUS" else {sr}  # whatever the rate, Opus may be decoded at 48 kHz
        assert file.samplerate in rates, f"{name}: {file.samplerate} Hz, expected {sr} Hz"
        assert file.channels == n_channels, f"{name}: {file.channels} channels, expected {n_channels}"


def _agree(name: str, expected_s: float, found_s: float, loudest: float) -> None:
    assert abs(found_s - expected_s) <= TOLERANCE_S, f"{name}: {found_s:.3f} s of {expected_s:.3f} s"
    assert loudest > SILENCE, f"{name} is silent"
