"""What is to become better: each objective scores a processed track on a worker, and sums up the scores."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp.levels import LevelMeter
from corpusdiff.dsp.resample import Resampler
from corpusdiff.dsp.spectrum import SpectrumMeter
from corpusdiff.errors import UsageError
from corpusdiff.profiles import read_measured
from corpusdiff.stages.base import Audio, Spectrum
from corpusdiff.units import db_to_power, power_to_db

#: Levels of 50 ms that make one of 400 ms, the momentary loudness's length.
_MOMENT = 8

#: Levels so far under the 95th percentile are pauses.
_GATE_DB = 30.0

#: Spectra are compared in third octaves from this frequency on.
_LOWEST_HZ = 100.0


class NoScore(Exception):
    """A track that the objective has nothing to say of."""


@dataclass(frozen=True)
class Heard:
    """A processed track.

    Parameters
    ----------
    audio : (n_channels, n) float32, as a corpus would hold it
    sr : rate in Hz
    metrics : of its row
    clean : (1, n) the same at `clean_sr`, without whatever the job is to take away; None unless asked for
    clean_sr : rate in Hz
    """

    audio: Audio
    sr: int
    metrics: dict[str, Any]
    clean: Audio | None = None
    clean_sr: int = 16000


class Objective(Protocol):
    """Something to make small or large. Implementations are frozen, and travel to the workers.

    ``needs_reference``: it compares with a clean signal. ``needs_files``: its total is of a folder of files.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    maximise: ClassVar[bool]
    needs_reference: ClassVar[bool]
    needs_files: ClassVar[bool]

    def score(self, heard: Heard) -> Any:
        """What one track contributes, JSON-able. Raises NoScore."""
        ...

    def total(self, scores: Sequence[Any], folder: str) -> float:
        """The objective over all tracks, whose files are in `folder` if it needs them. Raises NoScore."""
        ...


class _OfTracks:
    """Base of objectives that are the mean over tracks."""

    unit: ClassVar[str] = ""
    maximise: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False
    needs_files: ClassVar[bool] = False

    def total(self, scores: Sequence[Any], folder: str) -> float:
        """The mean."""
        return float(np.mean(scores))


@dataclass(frozen=True)
class LevelSpread(_OfTracks):
    """Standard deviation of the level, within tracks and between them: of 400 ms each, pauses left out.

    It is smallest where speech has no dynamics left at all: give a lower bound for the time constant, and listen.
    """

    name: ClassVar[str] = "level-spread"
    unit: ClassVar[str] = "dB"
    maximise: ClassVar[bool] = False

    def score(self, heard: Heard) -> list[float]:
        """Mean and variance of a track's levels."""
        meter = LevelMeter(heard.sr, len(heard.audio))
        meter.update(heard.audio)
        power = db_to_power(meter.levels_dbfs())
        moments = power_to_db([part.mean() for part in np.split(power, range(_MOMENT, len(power), _MOMENT))])
        loud = moments[moments > max(-100.0, float(np.quantile(moments, 0.95)) - _GATE_DB)]
        if not len(loud):
            raise NoScore("it is silent")
        return [float(loud.mean()), float(loud.var())]

    def total(self, scores: Sequence[Any], folder: str) -> float:
        """sqrt(mean of the variances + variance of the means): that of all levels, every track weighing the same."""
        means, variances = np.array(scores, np.float64).T
        return float(np.sqrt(variances.mean() + means.var()))


@dataclass(frozen=True)
class Snr(_OfTracks):
    """Estimated signal-to-noise ratio, mean over the tracks."""

    name: ClassVar[str] = "snr"
    unit: ClassVar[str] = "dB"

    def score(self, heard: Heard) -> float:
        """As the table of a corpus has it."""
        snr_db = heard.metrics.get("out_snr_db")
        if snr_db is None or not np.isfinite(snr_db):
            raise NoScore("it has no signal-to-noise ratio")
        return float(snr_db)


