"""Faster or slower at the same pitch, through FFmpeg's overlap-and-add (``atempo``)."""

from __future__ import annotations

import math
from itertools import pairwise

import av
import numpy as np
from av.filter import Graph

from corpusdiff.errors import TrackError
from corpusdiff.stages.base import Audio

#: Samples per channel that the filter gets at a time: it must not know how the audio was cut.
_FRAME = 4096

#: A single filter goes no further either way without leaving samples out.
_MOST = 2.0

#: By how much the filter is early, in windows: at tempo t, `_EARLY` t + `_LATE` of its input.
_EARLY, _LATE = 0.17, 0.28

#: The window is the power of two at or above this part of a second.
_WINDOW_PARTS = 24


class Tempo:
    """Time scale of a signal in blocks; the samples do not depend on the blocks.

    An output of n samples in is ``round(n / tempo)`` long, and what happened at t happens at t / tempo, to about 10 ms:
    the filter's own delay is taken out, and what it leaves out at the end is played out of it by silence.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : channels of every block
    tempo : so many times as fast; 1 passes blocks through untouched
    """

    def __init__(self, sr: int, n_channels: int, tempo: float) -> None:
        self._sr = sr
        self._n_channels = n_channels
        self._tempo = tempo
        self._n_in = 0
        self._n_out = 0
        self._rest = np.zeros((n_channels, 0), np.float32)
        if tempo == 1.0:
            return
        window = 2 ** math.ceil(math.log2(sr / _WINDOW_PARTS))
        n_filters = max(1, math.ceil(abs(math.log(tempo)) / math.log(_MOST)))
        each = tempo ** (1.0 / n_filters)
        self._graph = _graph(sr, n_channels, each, n_filters)
        self._padding = round(window * sum((_EARLY * each + _LATE) * each**i for i in range(n_filters)))
        self._pts = 0
        self._feed(np.zeros((n_channels, self._padding), np.float32), last=False)

    def process(self, x: Audio) -> Audio:
        """(n_channels, n) float32 in; (n_channels, any number) out. Raises TrackError where FFmpeg fails."""
        if self._tempo == 1.0:
            return x
        self._n_in += x.shape[1]
        return self._cut(self._feed(x, last=False))

    def flush(self) -> Audio:
        """The rest of the output. Nothing may be processed afterwards."""
        if self._tempo == 1.0:
            return self._rest
        missing = round(self._n_in / self._tempo) - self._n_out
        silence = np.zeros(
            (self._n_channels, math.ceil(missing * self._tempo) + 16 * self._padding + _FRAME), np.float32
        )
        return self._cut(self._feed(silence, last=True))

    def _cut(self, y: Audio) -> Audio:
        """What of `y` belongs to the output that the input so far is worth."""
        y = y[:, : max(0, round(self._n_in / self._tempo) - self._n_out)]
        self._n_out += y.shape[1]
        return y

    def _feed(self, x: Audio, *, last: bool) -> Audio:
        """Push whole frames, at the end what is left too; what comes out."""
        line = np.concatenate([self._rest, x], axis=1)
        whole = line.shape[1] if last else line.shape[1] - line.shape[1] % _FRAME
        parts = [np.zeros((self._n_channels, 0), np.float32)]
        try:
            for start in range(0, whole, _FRAME):
                self._push(line[:, start : min(start + _FRAME, whole)])
                parts += self._pulled()
            if last:
                self._graph.push(None)
                parts += self._pulled()
        except av.error.FFmpegError as error:
            raise TrackError("unsupported", f"source.tempo = {self._tempo:g}: {error}") from error
        self._rest = line[:, whole:]
        return np.concatenate(parts, axis=1)

    def _push(self, x: Audio) -> None:
        frame = av.AudioFrame.from_ndarray(x.T.reshape(1, -1), format="flt", layout=_layout(self._n_channels))
        frame.sample_rate = self._sr
        frame.pts = self._pts
        self._pts += x.shape[1]
        self._graph.push(frame)

    def _pulled(self) -> list[Audio]:
        parts: list[Audio] = []
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return parts
            assert isinstance(frame, av.AudioFrame)
            parts.append(np.array(frame.to_ndarray(), np.float32).reshape(-1, self._n_channels).T)


def _graph(sr: int, n_channels: int, tempo: float, n_filters: int) -> Graph:
    graph = Graph()
    nodes = [graph.add_abuffer(sample_rate=sr, format="flt", layout=_layout(n_channels))]
    nodes += [graph.add("atempo", f"{tempo:.12g}") for _ in range(n_filters)]
    nodes.append(graph.add("abuffersink"))
    for here, there in pairwise(nodes):
        here.link_to(there)
    graph.configure()
    return graph


def _layout(n_channels: int) -> str:
    return {1: "mono", 2: "stereo"}.get(n_channels, f"{n_channels}c")
