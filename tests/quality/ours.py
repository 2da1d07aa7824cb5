"""Our side of the tables: chains of stages and ready jobs, as functions of audio like the peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from corpusdiff.metrics import Measurement, Meter
from corpusdiff.stages.base import Signal, run_whole
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.registry import create
from quality.voices import SR, Mono

Treatment = Callable[[Mono], Mono]


def measured(x: Mono) -> Measurement:
    """The first pass over `x`."""
    meter = Meter(SR, 1)
    meter.update(_audio(x))
    return meter.finish()


def chained(*stages: Mapping[str, Any]) -> Treatment:
    """A chain given as in a job, with what the first pass finds, and neither rules nor guard nor loudness."""
    chain = Chain(tuple(create(item["stage"], {k: v for k, v in item.items() if k != "stage"}) for item in stages))

    def run(x: Mono) -> Mono:
        return run_whole(chain, _audio(x), Signal(SR, 1, measured(x).measured))[0].astype(np.float64)

    return run


def job(name: str) -> Treatment:
    """A ready job as a user runs it, rules, guard and loudness included."""

    def run(x: Mono) -> Mono:
        import corpusdiff

        return corpusdiff.apply(_audio(x), SR, name)[0].astype(np.float64)

    return run


def _audio(x: Mono) -> Any:
    return np.ascontiguousarray(x[None], np.float32)