@dataclass(frozen=True)
class ProfileDistance(_OfTracks):
    """Log-spectral distance of tracks to a profile, mean levels removed, in third octaves.

    Parameters
    ----------
    freqs_hz, power_db : the profile
    """

    name: ClassVar[str] = "profile"
    unit: ClassVar[str] = "dB"
    maximise: ClassVar[bool] = False

    freqs_hz: tuple[float, ...]
    power_db: tuple[float, ...]

    def score(self, heard: Heard) -> float:
        """Root mean square over the bands of a track's long-term spectrum."""
        meter = SpectrumMeter(heard.sr, len(heard.audio))
        meter.update(heard.audio)
        meter.finish()
        if not meter.mean().any():
            raise NoScore("it is silent")
        profile = Spectrum(np.array(self.freqs_hz), np.array(self.power_db))
        top_hz = min(0.95 * heard.sr / 2, self.freqs_hz[-1])
        ours = _third_octaves(meter.freqs_hz, meter.mean(), top_hz)
        theirs = _third_octaves(meter.freqs_hz, db_to_power(profile.at(meter.freqs_hz)), top_hz)
        difference = ours - theirs
        return float(np.std(difference))


@dataclass(frozen=True)
class Pesq(_OfTracks):
    """PESQ (ITU-T P.862; wide band, P.862.2, unless the job has 8 kHz) against a clean reference."""

    name: ClassVar[str] = "pesq"
    unit: ClassVar[str] = "MOS-LQO"
    needs_reference: ClassVar[bool] = True

    def score(self, heard: Heard) -> float:
        """Of the channels' mean."""
        from pesq import PesqError, pesq

        clean, processed = _pair(heard)
        try:
            return float(pesq(heard.clean_sr, clean, processed, "nb" if heard.clean_sr == 8000 else "wb"))
        except (PesqError, ValueError) as error:
            raise NoScore(f"PESQ: {error!r}") from error


@dataclass(frozen=True)
class Stoi(_OfTracks):
    """Short-time objective intelligibility (Taal et al. 2011) against a clean reference."""

    name: ClassVar[str] = "stoi"
    needs_reference: ClassVar[bool] = True

    def score(self, heard: Heard) -> float:
        """Of the channels' mean."""
        from pystoi import stoi

        clean, processed = _pair(heard)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it warns, and gives 0.00001, where there is too little speech
            try:
                return float(stoi(clean, processed, heard.clean_sr))
            except RuntimeWarning as error:
                raise NoScore(f"STOI: {error}") from error


#: Objectives by name that have no parameters.
_PLAIN: dict[str, type] = {kind.name: kind for kind in (LevelSpread, Snr, Pesq, Stoi)}

_ALL = ("level-spread", "snr", "profile:FILE", "pesq", "stoi", "wer")


def make_objective(text: str, command: str | None, *, shell: bool) -> Objective:
    """The objective that the user named. Raises UsageError, also for a package that it lacks."""
    name, _, path = text.partition(":")
    if command is not None and name != "wer":
        raise UsageError(f"--command goes with --objective wer, not with {text}")
    if name == "profile" and path:
        spectrum = read_measured(path).spectrum
        return ProfileDistance(tuple(spectrum.freqs_hz.tolist()), tuple(spectrum.power_db.tolist()))
    if text == "wer":
        from corpusdiff.tuning.recognition import make_wer

        return make_wer(command, shell=shell)
    if text not in _PLAIN:
        raise UsageError(f"--objective {text}: expected one of {', '.join(_ALL)}")
    package = {"pesq": "pesq", "stoi": "pystoi"}.get(text)
    if package and find_spec(package) is None:
        raise UsageError(f"--objective {text} needs the package {package}: pip install {package}, also on the workers")
    objective: Objective = _PLAIN[text]()
    return objective


def _third_octaves(freqs_hz: NDArray[np.float64], power: NDArray[np.float64], top_hz: float) -> NDArray[np.float64]:
    """Level in dB of the bands that have a bin."""
    inside = (freqs_hz >= _LOWEST_HZ) & (freqs_hz <= top_hz)
    bands = np.round(3 * np.log2(freqs_hz[inside] / 1000))
    _, starts, counts = np.unique(bands, return_index=True, return_counts=True)
    return power_to_db(np.add.reduceat(power[inside], starts) / counts)


def _pair(heard: Heard) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The clean and the processed signal, mono, at one rate, cut to one length."""
    if heard.clean is None:
        raise NoScore("it has no reference")
    resampler = Resampler(heard.sr, heard.clean_sr, 1)
    mono = np.ascontiguousarray(heard.audio.mean(axis=0, keepdims=True))
    processed = np.concatenate([resampler.process(mono), resampler.flush()], axis=1)
    n = min(heard.clean.shape[1], processed.shape[1])
    if not heard.clean[:, :n].any() or not processed[:, :n].any():
        raise NoScore("it or its reference is silent")
    return heard.clean[0, :n], processed[0, :n]
