"""What is measured of a track, before and after, and of the change between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp.distance import add_products, si_sdr_db
from corpusdiff.dsp.levels import LevelMeter, usual_levels
from corpusdiff.dsp.loudness import LoudnessMeter
from corpusdiff.dsp.noise import NoiseMeter
from corpusdiff.dsp.spectrum import SpectrumMeter, bandwidth_hz, centroid_hz
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
    Column("clip_rate", "1", "share of samples in runs of three or more at their channel's own extreme"),
    Column("snr_db", "dB", "estimated signal-to-noise ratio, -10 to 60"),
    Column("speech_ratio", "1", "share of the time that stands out of the noise"),
    Column("bandwidth_hz", "Hz", "highest frequency within 60 dB of the strongest"),
    Column("centroid_hz", "Hz", "spectral centroid of the long-term spectrum"),
)

_OF_THE_CHANGE = (
    Column("gain_db", "dB", "gain of the loudness normalisation"),
    Column("limiter_db", "dB", "by how much the highest peak had to be limited"),
    Column("lsd_db", "dB", "log-spectral distance of the chain's output and input, mean level removed"),
    Column("si_sdr_db", "dB", "scale-invariant SDR of the chain's output against its input"),
    Column("encoded_bytes", "B", "size of the first output"),
)

#: All metrics in the order of the table. ``out_`` stands for after.
COLUMNS: tuple[Column, ...] = (
    *_OF_A_SIGNAL,
    Column("header_diff_s", "s", "decoded length less what the header claims; NaN when it claims nothing"),
    *(Column(f"out_{column.name}", column.unit, f"{column.doc}, after") for column in _OF_A_SIGNAL),
    *_OF_THE_CHANGE,
)

#: Columns of text: how the loudness was measured, and what kept it from its target; what the guard made of the chain
#: (nothing, ``halved-1`` to ``halved-4``, ``source``), and which of its bounds the whole chain passed.
TEXT_COLUMNS: tuple[str, ...] = ("loudness_method", "out_loudness_method", "gain_bounded_by", "guard", "guard_by")

#: What is known of a track once it is measured, and before anything is done to it: what rules may ask for.
SOURCE_COLUMNS: tuple[str, ...] = (*(column.name for column in _OF_A_SIGNAL), "loudness_method")

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

    def finish(self, gain_db: float = 0.0) -> Volume:
        """Of all that came, or of that after a gain."""
        return volume(self._loudness, self._peak, gain_db)


def volume(loudness: LoudnessMeter, peak: TruePeakMeter, gain_db: float = 0.0) -> Volume:
    """What two meters found, or what they would have after a gain."""
    found = loudness.finish(gain_db)
    true_peak_dbtp = max(peak.finish() + gain_db, -200.0)
    return Volume(found.integrated_lufs, found.range_lu, found.method, true_peak_dbtp)


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
    volume, spectrum : what is known already and need not be measured
    """

    def __init__(
        self, sr: int, n_channels: int, volume: Volume | None = None, spectrum: SpectrumMeter | None = None
    ) -> None:
        self._sr = sr
        self._levels = LevelMeter(sr, n_channels)
        self._noise = NoiseMeter(sr, n_channels)
        self._measures_spectrum = spectrum is None
        self._spectrum = SpectrumMeter(sr, n_channels) if spectrum is None else spectrum
        self._volume = VolumeMeter(sr, n_channels) if volume is None else volume

    def update(self, x: Audio) -> None:
        """(n_channels, n) float32."""
        self._levels.update(x)
        self._noise.update(x)
        if isinstance(self._volume, VolumeMeter):
            self._volume.update(x)
        if self._measures_spectrum:
            self._spectrum.update(x)

    def finish(self) -> Measurement:
        """The metrics of all that came. Nothing may come afterwards."""
        found = self._volume.finish() if isinstance(self._volume, VolumeMeter) else self._volume
        if self._measures_spectrum:
            self._spectrum.finish()
        return measurement(self._sr, self._levels, self._noise, self._spectrum, found)


