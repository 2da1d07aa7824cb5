"""Echo cancellation: what is left of the echo, and of the near end while both talk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from corpusdiff.stages.base import Signal, run_whole
from corpusdiff.stages.chain import Chain
from corpusdiff.stages.registry import create
from quality.echo_scenes import LOUDSPEAKERS, scene
from quality.judges import Interval, bootstrap, erle_db, pesq_wb, si_sdr_db
from quality.peers_echo import CANCELLERS
from quality.tables import Table, shared_out
from quality.voices import SR, Mono

MEASURES = ("erle_db", "si_sdr_db", "pesq")

N_FULL, N_SHORT = 24, 2

OURS = "corpusdiff echo"


@dataclass(frozen=True)
class Cancelled:
    """ERLE, and SI-SDR and PESQ in double talk: (n_scenes, 3) by treatment and path."""

    scores: dict[str, dict[str, NDArray[np.float64]]]

    def interval(self, name: str, path: str, measure: str) -> Interval:
        """Mean over scenes and its interval."""
        return bootstrap(self.scores[name][path][:, MEASURES.index(measure)])

    def mean(self, name: str, path: str, measure: str) -> float:
        """Mean over scenes."""
        return self.interval(name, path, measure).mean

    def table(self) -> Table:
        """One row for each treatment and path."""
        rows = [
            (path, name, *(str(self.interval(name, path, measure)) for measure in MEASURES))
            for path in LOUDSPEAKERS
            for name in self.scores
        ]
        n = len(self.scores[OURS][LOUDSPEAKERS[0]])
        said = (
            f"{n} scenes for each loudspeaker, in made rooms and a measured one: the far end alone, then double "
            "talk at equal level. `clipping`: the loudspeaker clips its peaks."
        )
        columns = ("loudspeaker", "", "ERLE in dB", "double-talk SI-SDR in dB", "double-talk PESQ")
        return Table("Echo", said, columns, tuple(rows))


def cancel(near: Mono, far: Mono) -> Mono:
    """Ours: the high-pass, then the canceller, the far end beside the microphone."""
    chain = Chain((create("highpass", {"cutoff_hz": 80.0, "phase": "linear"}), create("echo", {})))
    x = np.ascontiguousarray(np.stack([near, far]), np.float32)
    return run_whole(chain, x, Signal(SR, 1, n_references=1))[0].astype(np.float64)


def treatments() -> dict[str, Callable[[Mono, Mono], Mono]]:
    """Ours and the peers that can run here."""
    return {OURS: cancel, **{peer.name: peer for peer in CANCELLERS if not peer.absence()}}


def _judge(item: tuple[str, int], split: str) -> dict[str, tuple[float, float, float]]:
    call = scene(split, *item)
    near, scores = call.near[call.double], {}
    for name, treat in treatments().items():
        y = treat(call.mic, call.far)
        left = y[call.double]
        scores[name] = erle_db(call.echo[call.single], y[call.single]), si_sdr_db(left, near), pesq_wb(left, near)
    return scores


def measure(n: int = N_FULL, split: str = "test") -> Cancelled:
    """Over `n` scenes for each path."""
    items = [(path, index) for path in LOUDSPEAKERS for index in range(n)]
    found = shared_out(partial(_judge, split=split), items)
    by_path = {path: found[k * n : (k + 1) * n] for k, path in enumerate(LOUDSPEAKERS)}
    names = found[0].keys()
    return Cancelled({name: {p: np.array([s[name] for s in here]) for p, here in by_path.items()} for name in names})
