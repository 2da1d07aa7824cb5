"""Music and textures the article's way: noise, or a track, whose spectrum and level diffuse toward a reference's.

Frame by frame the envelope of the source moves toward that of the reference: in every band, rho**steps of the
distance in dB is left, level and timbre alike. What is between the bands, the fine structure, stays the source's: a
reference of speech over noise whispers, over music it makes the music speak.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp import stft
from corpusdiff.dsp.law import deviation_factor
from corpusdiff.dsp.resample import downmix
from corpusdiff.dsp.spectrum import mean_power
from corpusdiff.dsp.texture import Bands, bands, there_and_back
from corpusdiff.encode.audiofile import write_audio
from corpusdiff.errors import ParameterError, UsageError
from corpusdiff.mixing import read_at
from corpusdiff.source.audiofile import read_audio
from corpusdiff.stages.base import Audio, Signal, run_blocks
from corpusdiff.stages.checks import at_least
from corpusdiff.stages.limiter import Limiter
from corpusdiff.units import db_to_amplitude

#: (n_frames, n_bands) float32, dB.
Levels = NDArray[np.float32]

#: Length of a frame, in seconds, before rounding up to a power of two.
_FRAME_S = 0.04

#: Level of the noise that a texture is made of.
_NOISE_DBFS = -20.0

#: Samples of a block of noise.
_BLOCK = 1 << 16

#: A band is moved by no more, in dB.
_MOST_DB = 100.0


def envelope(x: Audio, sr: int) -> Levels:
    """(n_frames, n_bands) levels in dB of a signal (n_channels, n): timbre and level over time."""
    found: list[Levels] = []
    n_fft, hop = _frame(sr), _frame(sr) // 4
    where = bands(n_fft, sr)

    def keep(spectra: stft.Frames) -> None:
        found.append(where.levels_db(mean_power(spectra)))

    _, state = stft.process(x, stft.initial(len(x), n_fft), n_fft, hop, keep)
    stft.flush(state, n_fft, hop, keep)
    return np.concatenate(found)


def synthesise(
    reference: Audio,
    sr: int,
    *,
    n_samples: int | None = None,
    source: Audio | None = None,
    seed: int = 0,
    k: float = -0.5,
    steps: int = 6,
) -> Iterator[Audio]:
    """Blocks of a source diffused toward the envelope of a reference.

    Parameters
    ----------
    reference : (n_channels, n) float32, whose timbre and level are asked; walked to its end, back, and so on
    sr : rate of all in Hz
    n_samples : length of the result; None for the source's, or the reference's
    source : (n_channels, n) float32 to start from, repeated where it is too short; None for white noise
    seed : of the noise; equal seeds give equal samples
    k, steps : the law's; k per step, -1 to 0

    Returns
    -------
    (n_channels, n) float32 blocks, `n_samples` in all

    Raises
    ------
    ParameterError : for a k over 0, which would lead away, and as `deviation_factor`
    """
    at_least("steps", steps, 0)
    if k > 0:
        raise ParameterError("k", f"got {k:g}; give -1 to 0: over 0 the sound moves away from the reference")
    n = n_samples if n_samples is not None else (reference if source is None else source).shape[1]
    blocks = _noise(len(reference), n, seed) if source is None else _repeated(source, n)
    n_fft = _frame(sr)
    change = _Diffusion(envelope(reference, sr), bands(n_fft, sr), deviation_factor(k, steps) - 1.0)
    state = stft.initial(len(reference) if source is None else len(source), n_fft)
    drop = n_fft - 1
    rest = iter([None])
    for x in chain(blocks, rest):
        if x is None:
            y = stft.flush(state, n_fft, n_fft // 4, change)
        else:
            y, state = stft.process(x, state, n_fft, n_fft // 4, change)
        dropped = min(drop, y.shape[1])
        drop -= dropped
        yield y[:, dropped:]


def synthesise_file(
    reference: str,
    output: str,
    *,
    seconds: float | None = None,
    source: str | None = None,
    seed: int = 0,
    k: float = -0.5,
    steps: int = 6,
    bits: int | None = None,
) -> int:
    """Make OUTPUT of files; peaks end under -1 dBTP. The number of samples. Raises UsageError and TrackError."""
    if os.path.realpath(output) in {os.path.realpath(name) for name in (reference, source) if name is not None}:
        raise UsageError(f"{output}: is an input too; give another name")
    target, sr = read_audio(reference)
    start = None
    if source is not None:
        start = np.concatenate([*read_at(source, sr)], axis=1)
        start = downmix(start, len(target)) if len(start) > 1 or len(target) > 1 else start
    n_samples = None if seconds is None else round(seconds * sr)
    try:
        made = synthesise(target, sr, n_samples=n_samples, source=start, seed=seed, k=k, steps=steps)
        limited = run_blocks(Limiter(ceiling_dbtp=-1.0), made, Signal(sr, len(target)))
        return write_audio(output, limited, sr, len(target), bits)
    except ParameterError as error:
        raise UsageError(f"--{error}") from error


class _Diffusion:
    """What is added to frames so that their envelopes move; counts the frames."""

    def __init__(self, target_db: Levels, where: Bands, scale: float) -> None:
        self._target_db = target_db
        self._where = where
        self._scale = np.float32(scale)
        self._n = 0

    def __call__(self, spectra: stft.Frames) -> stft.Frames | None:
        count = spectra.shape[1]
        target_db = self._target_db[there_and_back(self._n, count, len(self._target_db))]
        self._n += count
        if self._scale == 0.0:
            return None
        deviation_db = self._where.levels_db(mean_power(spectra)) - target_db
        gain_db = np.clip(self._where.over_bins(self._scale * deviation_db), -_MOST_DB, _MOST_DB)
        return spectra * (db_to_amplitude(gain_db).astype(np.float32) - 1)


def _frame(sr: int) -> int:
    return 1 << int(np.ceil(np.log2(_FRAME_S * sr)))


def _noise(n_channels: int, n: int, seed: int) -> Iterator[Audio]:
    """White noise, channels independent; a function of seed and place alone."""
    rng = np.random.Generator(np.random.Philox(seed))
    for start in range(0, n, _BLOCK):
        x = rng.standard_normal((min(_BLOCK, n - start), n_channels), np.float32)
        yield np.ascontiguousarray(x.T) * np.float32(db_to_amplitude(_NOISE_DBFS))


def _repeated(source: Audio, n: int) -> Iterator[Audio]:
    if source.shape[1] == 0 and n:
        raise UsageError("the source holds no samples; give another")
    for start in range(0, n, _BLOCK):
        yield np.take(source, np.arange(start, min(start + _BLOCK, n)) % source.shape[1], axis=1)
