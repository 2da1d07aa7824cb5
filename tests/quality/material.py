"""Noises, mixes, and what goes wrong with recordings. Everything is made from fixed seeds; nothing is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.signal import butter, lfilter, sosfilt

from quality.voices import SPEECH_DBFS, SR, Mono, corpora, read_audio, read_sentences, scaled, spoken_sentences

#: Ratios of speech to noise of the mixes, in dB.
SNRS_DB = (0.0, 5.0, 10.0, 15.0)

#: Kinds of noise that parameters may be picked on, and those that they may not.
NOISES = {
    "dev": ("noise1", "noise2", "white", "pink"),
    "test": ("noise3", "babble", "brown", "fan", "hum", "keyboard", "street", "hiss"),
}

_NOISE_S = 20.0


@dataclass(frozen=True)
class Mix:
    """Speech in noise.

    Parameters
    ----------
    name : speech and noise
    noise : kind of noise
    snr_db : ratio of the two over the whole clip
    clean, noisy : of equal length
    """

    name: str
    noise: str
    snr_db: float
    clean: Mono
    noisy: Mono


@cache
def noise(kind: str) -> Mono:
    """About 20 s of a kind of noise at an RMS of 0.1. Raises LookupError where it needs the corpora."""
    if kind.startswith("noise"):
        folder = corpora()
        if folder is None:
            raise LookupError(f"{kind}: no real audio here")
        return 0.1 * _unit(read_audio(folder / "noise" / f"{kind}.wav"))
    seed = sum(kind.encode())
    return 0.1 * _unit(_MAKERS[kind](round(_NOISE_S * SR), np.random.default_rng([7, seed])))


def noises(split: str) -> tuple[str, ...]:
    """The kinds of noise of the split that can be had here."""
    return tuple(k for k in NOISES[split] if not (k.startswith("noise") and corpora() is None))


def mixed(clean: Mono, kind: str, snr_db: float, rng: np.random.Generator) -> Mono:
    """`clean` with a random stretch of noise at `snr_db`, full-band powers over the whole clip."""
    source = noise(kind)
    start = int(rng.integers(len(source)))
    added = np.take(source, np.arange(start, start + len(clean)), mode="wrap")
    factor = np.sqrt(np.mean(clean**2) / np.mean(added**2)) * 10.0 ** (-snr_db / 20.0)
    return clean + factor * added


def mix(split: str, index: int) -> Mix:
    """Mix number `index`: two sentences with pauses in noise; noises and ratios take turns."""
    rng = np.random.default_rng([11, len(split), index])
    kinds = noises(split)
    kind, snr_db = kinds[index % len(kinds)], SNRS_DB[index // len(kinds) % len(SNRS_DB)]
    real, made = read_sentences(split), spoken_sentences(split)
    pool = real if real and (rng.random() < 0.5 or not made) else made
    if not pool:
        raise LookupError("no speech: neither espeak-ng nor real audio here")
    first, second = (pool[int(k)] for k in rng.choice(len(pool), 2, replace=False))
    pauses = [np.zeros(int(rng.uniform(0.2, 0.5) * SR)) for _ in range(3)]
    clean = np.concatenate([pauses[0], first.audio, pauses[1], second.audio, pauses[2]])
    clean = scaled(clean, SPEECH_DBFS + rng.uniform(-6.0, 3.0))
    return Mix(f"{first.name}+{second.name}", kind, snr_db, clean, mixed(clean, kind, snr_db, rng))


def wandering(x: Mono, depth_db: float, rng: np.random.Generator, period_s: float = 4.0) -> Mono:
    """The level goes up and down by `depth_db` either way, once in `period_s`."""
    t = np.arange(len(x)) / SR
    phase = 2 * np.pi * (t / period_s + rng.random())
    return x * 10.0 ** (depth_db * np.sin(phase) / 20.0)


def muffled(x: Mono, db_per_octave: float, corner_hz: float = 400.0) -> Mono:
    """The spectrum falls by `db_per_octave` above `corner_hz`; zero phase."""
    freqs = np.fft.rfftfreq(len(x), 1.0 / SR)
    gain_db = -db_per_octave * np.log2(np.maximum(freqs / corner_hz, 1.0))
    return np.fft.irfft(np.fft.rfft(x) * 10.0 ** (gain_db / 20.0), len(x))


def low_passed(x: Mono, cutoff_hz: float) -> Mono:
    """A Butterworth low-pass of order 8, as of a telephone in a pocket."""
    return np.asarray(sosfilt(butter(8, cutoff_hz, fs=SR, output="sos"), x))


def gated(x: Mono, clean: Mono) -> Mono:
    """`x` with digital silence wherever the speech in it pauses, as recorders and conference systems leave it."""
    power = lfilter([1.0 / 800] * 800, [1.0], clean**2)
    return np.where(power > np.max(power) * 1e-3, x, 0.0)


def _unit(x: Mono) -> Mono:
    x = x - np.mean(x)
    return x / np.sqrt(np.mean(x**2))


def _slope(n: int, rng: np.random.Generator, db_per_octave: float, low_hz: float = 20.0) -> Mono:
    """Gaussian noise whose power falls by `db_per_octave`, flat under `low_hz`."""
    freqs = np.maximum(np.fft.rfftfreq(n, 1.0 / SR), low_hz)
    spectrum = np.fft.rfft(rng.standard_normal(n)) * (freqs / low_hz) ** (-db_per_octave / 20.0 / np.log10(2.0))
    return np.fft.irfft(spectrum, n)


def _fan(n: int, rng: np.random.Generator) -> Mono:
    """Broad noise with two resonances, a blade tone with harmonics, and a slow beat."""
    t = np.arange(n) / SR
    x = _unit(_slope(n, rng, 5.0, 60.0))
    for hz in (320.0, 780.0):
        sos = butter(2, [0.8 * hz, 1.25 * hz], "bandpass", fs=SR, output="sos")
        x = x + 0.5 * _unit(sosfilt(sos, rng.standard_normal(n)))
    tone = sum(np.sin(2 * np.pi * 118.0 * k * t + k) / k for k in range(1, 6))
    return (x + 0.3 * tone) * (1.0 + 0.1 * np.sin(2 * np.pi * 0.7 * t))


def _hum(n: int, rng: np.random.Generator) -> Mono:
    """Mains hum with odd and even harmonics over faint hiss."""
    t = np.arange(n) / SR
    x = sum(np.sin(2 * np.pi * 50.0 * k * t + rng.uniform(0, 6.28)) / k**0.7 for k in range(1, 13))
    return _unit(x) + 0.2 * rng.standard_normal(n)


def _keyboard(n: int, rng: np.random.Generator) -> Mono:
    """Clicks of keys, 4 to 8 in a second, over room tone."""
    x = np.zeros(n)
    start = 0
    while (start := start + int(rng.uniform(0.1, 0.25) * SR)) < n - 800:
        decay = np.exp(-np.arange(800) / rng.uniform(60, 200))
        x[start : start + 800] += rng.uniform(0.3, 1.0) * decay * rng.standard_normal(800)
    return _unit(x) + 0.3 * _unit(_slope(n, rng, 4.0, 50.0))


def _street(n: int, rng: np.random.Generator) -> Mono:
    """Traffic: coloured noise that swells as cars pass."""
    swell = _unit(np.abs(_slope(n, rng, 12.0, 0.2)))
    return _unit(_slope(n, rng, 6.0, 80.0)) * (0.4 + np.abs(swell))


def _babble(n: int, rng: np.random.Generator) -> Mono:
    """Eight talkers at once, each going round from a random place; the voices of the other split."""
    clips = spoken_sentences("dev") + read_sentences("dev")
    if not clips:
        raise LookupError("babble: neither espeak-ng nor real audio here")
    x = np.zeros(n)
    for _ in range(8):
        order = rng.permutation(len(clips))
        talker = np.concatenate([clips[int(k)].audio for k in order])
        start = int(rng.integers(len(talker)))
        x += np.take(talker, np.arange(start, start + n), mode="wrap") * rng.uniform(0.6, 1.0)
    return x


_MAKERS: dict[str, Callable[[int, np.random.Generator], Mono]] = {
    "white": lambda n, rng: rng.standard_normal(n),
    "pink": lambda n, rng: _slope(n, rng, 3.0),
    "brown": lambda n, rng: _slope(n, rng, 6.0),
    "hiss": lambda n, rng: _slope(n, rng, -3.0, 500.0),
    "fan": _fan,
    "hum": _hum,
    "keyboard": _keyboard,
    "street": _street,
    "babble": _babble,
}
