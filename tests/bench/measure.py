"""Run the sides in turn, and what came of it: costs, rates, and what it took to start."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import soundfile as sf
from bench.accounts import Cost, interleaved, medians
from bench.loads import Load, make_load
from bench.sides import SIDES, Side

#: Load average of a machine on which nobody else works, at most.
BUSY = 1.0


@dataclass(frozen=True)
class Result:
    """A side's medians.

    Parameters
    ----------
    side : whose
    audio_s : length of what it worked on
    cost : over all of it
    start : over its first file, or over one of 10 s
    start_audio_s : length of that
    """

    side: Side
    audio_s: float
    cost: Cost
    start: Cost
    start_audio_s: float

    @property
    def cpu_s(self) -> float:
        """CPU seconds without those of starting and of one file."""
        return self.cost.cpu_s - self.start.cpu_s

    @property
    def rate(self) -> float:
        """Seconds of audio per CPU second, starting apart."""
        return (self.audio_s - self.start_audio_s) / max(self.cpu_s, 1e-9)

    @property
    def whole_rate(self) -> float:
        """Seconds of audio per CPU second, all counted."""
        return self.audio_s / self.cost.cpu_s


@dataclass
class Results:
    """All that was measured in one session.

    Parameters
    ----------
    scale : of the loads, 1 for the full ones
    rounds : how often each side ran
    real : whether the loads are of real recordings
    sides : by key
    absent : sides that could not run, with the reason
    figures : everything else, by name
    load : the machine's load average of five minutes when the session began
    """

    scale: float
    rounds: int
    real: bool = False
    sides: dict[str, Result] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    load: float = field(default_factory=lambda: os.getloadavg()[1])

    @property
    def busy(self) -> bool:
        """Whether others were at work on the machine: times of wall then say nothing."""
        return self.load > BUSY

    def cpu_ratio(self, over: str, under: str) -> float | None:
        """CPU seconds for a second of audio of one side over those of another; None where one did not run.

        All is counted at full scale. In smaller loads starting up weighs more than it should: there it is apart.
        """
        if over not in self.sides or under not in self.sides:
            return None
        a, b = self.sides[over], self.sides[under]
        return b.whole_rate / a.whole_rate if self.scale >= 1 else b.rate / a.rate

    def marginal_ratio(self, over: str, under: str) -> float | None:
        """The same, with starting up apart at any scale."""
        if over not in self.sides or under not in self.sides:
            return None
        return self.sides[under].rate / self.sides[over].rate


def measure(work: Path, scale: float, rounds: int, *, short: bool = False) -> Results:
    """Make the loads in `work` where they are not there, run every side `rounds` times and one file as often.

    The short form has fewer sides, and of them ours and the floors are run more than once, where starting up, which
    is taken out, is much of the whole.
    """
    chosen = [side for side in SIDES if side.short or not short]
    loads = {name: make_load(name, work, scale) for name in "ABCD"}
    loads["A16"] = decoded(loads["A"], work / f"A16-{scale:g}")
    ones = {
        name: one_file(loads["A16" if name == "A16" else "B" if name == "B" else "A"], name, work) for name in loads
    }
    found = Results(scale, rounds, loads["A"].real)
    found.absent = {side.key: side.absence() for side in chosen if side.absence()}
    present = [side for side in chosen if side.key not in found.absent]
    runs = {}
    for side in present:
        runs[side.key] = partial(timed_side, side, loads[side.load].folder, work / "out")
        runs[f"{side.key}, start"] = partial(timed_side, side, ones[side.load].folder, work / "out")
    warm(present, ones, work / "out")
    peers = [side.key for side in present if short and not side.ours and side.name != "floor"]
    costs = interleaved(runs, rounds, once={*peers, *(f"{key}, start" for key in peers)})
    for side in present:
        cost, start = medians(costs[side.key]), medians(costs[f"{side.key}, start"])
        one = ones[side.load]
        found.sides[side.key] = Result(side, loads[side.load].audio_s, cost, start, one.audio_s)
    return found


def timed_side(side: Side, source: Path, out: Path) -> Cost:
    """One checked run, said on standard error."""
    started = time.monotonic()
    cost = side.run(source, out)
    print(f"{side.key} over {source.name}: {cost.cpu_s:.2f} s CPU, {cost.wall_s:.2f} s, "
          f"{cost.peak_bytes / 1e6:.0f} MB; checked in {time.monotonic() - started - cost.wall_s:.1f} s",
          file=sys.stderr, flush=True)  # fmt: skip
    return cost


def warm(sides: Sequence[Side], ones: dict[str, Load], out: Path) -> None:
    """Compile what is compiled on first use."""
    for side in sides:
        if side.ours:
            side.run(ones[side.load].folder, out)


def one_file(load: Load, name: str, work: Path) -> Load:
    """A folder with the first file of a load."""
    folder = work / f"one-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = min(load.folder.iterdir())
    shutil.copy(path, folder)
    return Load(folder, sf.info(path).duration, 1, load.real)


def decoded(load: Load, folder: Path) -> Load:
    """A load as 16 kHz mono WAV of 16 bit: what an encoder alone would be given."""
    import soxr

    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for path in load.folder.iterdir():
            x, sr = sf.read(path, always_2d=True)
            sf.write(part / f"{path.stem}.wav", soxr.resample(x.mean(axis=1), sr, 16000), 16000)
        part.rename(folder)
    return Load(folder, load.audio_s, load.n_files, load.real)


def as_json(found: Results) -> str:
    """For other tools: every figure of every side."""
    sides = {
        key: {"audio_s": r.audio_s, "cost": asdict(r.cost), "start": asdict(r.start)} for key, r in found.sides.items()
    }
    return json.dumps(
        {"scale": found.scale, "rounds": found.rounds, "sides": sides, "figures": found.figures}, indent=1
    )