def measurement(sr: int, levels: LevelMeter, noise: NoiseMeter, spectrum: SpectrumMeter, volume: Volume) -> Measurement:
    """The metrics from meters that heard all, the spectrum's finished. Nothing may come to the noise's afterwards."""
    power = spectrum.mean()
    freqs_hz = spectrum.freqs_hz
    snr_db, speech_ratio, noise_dbfs = noise.finish()
    metrics = {
        "duration_s": levels.n_samples / sr,
        "peak_dbfs": float(amplitude_to_db(levels.peak)),
        "true_peak_dbtp": volume.true_peak_dbtp,
        "rms_dbfs": float(power_to_db(levels.mean_square)),
        "loudness_lufs": volume.loudness_lufs,
        "loudness_range_lu": volume.range_lu,
        "dc": levels.dc,
        "clip_rate": levels.clip_rate,
        "snr_db": snr_db,
        "speech_ratio": speech_ratio,
        "bandwidth_hz": bandwidth_hz(freqs_hz, power),
        "centroid_hz": centroid_hz(freqs_hz, power),
    }
    measured = Measured(
        volume.loudness_lufs,
        *usual_levels(levels.levels_dbfs()),
        Spectrum(freqs_hz, power_to_db(power)),
        snr_db,
        noise_dbfs,
    )
    return Measurement(metrics, {"loudness_method": volume.method}, measured)


@dataclass(frozen=True)
class Change:
    """What a chain did to a signal.

    Parameters
    ----------
    lsd_db, si_sdr_db : as in `COLUMNS`, NaN where there is nothing to compare
    clip_rate : share of the output's samples beyond full scale
    """

    lsd_db: float
    si_sdr_db: float
    clip_rate: float


class ChangeMeter:
    """How far an output is from its input, sample by sample and spectrum by spectrum.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : number of channels
    is_start : whether it hears a track from its start, and not a part behind it

    Attributes
    ----------
    spectrum : of the output, for whoever needs it too
    """

    def __init__(self, sr: int, n_channels: int, is_start: bool = True) -> None:
        self.spectrum = SpectrumMeter(sr, n_channels, is_start)
        self._before = SpectrumMeter(sr, n_channels, is_start)
        self._energies: list[NDArray[np.float32]] = []
        self._distances: list[NDArray[np.float32]] = []
        self._sums = np.zeros(4)
        self._n_samples = 0

    @property
    def grid(self) -> int:
        """Samples that the part of a track that may be merged is a multiple of."""
        return self.spectrum.grid

    def merge(self, later: ChangeMeter) -> None:
        """Go on with what another meter found of the samples that follow, equal but for rounding.

        What came here is a multiple of `grid`, and something came there. Raises ValueError where it is not.
        """
        self.spectrum.merge(later.spectrum)
        self._before.merge(later._before)
        self._energies += later._energies
        self._distances += later._distances
        self._sums += later._sums
        self._n_samples += later._n_samples

    def update(self, before: Audio, after: Audio) -> None:
        """Two aligned blocks (n_channels, n) float32."""
        add_products(before, after, self._sums)
        self._n_samples += before.size
        for powers in zip(self._before.update(before), self.spectrum.update(after), strict=True):
            self._add(*powers)

    def finish(self) -> Change:
        """The change of all that came. Nothing may come afterwards."""
        self._add(self._before.finish(), self.spectrum.finish())
        energy = np.concatenate(self._energies)
        active = energy > energy.max() * 10 ** (-_ACTIVE_DB / 10)
        lsd_db = float(np.concatenate(self._distances)[active].mean()) if active.any() else float("nan")
        xx, yy, xy, n_over = self._sums
        return Change(lsd_db, si_sdr_db(xx, yy, xy), float(n_over) / max(1, self._n_samples))

    def _add(self, before: NDArray[np.float32], after: NDArray[np.float32]) -> None:
        difference = _depth_limited(after) - _depth_limited(before)
        difference -= difference.mean(axis=1, keepdims=True)  # the level is told by other columns
        self._energies.append(before.sum(axis=1))
        self._distances.append(np.sqrt(np.square(difference).mean(axis=1)) * np.float32(10 / np.log(10)))


def _depth_limited(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log power of frames, nothing lower than `_DEPTH_DB` under its frame's strongest bin."""
    floor = power.max(axis=1, keepdims=True) * np.float32(10 ** (-_DEPTH_DB / 10)) + np.float32(1e-20)
    return np.log(np.maximum(power, floor))
