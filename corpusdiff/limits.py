"""How long a question to the child may take: CPU for the audio that it has decoded, and silence."""

from __future__ import annotations

import time

import psutil

from corpusdiff.errors import TrackError
from corpusdiff.shards import RunOptions


class Stalled(Exception):
    """The child neither reported nor computed for too long, and was killed."""


class Watch:
    """Limits of one question to the child.

    Parameters
    ----------
    process : the child
    options : what it may take
    """

    def __init__(self, process: psutil.Process, options: RunOptions) -> None:
        self._options = options
        self._process = process
        self._decoded_s = 0.0
        self._asked = self._last_sign = time.monotonic()
        self._cpu_at_start: float | None = None  # most questions are answered before anybody looks
        self._last_cpu = 0.0

    def heard(self, decoded_s: float) -> None:
        """The child has reported."""
        self._decoded_s = decoded_s
        self._last_sign = time.monotonic()

    def look(self) -> None:
        """Raise TrackError over the CPU limit, Stalled after too long without a sign of life."""
        try:
            cpu = self._cpu_s()
        except psutil.NoSuchProcess:
            return  # the closed pipe will say so
        if self._cpu_at_start is None:
            self._last_cpu = self._cpu_at_start = max(0.0, cpu - (time.monotonic() - self._asked))
        options = self._options
        allowed = options.cpu_base_s + options.cpu_per_s * self._decoded_s
        if cpu - self._cpu_at_start > allowed:
            raise TrackError(
                "cpu",
                f"took more than {allowed:.0f} CPU seconds for {self._decoded_s:.1f} s of audio decoded so far",
            )
        if cpu - self._last_cpu > 0.01 * options.stall_s:
            self._last_cpu = cpu
            self._last_sign = time.monotonic()
        elif time.monotonic() - self._last_sign > options.stall_s:
            raise Stalled(f"no progress for {options.stall_s:.0f} s")

    def _cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)
