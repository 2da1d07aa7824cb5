"""Speech and other sounds made by code: espeak-ng where it is installed, else a formant synthesiser."""

from __future__ import annotations

import io
import shutil
import subprocess
from dataclasses import dataclass

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray
from scipy.signal import lfilter

Mono = NDArray[np.float64]

#: What the voices read.
TEXT = """
The ferry left the harbour a little after nine, and the fog had not lifted. Seven crates of oranges
stood on the deck, and nobody had signed for them. Could you turn the wireless down? I can hardly
hear the bell. On the third of May the river rose by forty two centimetres in a single night. She
measured the beam twice, cut it once, and swept the floor before the paint arrived. Most of the
letters were addressed to a house that no longer stands. He counted slowly: one, two, three, four,
five, six, seven, eight, nine, ten. If the engine stops, close the left valve first, wait until the
needle falls below zero, and only then open the door.
"""


@dataclass(frozen=True)
class Voice:
    """How a speaker sounds, for both synthesisers.

    Parameters
    ----------
    espeak : espeak-ng voice
    words_per_minute : speaking rate
    pitch_hz : mean fundamental frequency of the formant synthesiser
    tract : scale of its formant frequencies, 1.0 for an adult male
    """

    espeak: str
    words_per_minute: int
    pitch_hz: float
    tract: float


VOICES = (
    Voice("en-gb", 150, 110.0, 1.0),
    Voice("en-us+f3", 165, 205.0, 1.17),
    Voice("en-gb-scotland+m3", 140, 95.0, 0.95),
    Voice("en-us+f5", 180, 230.0, 1.22),
)

# First three formants in Hz of some vowels (Peterson & Barney 1952, table II, men).
_VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
    (490, 1350, 1690),
)
_BANDWIDTHS_HZ = (80.0, 100.0, 140.0)
_SYNTHESIS_SR = 16000


def espeak_available() -> bool:
    """Whether espeak-ng is on PATH."""
    return shutil.which("espeak-ng") is not None


def read_aloud(voice: Voice, seed: int, *, use_espeak: bool) -> tuple[Mono, int]:
    """About 45 s of speech at a peak of 0.5, and its sampling rate."""
    x, sr = _espeak(voice) if use_espeak else (_formants(voice, 45.0, seed), _SYNTHESIS_SR)
    return 0.5 * x / np.max(np.abs(x)), sr


def resampled(x: Mono, sr_in: int, sr_out: int) -> Mono:
    """The same sound at another rate."""
    return np.asarray(soxr.resample(x, sr_in, sr_out, quality="HQ"), np.float64)


def pink_noise(n: int, rng: np.random.Generator) -> Mono:
    """Noise of about -10 dB per decade, root mean square 1 (P. Kellet's economy filter)."""
    white = rng.standard_normal(n)
    x = (
        lfilter([0.0990460], [1.0, -0.99765], white)
        + lfilter([0.2965164], [1.0, -0.96300], white)
        + lfilter([1.0526913], [1.0, -0.57000], white)
        + 0.1848 * white
    )
    return np.asarray(x / np.sqrt(np.mean(x**2)), np.float64)


def chords(n: int, sr: int, rng: np.random.Generator) -> Mono:
    """Plucked triads, one every half second: something that is neither speech nor noise."""
    x = np.zeros(n)
    for start in range(0, n, sr // 2):
        t = np.arange(n - start) / sr
        root = 110.0 * 2.0 ** (rng.integers(0, 24) / 12.0)
        for ratio in (1.0, 1.25, 1.5, 2.0):
            x[start:] += np.exp(-3.0 * t) * np.sin(2 * np.pi * root * ratio * t)
    return 0.5 * x / max(1e-9, float(np.max(np.abs(x))))


def _espeak(voice: Voice) -> tuple[Mono, int]:
    command = ["espeak-ng", "-v", voice.espeak, "-s", str(voice.words_per_minute), "--stdout"]
    spoken = subprocess.run(command, input=TEXT.encode(), capture_output=True, check=True).stdout
    x, sr = sf.read(io.BytesIO(_with_true_sizes(spoken)), dtype="float64")
    return np.asarray(x), int(sr)


def _with_true_sizes(wav: bytes) -> bytes:
    """A WAV written to a pipe, whose header could not know the length, with its real sizes."""
    data = wav.index(b"data") + 8
    sizes = (len(wav) - 8).to_bytes(4, "little"), (len(wav) - data).to_bytes(4, "little")
    return wav[:4] + sizes[0] + wav[8 : data - 4] + sizes[1] + wav[data:]


def _formants(voice: Voice, seconds: float, seed: int) -> Mono:
    """Syllables of a noise burst and a vowel, in phrases with pauses."""
    rng = np.random.default_rng(seed)
    parts: list[Mono] = []
    n_made = 0
    while n_made < seconds * _SYNTHESIS_SR:
        for _ in range(int(rng.integers(5, 12))):
            parts += [_burst(rng), _vowel(voice, rng)]
        parts.append(np.zeros(int(rng.uniform(0.25, 0.6) * _SYNTHESIS_SR)))
        n_made = sum(map(len, parts))
    return np.concatenate(parts)[: int(seconds * _SYNTHESIS_SR)]


def _burst(rng: np.random.Generator) -> Mono:
    n = int(rng.uniform(0.02, 0.09) * _SYNTHESIS_SR)
    noise = lfilter([1.0, -0.95], [1.0], rng.standard_normal(n))
    return np.asarray(0.05 * rng.uniform(0.3, 1.0) * np.hanning(n) * noise)


def _vowel(voice: Voice, rng: np.random.Generator) -> Mono:
    n = int(rng.uniform(0.08, 0.24) * _SYNTHESIS_SR)
    pitch = voice.pitch_hz * np.linspace(rng.uniform(0.95, 1.2), rng.uniform(0.85, 1.0), n)
    phase = np.cumsum(pitch / _SYNTHESIS_SR)
    pulses = np.diff(np.floor(phase), prepend=0.0)
    x = lfilter([1.0], [1.0, -0.95], pulses)  # the glottis: -6 dB per octave
    for formant, bandwidth in zip(_VOWELS[int(rng.integers(len(_VOWELS)))], _BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * bandwidth / _SYNTHESIS_SR)
        angle = 2 * np.pi * formant * voice.tract / _SYNTHESIS_SR
        poles = [1.0, -2 * radius * np.cos(angle), radius**2]
        x = lfilter([sum(poles)], poles, x)
    ends = np.minimum(1.0, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.015 * _SYNTHESIS_SR))
    return np.asarray(x * ends / np.max(np.abs(x)))
