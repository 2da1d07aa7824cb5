"""The article's listing done right: samples of a frame move away from or toward the frame's mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from corpusdiff.dsp.law import deviation_factor
from corpusdiff.stages.base import Audio, Signal, State
from corpusdiff.stages.checks import in_range, whole


class _State(NamedTuple):
    """Samples of the frame that fills, and finished ones that wait to leave."""

    filling: Audio
    ready: Audio


@dataclass(frozen=True)
class FrameGain:
    """`steps` times x + k (x - mean of the frame): a gain of rho**steps about each frame's mean.

    A demonstration. The mean jumps from frame to frame, and so does the output: that is its nature. With the
    article's numbers (k 0.1, 10 steps) it amplifies by 1.1**10, which is 8.3 dB, and will clip loud material.

    Parameters
    ----------
    k, steps : the law's; k per step, at least -1
    frame_length : samples of a frame; the last one of a track may be shorter
    mix : 0 dry to 1 wet
    """

    name: ClassVar[str] = "frame-gain"

    k: float = 0.1
    steps: int = 10
    frame_length: int = 1024
    mix: float = 1.0

    def __post_init__(self) -> None:
        deviation_factor(self.k, self.steps)
        whole("frame_length", self.frame_length, 1)
        in_range("mix", self.mix, 0, 1)

    def latency(self, sig: Signal) -> int:
        """One frame: its mean is known when it is full."""
        return self.frame_length

    def initial_state(self, sig: Signal) -> State:
        """An empty frame, and a frame of silence to leave first."""
        nothing = np.zeros((sig.n_channels, 0), np.float32)
        return _State(nothing, np.zeros((sig.n_channels, self.frame_length), np.float32))

    def step(self, x: Audio, state: State, sig: Signal) -> tuple[Audio, State]:
        """Finish the frames that are full."""
        line = np.concatenate([state.filling, x], axis=1)
        whole = line.shape[1] - line.shape[1] % self.frame_length
        frames = line[:, :whole].reshape(sig.n_channels, -1, self.frame_length)
        done = self._moved(frames).reshape(sig.n_channels, -1)
        ready = np.concatenate([state.ready, done], axis=1)
        n = x.shape[1]
        return ready[:, :n], _State(line[:, whole:].copy(), ready[:, n:].copy())

    def flush(self, state: State, sig: Signal) -> Audio:
        """What waits, and the last frame as it is."""
        if state.filling.shape[1] == 0:
            ready: Audio = state.ready
            return ready
        return np.concatenate([state.ready, self._moved(state.filling[:, None])[:, 0]], axis=1)

    def _moved(self, frames: Audio) -> Audio:
        """`frames` is (n_channels, n_frames, n) float32."""
        precise = frames.astype(
            np.float64
        )  # first: a mean that converts on the way sums by NumPy's buffer, not by frame
        deviation = precise - precise.mean(axis=2, keepdims=True)
        return frames + ((deviation_factor(self.k, self.steps) - 1.0) * self.mix * deviation).astype(np.float32)
