"""What is measured of a track, before and after, and of the change between."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit
from numpy.typing import NDArray

from corpusdiff.dsp.levels import LevelMeter, snr_and_speech, usual_levels
from corpusdiff.dsp.loudness import LoudnessMeter
from corpusdiff.dsp.spectrum import Frames, SpectrumMeter, bandwidth_hz, centroid_hz, mean_power
from corpusdiff.dsp.truepeak import TruePeakMeter
from corpusdiff.stages.base import Audio, Measured, Spectrum
from corpusdiff.units import amplitude_to_db, power_to_db


@dataclass(frozen=True)
class Column:
    """One metric.

    Parameters
    ----------
    name : column of the table
    unit : of its values
    doc : what it says
    """

    name: str
    unit: str
    doc: str


_OF_A_SIGNAL = (
    Column("duration_s", "s", "length by decoded samples"),
    Column("peak_dbfs", "dBFS", "highest sample"),
    Column("true_peak_dbtp", "dBTP", "highest point of the waveform, eightfold interpolation"),
    Column("rms_dbfs", "dBFS", "mean power of all channels"),
    Column("loudness_lufs", "LUFS", "integrated loudness, BS.1770"),
    Column("loudness_range_lu", "LU", "loudness range, EBU Tech 3342; NaN under 3 s"),
    Column("dc", "1", "mean of the channel that is farthest from zero"),
    Column("clip_rate", "1", "share of samples in runs of three or more at full scale"),
    Column("snr_db", "dB", "estimated signal-to-noise ratio, -10 to 60"),
    Column("speech_ratio", "1", "share of the time that stands out of the noise"),
    Column("bandwidth_hz", "Hz", "highest frequency within 60 dB of the strongest"),
    Column("centroid_hz", "Hz", "spectral centroid of the long-term spectrum"),
)

_OF_THE_CHANGE = (
    Column("gain_db", "dB", "gain of the loudness normalisation"),
    Column("limiter_db", "dB", "by how much the highest peak had to be limited"),
    Column("lsd_db", "dB", "log-spectral distance of output and input, mean level removed"),
    Column("si_sdr_db", "dB", "scale-invariant SDR of the output against the input"),
    Column("encoded_bytes", "B", "size of the first output"),
)

#: All metrics in the order of the table. ``out_`` stands for after.
COLUMNS: tuple[Column, ...] = (
    *_OF_A_SIGNAL,
    Column("header_diff_s", "s", "decoded length less what the header claims; NaN when it claims nothing"),
    *(Column(f"out_{column.name}", column.unit, f"{column.doc}, after") for column in _OF_A_SIGNAL),
    *_OF_THE_CHANGE,
)

#: Columns of text: how the loudness was measured, and what kept it from its target.
TEXT_COLUMNS: tuple[str, ...] = ("loudness_method", "out_loudness_method", "gain_bounded_by")

#: Frames this far under the loudest are left out of spectral distances.
_ACTIVE_DB = 40.0

#: Spectra are compared down to this far under their frame's strongest bin: no ear hears what lies below.
_DEPTH_DB = 60.0


@dataclass(frozen=True)
class Volume:
    """How loud a signal is.

    Parameters
    ----------
    loudness_lufs, range_lu, method : as in `corpusdiff.dsp.loudness.Loudness`
    true_peak_dbtp : -200 for silence
    """

    loudness_lufs: float
    range_lu: float
    method: str
    true_peak_dbtp: float

    def after(self, gain_db: float) -> Volume | None:
        """The volume after a gain, None where it must be measured: the absolute gate does not move along."""
        loudness = self.loudness_lufs + gain_db
        if gain_db and self.method == "gated" and min(self.loudness_lufs, loudness) < _GATE_MATTERS_LUFS:
            return None
        return replace(self, loudness_lufs=loudness, true_peak_dbtp=max(self.true_peak_dbtp + gain_db, -200.0))


#: Under this loudness the gate at -70 LUFS takes part, beside the relative one at -20 LU of the range.
_GATE_MATTERS_LUFS = -49.0


class VolumeMeter:
    """Loudness and true peak of a signal in blocks.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    """

    def __init__(self, sr: int, n_channels: int) -> None:
        self._loudness = LoudnessMeter(sr, n_channels)
        self._peak = TruePeakMeter(n_channels)

    def update(self, x: Audio) -> None:
        """(n_channels, n) float32."""
        self._loudness.update(x)
        self._peak.update(x)

    def finish(self) -> Volume:
        """Of all that came."""
        found = self._loudness.finish()
        return Volume(found.integrated_lufs, found.range_lu, found.method, self._peak.finish())


@dataclass(frozen=True)
class Measurement:
    """What a `Meter` found.

    Parameters
    ----------
    metrics : by name, NaN where undefined
    texts : by name
    measured : what stages may know of the track
    """

    metrics: dict[str, float]
    texts: dict[str, str]
    measured: Measured


class Meter:
    """All metrics of one signal, in one go over its blocks; any blocks give the same numbers.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    volume : what is known already and need not be measured
    """

    def __init__(self, sr: int, n_channels: int, volume: Volume | None = None) -> None:
        self._sr = sr
        self._levels = LevelMeter(sr, n_channels)
        self._spectrum = SpectrumMeter(sr, n_channels)
        self._volume = VolumeMeter(sr, n_channels) if volume is None else volume

    def update(self, x: Audio) -> None:
        """(n_channels, n) float32."""
        self._levels.update(x)
        self._spectrum.update(x)
        if isinstance(self._volume, VolumeMeter):
            self._volume.update(x)

    def finish(self) -> Measurement:
        """The metrics of all that came."""
        levels = self._levels.levels_dbfs()
        volume = self._volume.finish() if isinstance(self._volume, VolumeMeter) else self._volume
        power = self._spectrum.finish()
        freqs_hz = self._spectrum.freqs_hz
        snr_db, speech_ratio = snr_and_speech(levels)
        metrics = {
            "duration_s": self._levels.n_samples / self._sr,
            "peak_dbfs": float(amplitude_to_db(self._levels.peak)),
            "true_peak_dbtp": volume.true_peak_dbtp,
            "rms_dbfs": float(power_to_db(self._levels.mean_square)),
            "loudness_lufs": volume.loudness_lufs,
            "loudness_range_lu": volume.range_lu,
            "dc": self._levels.dc,
            "clip_rate": self._levels.clip_rate,
            "snr_db": snr_db,
            "speech_ratio": speech_ratio,
            "bandwidth_hz": bandwidth_hz(freqs_hz, power),
            "centroid_hz": centroid_hz(freqs_hz, power),
        }
        spectrum = Spectrum(freqs_hz, power_to_db(power))
        measured = Measured(volume.loudness_lufs, *usual_levels(levels), spectrum)
        return Measurement(metrics, {"loudness_method": volume.method}, measured)


class ChangeMeter:
    """How far the output is from the input, sample by sample and spectrum by spectrum.

    Parameters
    ----------
    sr : rate in Hz
    """

    def __init__(self, sr: int) -> None:
        self._before = Frames(sr, 1)
        self._after = Frames(sr, 1)
        self._distances: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self._dots = np.zeros(3)

    def update(self, before: Audio, after: Audio) -> None:
        """Two aligned blocks (n_channels, n) float32."""
        x, y = _mono(before), _mono(after)
        add_products(x[0], y[0], self._dots)
        for spectra in zip(self._before.push(x), self._after.push(y), strict=True):
            self._add(*spectra)

    def finish(self) -> dict[str, float]:
        """``lsd_db`` and ``si_sdr_db``; NaN where there is nothing to compare."""
        self._add(self._before.rest(), self._after.rest())
        energy = np.concatenate([energy for energy, _ in self._distances])
        sums = np.concatenate([distances for _, distances in self._distances])
        active = energy > energy.max() * 10 ** (-_ACTIVE_DB / 10)
        lsd_db = float(sums[active].mean()) if active.any() else float("nan")
        return {"lsd_db": lsd_db, "si_sdr_db": si_sdr_db(*self._dots)}

    def _add(self, before: NDArray[np.complex64], after: NDArray[np.complex64]) -> None:
        p, q = mean_power(before), mean_power(after)
        floor = 10 ** (-_DEPTH_DB / 10)
        level_p = np.log(np.maximum(p, p.max(axis=1, keepdims=True) * floor) + 1e-20)
        level_q = np.log(np.maximum(q, q.max(axis=1, keepdims=True) * floor) + 1e-20)
        difference = level_q - level_p
        difference -= difference.mean(axis=1, keepdims=True)  # the level is told by other columns
        distance = np.sqrt(np.square(difference).mean(axis=1)) * (10 / np.log(10))
        self._distances.append((p.sum(axis=1), distance))


def si_sdr_db(xx: float, yy: float, xy: float) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019) from the sums of x^2, y^2 and xy.

    At most 100 dB, where rounding takes over; NaN when either signal is silent.

    >>> round(si_sdr_db(1.0, 4.0, 1.0), 6)  # y is x and three parts of something else
    -4.771213
    """
    if xx <= 0 or yy <= 0:
        return float("nan")
    target = xy * xy / xx
    return float(power_to_db(target / max(yy - target, 1e-10 * yy)))


@njit(cache=True, nogil=True)
def add_products(x: NDArray[np.float32], y: NDArray[np.float32], sums: NDArray[np.float64]) -> None:
    """Add the sums of x^2, y^2 and xy, sample by sample."""
    xx, yy, xy = sums[0], sums[1], sums[2]
    for i in range(x.size):
        a, b = float(x[i]), float(y[i])
        xx += a * a
        yy += b * b
        xy += a * b
    sums[0], sums[1], sums[2] = xx, yy, xy


def _mono(x: Audio) -> Audio:
    if len(x) == 1:
        return x
    total = x[0]
    for channel in x[1:]:
        total = total + channel
    return (total / np.float32(len(x)))[None]
