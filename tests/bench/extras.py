"""Figures that are no side's: the speed-up by workers, the first shard, planning ten million rows."""

from __future__ import annotations

import json
import shutil
import sys
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

from bench.accounts import cost_of, interleaved, medians
from bench.loads import make_load
from bench.measure import one_file, timed_side
from bench.sides import SIDES
from scale.simulated import make_source

COMMAND = Path(sys.executable).with_name("corpusdiff")

#: Of the manifest that has to be planned in a minute.
ROWS = 10_000_000


def extras(work: Path, scale: float, rounds: int) -> dict[str, float]:
    """All of them."""
    found = speed_up(work, scale, rounds)
    found["first shard, s"] = median(first_shard(work) for _ in range(rounds))
    return found | planned(work)


def speed_up(work: Path, scale: float, rounds: int, workers: int = 4) -> dict[str, float]:
    """How many times as fast `workers` are as one, for the floor and for ours: of wall time, starting apart."""
    load = make_load("A", work, 4 * scale)
    one = one_file(load, "speed-up", work)
    named = {side.key: side for side in SIDES}
    floor, ours = named["A: floor"], named["A: corpusdiff, denoised, local"]
    small = ours.with_options("--shard-s", f"{load.audio_s / (8 * workers):.0f}")  # or the last worker works alone
    runs = {
        (side.name, n, source.folder.name): partial(timed_side, side.with_workers(n), source.folder, work / "out")
        for side in (floor, small)
        for n in (1, workers)
        for source in (load, one)
    }
    walls = {key: medians(costs).wall_s for key, costs in interleaved(runs, rounds).items()}

    def seconds(name: str, n: int) -> float:
        return walls[name, n, load.folder.name] - walls[name, n, one.folder.name]

    return {
        f"speed-up of {workers}: {label}": seconds(side.name, 1) / seconds(side.name, workers)
        for label, side in (("floor", floor), ("corpusdiff", small))
    }


def first_shard(work: Path) -> float:
    """Seconds from the start of `run` on the local cluster to its first committed shard, of 10 s of audio."""
    load, out = make_load("A", work, 0.1), work / "out"
    shutil.rmtree(out, ignore_errors=True)
    started = time.time()
    cost_of(COMMAND, "run", load.folder, out, "--job", "asr", "--shard-s", "10")
    (log,) = (out / "events").glob("*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    times = [datetime.fromisoformat(event["time"]).timestamp() for event in events if event["event"] == "shard"]
    shutil.rmtree(out)
    return min(times) - started


def planned(work: Path) -> dict[str, float]:
    """`corpusdiff plan` over a Parquet manifest with durations."""
    folder = work / "manifest"
    shutil.rmtree(folder, ignore_errors=True)
    cost = cost_of(COMMAND, "plan", make_source(folder, ROWS), "--json")
    shutil.rmtree(folder)
    return {"planned, s": cost.wall_s, "planned, CPU s": cost.cpu_s, "planned, MB": cost.peak_bytes / 1e6}
