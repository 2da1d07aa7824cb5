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

import soundfile as sf
import soxr
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
    found |= in_pieces(work, scale, rounds)
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


def in_pieces(work: Path, scale: float, rounds: int) -> dict[str, float]:
    """A 10-hour recording: its time on 4 workers over that on one, and the CPU of its pieces over that of the whole."""
    folder = work / f"long-{scale:g}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        x, sr = sf.read(make_load("C", work, 0.1).folder / "recording.flac", dtype="float32")
        mono = soxr.resample(x.mean(axis=1), sr, 16000)
        with sf.SoundFile(part / "recording.wav", "w", 16000, 1, "PCM_16") as file:
            for _ in range(max(1, round(scale * 36000 * 16000 / len(mono)))):
                file.write(mono)
        part.rename(folder)
    small = work / "one-long"
    shutil.rmtree(small, ignore_errors=True)
    small.mkdir()
    sf.write(small / "recording.wav", sf.read(folder / "recording.wav", frames=160000)[0], 16000)
    side = {side.key: side for side in SIDES}["A: corpusdiff, denoised, local"]
    length_s = sf.info(folder / "recording.wav").duration
    cut, whole = side.with_options("--cut-s", f"{min(10800.0, length_s / 4):.0f}"), side.with_options("--cut-s", "0")
    runs = {
        (name, n, source.name): partial(timed_side, each.with_workers(n), source, work / "out")
        for name, each, n in (("cut", cut, 1), ("cut", cut, 4), ("whole", whole, 1))
        for source in (folder, small)
    }
    costs = {key: medians(found) for key, found in interleaved(runs, rounds).items()}

    def beyond_start(name: str, n: int, what: str) -> float:
        return float(getattr(costs[name, n, folder.name], what) - getattr(costs[name, n, small.name], what))

    return {
        "10 hours on 4 workers over one": beyond_start("cut", 4, "wall_s") / beyond_start("cut", 1, "wall_s"),
        "10 hours on 4 workers over one, whole": beyond_start("cut", 4, "wall_s") / beyond_start("whole", 1, "wall_s"),
        "10 hours in pieces over whole, CPU": beyond_start("cut", 1, "cpu_s") / beyond_start("whole", 1, "cpu_s"),
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
