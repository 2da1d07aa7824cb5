"""Raw samples in and out in real time: a job's causal form between two pipes."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.control import Adjustable, ControlFile, Setting
from corpusdiff.dsp.dither import quantize
from corpusdiff.errors import ParameterError, TrackError, UsageError
from corpusdiff.jobfile import load_job
from corpusdiff.live import Live, causal_chain
from corpusdiff.stages.base import Audio, Measured

#: Samples by name: type and full scale.
FORMATS: dict[str, tuple[np.dtype[Any], float]] = {"s16le": (np.dtype("<i2"), 32768.0), "f32le": (np.dtype("<f4"), 1.0)}

#: Bytes that are read at once, at most: what a pipe holds.
_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class StreamRequest:
    """What to stream.

    Parameters
    ----------
    sr : rate in Hz
    channels : of what comes in, interleaved
    job, sets : job and changes of it
    form : one of `FORMATS`, of what comes in and of what goes out
    measured : what is known of the signal beforehand
    control : pipe or file with changes while it runs
    block : samples that are processed at once, at most
    max_latency_ms : refuse a chain that is later than this
    live : forget what came in while the stream made ready, which a microphone would be late by for ever after
    """

    sr: int
    channels: int
    job: str = "asr"
    sets: Sequence[str] = ()
    form: str = "s16le"
    measured: Measured | None = None
    control: str | None = None
    block: int | None = None
    max_latency_ms: float | None = None
    live: bool = False

    def chain(self) -> Live:
        """The causal chain. Raises UsageError, as for one that is too late."""
        live = causal_chain(load_job(self.job, self.sets), self.sr, self.channels, self.measured)
        latency_ms = 1000 * live.latency / self.sr
        if self.max_latency_ms is not None and latency_ms > self.max_latency_ms:
            parts = ", ".join(f"{name} {1000 * n / self.sr:.1f} ms" for name, n in live.latencies() if n)
            raise UsageError(
                f"job {self.job} is {latency_ms:.1f} ms late at {self.sr} Hz, over --max-latency "
                f"{self.max_latency_ms:g}: {parts}. Leave a stage out, or shorten its n_fft and hop_length with --set"
            )
        return live


def latency_of(request: StreamRequest) -> dict[str, Any]:
    """The delay that a request's chain has by its nature, in all and by stages, in samples and ms."""
    live = request.chain()

    def told(samples: int) -> dict[str, Any]:
        return {"samples": samples, "ms": round(1000 * samples / request.sr, 3)}

    stages = [{"stage": name, **told(samples)} for name, samples in live.latencies()]
    return {"sr": request.sr, "channels": live.signal.n_channels, **told(live.latency), "stages": stages}


def stream(request: StreamRequest, source: int = 0, sink: int = 1) -> None:
    """Process raw samples from one descriptor to another until the first ends.

    What is there is processed at once, never waited for. Sample i of the output belongs to sample i of the input (after
    what is forgotten, when `live`), and there are as many: the first ones come `Live.latency` samples late, and those
    that are still inside at the end follow it. A reader that goes away ends it quietly.

    Raises
    ------
    UsageError : before anything is read
    TrackError : ``decode``: a value that is no number; an end within a sample, after all whole ones are processed
    """
    live = request.chain()
    for name, descriptor in {"input": source, "output": sink}.items():
        if os.isatty(descriptor):
            raise UsageError(
                f"standard {name} is a terminal: raw samples go through pipes or files, < in.raw > out.raw"
            )
    for note in live.notes:
        _say(note)
    opened = closing(ControlFile(request.control, _ignore)) if request.control is not None else nullcontext(None)
    with opened as control:
        live.warm_up()
        player = Adjustable(live.stages, live.signal)
        samples = _Samples(request)
        if request.live:
            samples.skip(source)
        pending: list[Setting] = []
        try:
            for x in samples.read(source):
                pending.extend(control.settings() if control is not None else ())
                if pending and not player.is_fading:
                    _change(player, pending)
                samples.write(sink, player.step(live.rows(x)))
            samples.write(sink, player.finish())
        except BrokenPipeError:
            return
    samples.check_end()


def _change(player: Adjustable, pending: list[Setting]) -> None:
    for setting in pending:
        try:
            player.change(setting)
        except ParameterError as error:
            _ignore(f"{setting.stage}.{error}")
    pending.clear()


def _ignore(problem: str) -> None:
    _say(f"control: {problem} (ignored)")


def _say(text: str) -> None:
    print(f"corpusdiff: {text}", file=sys.stderr, flush=True)


class _Samples:
    """Between bytes and samples."""

    def __init__(self, request: StreamRequest) -> None:
        self._dtype, self._scale = FORMATS[request.form]
        self._n_channels = request.channels
        self._frame = self._dtype.itemsize * request.channels
        self._most = self._frame * (request.block or max(1, _MOST_BYTES // self._frame))
        self._rest = b""
        self._n_read = self._n_written = 0

    def skip(self, source: int) -> None:
        """Forget the whole samples that are there."""
        while select.select([source], [], [], 0)[0] and (data := os.read(source, self._most)):
            self._rest += data
            self._rest = self._rest[len(self._rest) - len(self._rest) % self._frame :]

    def read(self, source: int) -> Iterator[Audio]:
        """Blocks (n_channels, n) float32 of what is there, until the end."""
        while data := os.read(source, self._most - len(self._rest)):
            data = self._rest + data
            whole = len(data) - len(data) % self._frame
            self._rest = data[whole:]
            if whole:
                yield self._decoded(data[:whole])

    def write(self, sink: int, y: Audio) -> None:
        """All samples of a block, at once."""
        data = memoryview(self._encoded(y).T.tobytes())
        while data:
            data = data[os.write(sink, data) :]

    def check_end(self) -> None:
        """Raise TrackError for bytes that are no whole sample."""
        if self._rest:
            raise TrackError(
                "decode",
                f"the input ends within a sample, {len(self._rest)} of {self._frame} bytes after {self._n_read} whole "
                "ones: check --channels and --format",
            )

    def _decoded(self, data: bytes) -> Audio:
        values = np.frombuffer(data, self._dtype).reshape(-1, self._n_channels).T
        x = np.ascontiguousarray(values, np.float32)
        if self._scale != 1.0:
            x *= np.float32(1.0 / self._scale)
        elif not np.isfinite(x).all():
            channel, sample = np.argwhere(~np.isfinite(x))[0]
            what = f"sample {self._n_read + sample} of channel {channel} is {x[channel, sample]}, no number"
            raise TrackError("decode", f"{what}; check --format")
        self._n_read += x.shape[1]
        return x

    def _encoded(self, y: Audio) -> NDArray[Any]:
        start = self._n_written
        self._n_written += y.shape[1]
        return quantize(y, 16, True, 0, start) if self._scale != 1.0 else y
