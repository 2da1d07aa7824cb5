"""What is worked on: four loads of sound, made once and kept between runs.

PYTHONPATH=tests python -m bench.loads FOLDER [--scale 0.1]

A  an hour of utterances of 10 s with noise: 44.1 kHz stereo FLAC and MP3, 48 kHz and 16 kHz mono WAV in turn
B  4000 words of 0.4 s, 8 kHz mono WAV
C  one recording of 2 hours, 44.1 kHz stereo FLAC
D  ten minutes of full-band music in tracks of 30 s, 44.1 kHz stereo FLAC

From the real audio of `$CORPUSDIFF_CORPORA` or `../shared/corpora` where that is, else by code.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from corpus_voices import VOICES, chords, pink_noise, read_aloud, resampled
from corpus_writers import write
from numpy.typing import NDArray

TESTS = Path(__file__).resolve().parents[1]

Mono = NDArray[np.float64]

#: (encoding, suffix, sr, n_channels) in turn: what speech corpora come in.
FORMATS = (("flac", "flac", 44100, 2), ("mp3", "mp3", 44100, 2), ("wav16", "wav", 48000, 1), ("wav16", "wav", 16000, 1))

#: Distinct files of a load: decoders do not care that the same sound comes again, and making it takes time.
N_DISTINCT = 40

#: A made load's mark; another number here makes them all again.
MARK = ".made-1"

SNR_DB = 12.0


@dataclass(frozen=True)
class Load:
    """A folder of audio files.

    Parameters
    ----------
    folder : where they are
    audio_s : their length together
    n_files : how many
    real : whether they are made of real recordings
    """

    folder: Path
    audio_s: float
    n_files: int
    real: bool


def corpora() -> Path | None:
    """The folder of real audio, None where there is none."""
    given = os.environ.get("CORPUSDIFF_CORPORA")
    folder = Path(given) if given else TESTS.parents[1] / "shared" / "corpora"
    return folder if folder.is_dir() else None


def make_load(name: str, work: Path, scale: float = 1.0) -> Load:
    """Load `name` ("A" to "D") times `scale`, made in `work` if it is not there."""
    folder = work / f"{name}-{scale:g}"
    mark = folder.with_name(folder.name + MARK)
    if not mark.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        MAKERS[name](folder, scale)
        mark.write_text("")
    lengths = [sf.info(path).duration for path in folder.iterdir()]
    return Load(folder, float(sum(lengths)), len(lengths), corpora() is not None)


def speech(sr: int) -> list[Mono]:
    """Stretches of speech of some minutes in all: calls and sentences in rooms, or voices made by code."""
    folder = corpora()
    if folder is None:
        return [resampled(*read_aloud(voice, seed, use_espeak=False), sr) for seed, voice in enumerate(VOICES)]
    paths = sorted([*folder.glob("calls/*.wav"), *folder.glob("speech/*.wav")])
    return [_read(path, sr) for path in paths]


def _read(path: Path, sr: int) -> Mono:
    x, sr_in = sf.read(path, always_2d=True)
    return resampled(x[:, 0], sr_in, sr)


def _looped(parts: list[Mono], n: int, start: int) -> Mono:
    """(n,) samples of `parts` one after the other and round again, from `start`."""
    joined = np.concatenate([0.1 * part / (np.sqrt(np.mean(part**2)) + 1e-9) for part in parts])
    return np.take(joined, np.arange(start, start + n), mode="wrap")


def _stereo(x: Mono, sr: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, n): the second ear is further away, and no copy."""
    return np.stack([x, 0.7 * np.roll(x, sr // 500) + 1e-4 * rng.standard_normal(len(x))])


def _noisy(x: Mono, rng: np.random.Generator) -> Mono:
    return x + pink_noise(len(x), rng) * np.sqrt(np.mean(x**2)) * 10.0 ** (-SNR_DB / 20.0)


def _spread(folder: Path, made: list[Path], n_files: int) -> None:
    """The distinct files again under other names until there are `n_files`: links, so that no disk fills up."""
    for index in range(len(made), n_files):
        like = made[index % len(made)]
        os.link(like, folder / f"{index:06d}{like.suffix}")


def utterances(folder: Path, scale: float) -> None:
    """Load A."""
    n_files = max(len(FORMATS), round(360 * scale))
    sounds = {sr: speech(sr) for _, _, sr, _ in FORMATS}
    made = []
    for index in range(min(n_files, N_DISTINCT)):
        encoding, suffix, sr, n_channels = FORMATS[index % len(FORMATS)]
        rng = np.random.default_rng(index)
        x = _noisy(_looped(sounds[sr], 10 * sr, 9 * index * sr), rng)
        made.append(folder / f"{index:06d}.{suffix}")
        write(made[-1], _stereo(x, sr, rng) if n_channels == 2 else x[None], sr, encoding)
    _spread(folder, made, n_files)


def words(folder: Path, scale: float) -> None:
    """Load B."""
    sr, n = 8000, 3200
    n_files = max(N_DISTINCT, round(4000 * scale))
    real = corpora()
    parts = [_read(path, sr) for path in sorted((real / "digits").glob("*.wav"))[::20]] if real else speech(sr)
    made = []
    for index in range(10 * N_DISTINCT if n_files > 10 * N_DISTINCT else N_DISTINCT):
        made.append(folder / f"{index:06d}.wav")
        write(made[-1], _looped(parts, n, index * n)[None], sr, "wav16")
    _spread(folder, made, n_files)


def recording(folder: Path, scale: float) -> None:
    """Load C, written block by block: two hours in memory are five gigabytes."""
    sr, block_s, rng = 44100, 60, np.random.default_rng(0)
    x = _looped(speech(sr), 10 * block_s * sr, 0)
    noisy = _stereo(_noisy(x, rng), sr, rng).T.astype(np.float32)
    with sf.SoundFile(folder / "recording.flac", "w", sr, 2, "PCM_16") as file:
        for index in range(max(1, round(120 * scale))):
            start = index % 10 * block_s * sr
            file.write(noisy[start : start + block_s * sr])


def music(folder: Path, scale: float) -> None:
    """Load D: clips one after the other, with an octave of noise above 8 kHz where a clip ends below."""
    sr, seconds = 44100, 30
    n_files = max(2, round(20 * scale))
    real = corpora()
    made = []
    for index in range(min(n_files, 8)):
        rng = np.random.default_rng(index)
        parts = [_read(path, sr) for path in sorted((real / "music").glob("*.ogg"))] if real else []
        parts = [*parts, chords(20 * sr, sr, rng)]
        x = _looped(parts, seconds * sr, 3 * index * sr)
        hiss = np.diff(rng.standard_normal(len(x)), prepend=0.0) * 0.003
        made.append(folder / f"{index:06d}.flac")
        write(made[-1], _stereo(x + hiss, sr, rng), sr, "flac")
    _spread(folder, made, n_files)


MAKERS: dict[str, Callable[[Path, float], None]] = {"A": utterances, "B": words, "C": recording, "D": music}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Make the loads of the benchmarks.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=1.0)
    args = parser.parse_args()
    for name in MAKERS:
        print(name, make_load(name, args.folder, args.scale))


if __name__ == "__main__":
    main()
