"""The carried-state contract that every stage keeps.

A stage is a frozen dataclass of parameters. Its state is a value: ``step`` takes one and returns the
next, and never changes the one it was given. ``step`` returns as many samples as it got, delayed by
``latency``; ``flush`` returns exactly ``latency`` more. So a track of n samples cut into any blocks
gives n + latency samples, of which the first ``latency`` are dropped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

#: float32, (n_channels, n_samples), full scale 1.0.
Audio: TypeAlias = NDArray[np.float32]

#: Whatever a stage carries from one block to the next. Picklable, treated as immutable.
State: TypeAlias = Any


@dataclass(frozen=True)
class Spectrum:
    """A long-term power spectrum.

    Parameters
    ----------
    freqs_hz : (n_bins,) float64, rising from 0
    power_db : (n_bins,) float64, mean power per bin in dB (the common offset has no meaning)
    """

    freqs_hz: NDArray[np.float64]
    power_db: NDArray[np.float64]

    def at(self, freqs_hz: NDArray[np.float64]) -> NDArray[np.float64]:
        """Power in dB at other frequencies, linear in between, held at the ends."""
        return np.interp(freqs_hz, self.freqs_hz, self.power_db)


@dataclass(frozen=True)
class Measured:
    """What the first pass found of the track, at the chain's input and rate.

    Parameters
    ----------
    loudness_lufs : integrated loudness (BS.1770)
    level_dbfs : median of the levels that are not under the floor gate
    peak_level_dbfs : 95th percentile of the same levels
    spectrum : long-term power spectrum
    snr_db : estimated signal-to-noise ratio
    noise_dbfs : estimated level of the noise

    Whatever cannot be said of a signal is NaN.
    """

    loudness_lufs: float
    level_dbfs: float
    peak_level_dbfs: float
    spectrum: Spectrum
    snr_db: float = math.nan
    noise_dbfs: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; what cannot be said is None."""
        numbers = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "spectrum"}
        spectrum = {"freqs_hz": self.spectrum.freqs_hz.tolist(), "power_db": self.spectrum.power_db.tolist()}
        return spectrum | {name: value if math.isfinite(value) else None for name, value in numbers.items()}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Measured:
        """Inverse of `to_dict`; keys that are absent are not known. Raises KeyError, TypeError and ValueError."""
        spectrum = Spectrum(np.array(document["freqs_hz"], np.float64), np.array(document["power_db"], np.float64))
        names = [item.name for item in fields(cls) if item.name != "spectrum"]
        numbers = {name: document.get(name) for name in names}
        return cls(spectrum=spectrum, **{name: math.nan if v is None else float(v) for name, v in numbers.items()})


@dataclass(frozen=True)
class Signal:
    """What a stage may know of the signal before it hears it.

    Parameters
    ----------
    sr : sampling rate in Hz
    n_channels : number of channels
    measured : the first pass's findings, or None when the run is causal
    n_references : far-end signals that come along as further rows of every block, after the channels
    """

    sr: int
    n_channels: int
    measured: Measured | None = None
    n_references: int = 0


@runtime_checkable
class Stage(Protocol):
    """One step of a chain. Implementations are frozen dataclasses of JSON-able parameters.

    Two class attributes say what a stage asks for. ``takes_references = True``: its blocks have the rows of the far-end
    signals too, (n_channels + n_references, n) in and (n_channels, n) out; others never see them.
    ``needs_measured = True``: it cannot do without the first pass, and hence not in real time.

    A stage that counts time, in hops for instance, may say so by a method ``period(sig)``: the number of samples after
    which its count is where it was. A long recording's pieces then begin where the count does.
    """

    name: ClassVar[str]

    def latency(self, sig: Signal) -> int:
        """Delay in samples."""
        ...

    def initial_state(self, sig: Signal) -> State:
        """State before the first sample. Raises ParameterError where the parameters do not fit `sig`."""
        ...

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Process one block: (n_channels, n) in, (n_channels, n) out, and the next state."""
        ...

    def flush(self, state: State, sig: Signal) -> Audio:
        """The last ``latency`` samples, (n_channels, latency)."""
        ...


def takes_references(stage: Stage) -> bool:
    """Whether the stage gets the rows of the far-end signals."""
    return bool(getattr(stage, "takes_references", False))


def period(stage: Stage, sig: Signal) -> int:
    """Samples after which what the stage counts of the time is where it was; 1 for one that counts nothing."""
    own = getattr(stage, "period", None)
    return 1 if own is None else int(own(sig))


def needs_measured(stage: Stage) -> bool:
    """Whether the stage cannot do without the first pass."""
    return bool(getattr(stage, "needs_measured", False))


def run_blocks(stage: Stage, blocks: Iterable[Audio], sig: Signal) -> Iterator[Audio]:
    """Run `stage` over consecutive blocks with its latency taken out: as many samples out as in."""
    state = stage.initial_state(sig)
    drop = stage.latency(sig)
    for x in blocks:
        y, state = stage.step(x, state, sig)
        if drop:
            dropped = min(drop, y.shape[1])
            drop -= dropped
            y = y[:, dropped:]
        if y.shape[1]:
            yield y
    tail = stage.flush(state, sig)[:, drop:]
    if tail.shape[1]:
        yield tail


def run_whole(stage: Stage, x: Audio, sig: Signal) -> Audio:
    """Run `stage` over a whole signal: (n_channels, n) in and out, latency taken out."""
    parts = list(run_blocks(stage, [x], sig))
    return np.concatenate(parts, axis=1) if parts else np.zeros((sig.n_channels, 0), np.float32)
