"""Models that hear frames at a rate of their own, as stages: the glue for learned noise reduction.

The track is resampled to the model's rate, cut into frames, handed over, joined, and resampled back, all with carried
state and as many samples out as in. A model is pure: it takes its state and returns the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import gcd
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp import rational
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.noisy import noisy_share


class FrameModel(Protocol):
    """What a model is to `Framewise`."""

    @property
    def sr(self) -> int:
        """Rate in Hz."""
        ...

    @property
    def frame_length(self) -> int:
        """Samples of a frame; frames follow one another without overlap."""
        ...

    @property
    def delay(self) -> int:
        """Samples by which what comes out is later than what went in, beside the wait for a full frame."""
        ...

    def initial(self) -> Any:
        """State before the first frame of a channel. Picklable, never changed in place."""
        ...

    def run(self, frames: NDArray[np.float32], state: Any) -> tuple[NDArray[np.float32], Any]:
        """(n_frames, frame_length) float32 of one channel, full scale 1.0; the same shape out, and the next state."""
        ...


class _State(NamedTuple):
    """What is carried from block to block.

    Parameters
    ----------
    held : (n_channels, latency) samples that wait for what the model makes of them
    up, down : states of the resampling to the model and back
    frame : (n_channels, fewer than frame_length) samples of the frame that fills
    ready : (n_channels, frame_length - 1 - of frame) the model's samples that wait for it to fill
    models : of each channel
    """

    held: Audio
    up: rational.RatioState
    down: rational.RatioState
    frame: Audio
    ready: Audio
    models: tuple[Any, ...]


@dataclass(frozen=True)
class Framewise:
    """A model at a track's rate.

    Parameters
    ----------
    model : the model
    sr : rate of the track in Hz
    """

    model: FrameModel
    sr: int

    @cached_property
    def _ratios(self) -> tuple[rational.Ratio, rational.Ratio]:
        """To the model and back; the way back is delayed so that the sum is a whole number of samples."""
        divisor = gcd(self.sr, self.model.sr)
        up, down = self.model.sr // divisor, self.sr // divisor
        there = rational.design(up, down)
        waits = (self.model.frame_length - 1 + self.model.delay) * down
        extra = -(there.delay + waits + rational.half_length(down, up)) % up
        return there, rational.design(down, up, extra)

    @property
    def latency(self) -> int:
        """Samples at the track's rate."""
        there, back = self._ratios
        waits = (self.model.frame_length - 1 + self.model.delay) * there.down
        return (there.delay + waits + back.delay) // there.up

    def initial(self, n_channels: int) -> State:
        """The state before the first sample."""
        there, back = self._ratios
        return _State(
            held=np.zeros((n_channels, self.latency), np.float32),
            up=rational.initial(there, n_channels),
            down=rational.initial(back, n_channels),
            frame=np.zeros((n_channels, 0), np.float32),
            ready=np.zeros((n_channels, self.model.frame_length - 1), np.float32),
            models=tuple(self.model.initial() for _ in range(n_channels)),
        )

    def step(self, x: Audio, state: _State, wet: float) -> tuple[Audio, State]:
        """Delay by the latency, and mix in `wet` of what the model makes of it: (n_channels, n) in and out."""
        there, back = self._ratios
        heard, up = rational.resample(x, there, state.up)
        made, frame, models = self._run(np.concatenate([state.frame, heard], axis=1), state.models)
        line = np.concatenate([state.ready, made], axis=1)
        n = heard.shape[1]
        y, down = rational.resample(line[:, :n], back, state.down, up.n_in)
        held = np.concatenate([state.held, x], axis=1)
        dry = held[:, : x.shape[1]]
        mixed = dry + np.float32(wet) * (y - dry)
        return mixed, _State(held[:, x.shape[1] :].copy(), up, down, frame, line[:, n:].copy(), models)

    def _run(self, line: Audio, before: tuple[Any, ...]) -> tuple[Audio, Audio, tuple[Any, ...]]:
        """What the model makes of the full frames in `line`, the rest of it, and the models' next states."""
        size = self.model.frame_length
        n_full = line.shape[1] // size * size
        if not n_full:
            return line[:, :0], line, before
        done = [self.model.run(x[:n_full].reshape(-1, size), s) for x, s in zip(line, before, strict=True)]
        made = np.stack([frames.reshape(-1) for frames, _ in done])
        return made, line[:, n_full:].copy(), tuple(after for _, after in done)


class Learned:
    """Base of stages around a model."""

    mix: float
    max_snr_db: float | None

    def model(self) -> FrameModel:
        """The model. Raises ParameterError where it cannot be had."""
        raise NotImplementedError

    def latency(self, sig: Signal) -> int:
        """The wait for a full frame, the model's own delay, and the filters' of the resampling."""
        return self._framewise(sig).latency

    def initial_state(self, sig: Signal) -> State:
        """See `Framewise`. Raises ParameterError where there is no model."""
        return self._framewise(sig).initial(sig.n_channels)

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Only a delay where nothing is wanted of the model."""
        wet = self.mix * noisy_share(self.max_snr_db, sig)
        if wet == 0.0:
            line = np.concatenate([state.held, x], axis=1)
            return line[:, : x.shape[1]], state._replace(held=line[:, x.shape[1] :].copy())
        return self._framewise(sig).step(x, state, wet)

    def flush(self, state: State, sig: Signal) -> Audio:
        """What silence after the end pushes out."""
        return self.step(np.zeros((sig.n_channels, self.latency(sig)), np.float32), state, sig)[0]

    def _framewise(self, sig: Signal) -> Framewise:
        return Framewise(self.model(), sig.sr)
