"""Clean speech for the measurements: read sentences, espeak-ng voices made on the spot, streams of spoken digits."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

#: (n_samples,) float64 at SR, full scale 1.0.
Mono = NDArray[np.float64]

#: Rate of all material in Hz.
SR = 16000

#: RMS of clean speech where nothing else is said, in dBFS.
SPEECH_DBFS = -26.0

#: RMS of the noise of a quiet room under the streams of digits: in digital silence the recogniser hears words.
ROOM = 1e-3

#: The two halves of everything: parameters may be picked on ``dev`` and never on ``test``.
SPLITS = ("dev", "test")

# espeak-ng voice, words per minute
_VOICES = {
    "dev": (("en-gb+m1", 150), ("en-us+f1", 165)),
    "test": (("en-us+m3", 140), ("en-gb+f2", 155), ("en-gb-scotland+m5", 165), ("en-us+f4", 175), ("en-029+m7", 150)),
}

_TEXTS = {
    "dev": (
        "The lamp over the kitchen table had been burning all night.",
        "We walked along the canal until the rain began to fall.",
        "Please send the second parcel to the old address.",
        "A thin layer of ice covered the pond behind the school.",
    ),
    "test": (
        "Nobody noticed that the clock in the hall had stopped.",
        "The baker puts six loaves in the window every morning.",
        "Her brother keeps bees in a garden near the railway.",
        "They painted the fence green and the gate a dull yellow.",
        "If the wind turns to the north we shall need the heavy coats.",
        "He folded the map with care and put it back in the drawer.",
        "Most of the village came to watch the bridge being opened.",
        "You can leave your bicycle against the wall of the shop.",
        "The choir will sing twice on Thursday and once on Sunday.",
        "Bring me the blue jug and two of the small glasses.",
    ),
}

_SPEAKERS = {"dev": "spk1", "test": "spk2"}
_DIGIT_SPEAKERS = {"dev": ("george",), "test": ("jackson", "lucas")}
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True)
class Utterance:
    """Clean speech and what is said in it.

    Parameters
    ----------
    name : of the recording
    audio : at SPEECH_DBFS
    words : in lower case; empty where there is no transcript
    """

    name: str
    audio: Mono
    words: tuple[str, ...]


def corpora() -> Path | None:
    """The folder of real audio, None where it is absent."""
    repository = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("CORPUSDIFF_CORPORA", repository.parent / "shared" / "corpora"))
    return folder if folder.is_dir() else None


def scaled(x: Mono, dbfs: float) -> Mono:
    """`x` at an RMS of `dbfs`."""
    return x * (10.0 ** (dbfs / 20.0) / np.sqrt(np.mean(x**2)))


@cache
def read_sentences(split: str) -> tuple[Utterance, ...]:
    """The sentences of one speaker of corpora/speech; none where the corpora are absent."""
    folder = corpora()
    if folder is None:
        return ()
    with (folder / "speech" / "transcripts.csv").open(encoding="utf-8", newline="") as file:
        texts = {row["file_name"]: row["text"] for row in csv.DictReader(file)}
    found = []
    for path in sorted((folder / "speech").glob(f"{_SPEAKERS[split]}_*.wav")):
        words = tuple(texts.get(path.name, "").lower().split())
        found.append(Utterance(path.stem, scaled(read_audio(path), SPEECH_DBFS), words))
    return tuple(found)


@cache
def spoken_sentences(split: str) -> tuple[Utterance, ...]:
    """Every text by every espeak-ng voice of the split; none where espeak-ng is absent."""
    if shutil.which("espeak-ng") is None:
        return ()
    return tuple(
        Utterance(f"{voice}-{i}", scaled(_speak(text, voice, speed), SPEECH_DBFS), ())
        for voice, speed in _VOICES[split]
        for i, text in enumerate(_TEXTS[split])
    )


@cache
def digit_streams(split: str, n_streams: int, n_digits: int = 10) -> tuple[Utterance, ...]:
    """Streams of digits of one speaker each, 0.2 to 0.4 s apart, in a quiet room; none where the corpora are absent."""
    folder = corpora()
    if folder is None:
        return ()
    rng = np.random.default_rng([3, SPLITS.index(split)])
    streams = []
    for i in range(n_streams):
        speaker = _DIGIT_SPEAKERS[split][i % len(_DIGIT_SPEAKERS[split])]
        labels = rng.integers(0, 10, n_digits)
        parts = [_gap(rng)]
        for label in labels:
            take = int(rng.integers(0, 50))
            parts += [scaled(read_audio(folder / "digits" / f"{label}_{speaker}_{take}.wav"), SPEECH_DBFS), _gap(rng)]
        x = np.concatenate(parts)
        x = x + ROOM * rng.standard_normal(len(x))
        streams.append(Utterance(f"{speaker}-{i}", x, tuple(DIGITS[k] for k in labels)))
    return tuple(streams)


def _gap(rng: np.random.Generator) -> Mono:
    return np.zeros(int(rng.uniform(0.2, 0.4) * SR))


@cache
def read_audio(path: Path) -> Mono:
    """One channel at SR."""
    x, sr = sf.read(path, dtype="float64")
    return x if sr == SR else np.asarray(soxr.resample(x, sr, SR, quality="HQ"))


def _speak(text: str, voice: str, words_per_minute: int) -> Mono:
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdout"]
    wav = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout
    start = wav.index(b"data") + 8  # the sizes in the header of a pipe are not the real ones
    sr = int.from_bytes(wav[24:28], "little")
    x = np.frombuffer(wav[start : start + (len(wav) - start) // 2 * 2], "<i2") / 32768.0
    return np.asarray(soxr.resample(x, sr, SR, quality="HQ"))
