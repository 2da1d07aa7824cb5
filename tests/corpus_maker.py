"""Make a small, varied corpus of real sound files by code.

    python tests/corpus_maker.py DEST [--seed N] [--small] [--no-espeak]

The same seed and the same synthesiser give the same bytes. A file stands for each thing that real corpora
contain: formats, rates, channels, lengths, levels, noise, equal basenames, damage, and files to be ignored.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from corpus_voices import VOICES, Mono, chords, espeak_available, pink_noise, read_aloud, resampled
from corpus_writers import Audio, write
from scipy.signal import butter, sosfilt

#: (audio, sr, random numbers) -> audio.
Treatment: TypeAlias = Callable[[Audio, int, np.random.Generator], Audio]


@dataclass(frozen=True)
class Recipe:
    """One file of the corpus.

    Parameters
    ----------
    path : where, relative to the corpus; also what the file's random numbers come from
    encoding : one of corpus_writers.FORMATS
    sr : sampling rate in Hz
    seconds : length
    sound : "voice0".."voice3", "chords", "noise" or "silence"
    treatment : names from TREATMENTS, applied in order
    n_channels : 1 or 2
    """

    path: str
    encoding: str
    sr: int
    seconds: float
    sound: str = "voice0"
    treatment: tuple[str, ...] = ()
    n_channels: int = 1


RECIPES = (
    Recipe("studio/anna/001.wav", "wav16", 48000, 6.0, "voice1"),
    Recipe("studio/anna/002.wav", "wav24", 48000, 9.5, "voice1"),
    Recipe("studio/anna/003.wav", "wav32f", 44100, 4.2, "voice1", n_channels=2),
    Recipe("studio/bert/001.wav", "wav16", 16000, 7.3, "voice0"),
    Recipe("studio/bert/002.flac", "flac", 44100, 12.0, "voice0", n_channels=2),
    Recipe("studio/bert/003.flac", "flac24", 48000, 5.0, "voice0"),
    Recipe("field/day 1/001.wav", "wav16", 16000, 8.0, "voice2", ("noisy",)),
    Recipe("field/day 1/002.mp3", "mp3", 44100, 11.0, "voice2", ("noisy",), 2),
    Recipe("field/day 1/003.ogg", "vorbis", 32000, 9.0, "voice3", ("very_noisy",)),
    Recipe("field/day 2/001.wav", "wav16", 22050, 7.0, "voice3", ("muffled",)),
    Recipe("field/day 2/002.opus", "opus", 48000, 10.0, "voice2", ("muffled", "noisy")),
    Recipe("field/day 2/003.aiff", "aiff", 44100, 6.5, "voice0", ("hum",), 2),
    Recipe("field/day 2/naïve Ω.flac", "flac", 24000, 3.0, "voice3"),
    Recipe("levels/quiet.wav", "wav16", 16000, 8.0, "voice0", ("quiet",)),
    Recipe("levels/quiet.flac", "flac24", 48000, 8.0, "voice1", ("quiet",), 2),
    Recipe("levels/loud.wav", "wav16", 16000, 8.0, "voice2", ("loud",)),
    Recipe("levels/loud.mp3", "mp3", 48000, 8.0, "voice3", ("loud",), 2),
    Recipe("levels/wandering.wav", "wav16", 16000, 30.0, "voice0", ("wandering",)),
    Recipe("levels/wandering.flac", "flac", 32000, 25.0, "voice1", ("wandering", "noisy")),
    Recipe("phone/call-1.wav", "wav8", 8000, 15.0, "voice0", ("noisy",)),
    Recipe("phone/call-2.wav", "wav16", 8000, 20.0, "voice3", ("wandering",), 2),
    Recipe("phone/call-3.mp3", "mp3", 8000, 10.0, "voice1", ("quiet", "noisy")),
    Recipe("phone/voicemail.m4a", "aac", 22050, 12.0, "voice2"),
    Recipe("long/lecture.flac", "flac", 16000, 175.0, "voice0", ("wandering", "noisy")),
    Recipe("long/reading.mp3", "mp3", 24000, 120.0, "voice1"),
    Recipe("long/panel.ogg", "vorbis", 44100, 60.0, "voice2", (), 2),
    Recipe("video/clip.mp4", "video", 44100, 8.0, "voice3", (), 2),
    Recipe("music/chords.ogg", "vorbis", 44100, 10.0, "chords", (), 2),
    Recipe("music/chords.flac", "flac", 48000, 6.0, "chords"),
    Recipe("odd/word.wav", "wav16", 8000, 0.2, "voice0"),
    Recipe("odd/word.flac", "flac", 16000, 0.35, "voice1"),
    Recipe("odd/silence.wav", "wav16", 16000, 3.0, "silence"),
    Recipe("odd/room.wav", "wav16", 16000, 5.0, "noise", ("quiet",)),
)

#: Short, undamaged, few: for tests that need a corpus and not every case of one.
SMALL = (
    Recipe("anna/001.wav", "wav16", 16000, 2.0, "voice1", ("quiet",)),
    Recipe("anna/002.flac", "flac", 48000, 3.0, "voice1", (), 2),
    Recipe("bert/001.wav", "wav24", 22050, 2.5, "voice0", ("wandering",)),
    Recipe("bert/002.mp3", "mp3", 44100, 2.0, "voice0", ("noisy",), 2),
    Recipe("carla/001.ogg", "vorbis", 32000, 1.5, "voice3"),
    Recipe("carla/word.wav", "wav16", 8000, 0.3, "voice3"),
)

#: What is wrong with a file on purpose, and must come out as a failed track.
DAMAGED = ("damaged/cut-short.flac", "damaged/not-audio.wav")

#: What no one should take for audio.
IGNORED = {"README.txt": "A corpus made by code.\n", "studio/anna/notes.txt": "Take 2 is the better one.\n"}


class Sounds:
    """The voices of one corpus, each read once.

    Parameters
    ----------
    seed : of everything random
    use_espeak : speech by espeak-ng rather than by the formant synthesiser
    """

    def __init__(self, seed: int, *, use_espeak: bool) -> None:
        self._seed, self._use_espeak = seed, use_espeak
        self._read: dict[int, tuple[Mono, int]] = {}

    def make(self, recipe: Recipe) -> Audio:
        """The sound of `recipe`, (n_channels, n_samples)."""
        rng = np.random.default_rng([self._seed, *recipe.path.encode()])
        n = round(recipe.seconds * recipe.sr)
        channels = [self._sound(recipe, n, rng)]
        for _ in range(1, recipe.n_channels):  # the same sound from further away
            away = np.roll(channels[0], recipe.sr // 500)
            channels.append(0.6 * away + 1e-4 * rng.standard_normal(n) * (recipe.sound != "silence"))
        x = np.stack(channels)
        for name in recipe.treatment:
            x = TREATMENTS[name](x, recipe.sr, rng)
        return x

    def _sound(self, recipe: Recipe, n: int, rng: np.random.Generator) -> Mono:
        if recipe.sound == "silence":
            return np.zeros(n)
        if recipe.sound == "noise":
            return 0.1 * pink_noise(n, rng)
        if recipe.sound == "chords":
            return chords(n, recipe.sr, rng)
        return self._speech(int(recipe.sound.removeprefix("voice")), recipe, n, rng)

    def _speech(self, speaker: int, recipe: Recipe, n: int, rng: np.random.Generator) -> Mono:
        """A passage that starts at a random place with something to hear, and goes round at the end."""
        if speaker not in self._read:
            self._read[speaker] = read_aloud(VOICES[speaker], self._seed + speaker, use_espeak=self._use_espeak)
        x, sr = self._read[speaker]
        voiced = np.flatnonzero(np.abs(x) > 0.1)
        start = int(rng.choice(voiced))
        n_read = round((recipe.seconds + 0.1) * sr)
        return resampled(np.take(x, np.arange(start, start + n_read), mode="wrap"), sr, recipe.sr)[:n]


def _scaled(gain_db: float) -> Treatment:
    return lambda x, sr, rng: x * 10.0 ** (gain_db / 20.0)


def _noisy(snr_db: float) -> Treatment:
    def treat(x: Audio, sr: int, rng: np.random.Generator) -> Audio:
        noise = np.stack([pink_noise(x.shape[1], rng) for _ in x])
        return x + noise * np.sqrt(np.mean(x**2)) * 10.0 ** (-snr_db / 20.0)

    return treat


def _wandering(x: Audio, sr: int, rng: np.random.Generator) -> Audio:
    """Plus and minus 15 dB, once in 10 s."""
    t = np.arange(x.shape[1]) / sr
    return x * 10.0 ** (15.0 * (np.sin(2 * np.pi * t / 10.0) - 1.0) / 20.0)


def _muffled(x: Audio, sr: int, rng: np.random.Generator) -> Audio:
    return np.asarray(sosfilt(butter(4, 1000.0, fs=sr, output="sos"), x))


def _hum(x: Audio, sr: int, rng: np.random.Generator) -> Audio:
    """Mains hum and a constant offset."""
    return x + 0.02 + 0.03 * np.sin(2 * np.pi * 50.0 * np.arange(x.shape[1]) / sr)


TREATMENTS: dict[str, Treatment] = {
    "quiet": _scaled(-40.0),
    "loud": _scaled(12.0),  # clips when written
    "wandering": _wandering,
    "muffled": _muffled,
    "hum": _hum,
    "noisy": _noisy(10.0),
    "very_noisy": _noisy(0.0),
}


def make_corpus(
    dest: Path,
    *,
    seed: int = 0,
    small: bool = False,
    use_espeak: bool | None = None,
    recipes: Sequence[Recipe] = (),
) -> None:
    """Write the corpus to the folder `dest`: RECIPES with damage, or SMALL, or the given `recipes` alone."""
    sounds = Sounds(seed, use_espeak=espeak_available() if use_espeak is None else use_espeak)
    for recipe in recipes or (SMALL if small else RECIPES):
        write(dest / recipe.path, sounds.make(recipe), recipe.sr, recipe.encoding)
    if not small and not recipes:
        _damage(dest)
        for name, text in IGNORED.items():
            (dest / name).write_text(text)


def _damage(dest: Path) -> None:
    whole = (dest / "studio/bert/002.flac").read_bytes()
    cut_short, not_audio = (dest / name for name in DAMAGED)
    cut_short.parent.mkdir(exist_ok=True)
    cut_short.write_bytes(whole[: len(whole) // 2])
    not_audio.write_text("This is a text file whose name says that it is sound.\n" * 20)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Make a small, varied corpus of real sound files by code.")
    parser.add_argument("dest", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="a few short, undamaged files")
    parser.add_argument("--no-espeak", action="store_true", help="use the formant synthesiser")
    args = parser.parse_args()
    make_corpus(args.dest, seed=args.seed, small=args.small, use_espeak=False if args.no_espeak else None)


if __name__ == "__main__":
    main()
