"""Memory and speed of the driver and the scheduler with a corpus of millions of tracks, whose tasks do nothing."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from distributed import Client
from scale.simulated import make_source
from scale.simulated_run import peak_bytes

from corpusdiff.cluster.settings import SETTINGS
from corpusdiff.store.generations import plan_key, read_plan
from corpusdiff.store.local import LocalObjects
from corpusdiff.store.record import record_key
from corpusdiff.store.schema import TABLES_KEY, parse_schema

GIB = 2**30

#: Worker processes, and workers of one thread in each: enough to keep a driver busy.
FEW = (2, 16)

#: A thousand workers.
MANY = (4, 250)

#: Shards that an interrupted run left to do.
LEFT = 20


@dataclass(frozen=True)
class Bounds:
    """What must hold for a corpus of so many tracks; time in seconds, memory in bytes."""

    n_tracks: int
    workers: tuple[int, int]
    planned_s: float
    shards_per_s: float
    resumed_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Drive:
    """What one run of the driver took; times in seconds."""

    planned_s: float  # from its start to the first submission
    first_shard_s: float
    n_shards: int
    shards_per_s: float
    finalised_s: float
    peak_bytes: int


class Cluster:
    """A scheduler and processes of workers, all apart from the driver."""

    def __init__(self, folder: Path, n_processes: int, n_workers: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        settings = {f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": str(v) for name, v in SETTINGS.items()}
        self.env = os.environ | settings | {"PYTHONPATH": os.pathsep.join(sys.path)}
        dask = (sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port))
        workers = (sys.executable, "-m", "scale.simulated_workers", self.address, str(n_workers))
        log = (folder / "cluster.log").open("ab")
        self._processes = [
            subprocess.Popen(command, env=self.env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            for command in ((*dask, "--no-dashboard"), *[workers] * n_processes)
        ]
        log.close()
        self._n_workers = n_processes * n_workers

    def wait(self) -> None:
        """Until all workers are there, so that their start takes no time of the driver's."""
        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(self._n_workers, timeout=300)

    def peaks(self) -> dict[str, int]:
        """Peak memory of the processes so far."""
        scheduler, *workers = [peak_bytes(process.pid) for process in self._processes]
        return {"scheduler": scheduler, "workers": max(workers)}

    def close(self) -> None:
        """Kill them all."""
        for process in self._processes:
            process.kill()
            process.wait()

    def drive(self, source: Path, out: Path) -> Drive:
        """Run the driver to its end."""
        command = (sys.executable, "-m", "scale.simulated_run", str(source), str(out), self.address)
        before = {*(out / "events").glob("*.jsonl")}
        started = time.time()
        done = subprocess.run(
            command, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        ended = time.time()
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["code"] == 0, done.stderr
        (log,) = {*(out / "events").glob("*.jsonl")} - before
        times: dict[str, list[float]] = {"start": [], "shard": []}
        with log.open() as lines:
            for line in lines:
                event = json.loads(line)
                if event["event"] in times:
                    times[event["event"]].append(datetime.fromisoformat(event["time"]).timestamp())
        (start,), shards = times["start"], times["shard"]
        n = len(shards)
        return Drive(
            planned_s=start - started,
            first_shard_s=shards[0] - started,
            n_shards=n,
            shards_per_s=(n - 1) / max(shards[-1] - shards[0], 1e-9),
            finalised_s=ended - shards[-1],
            peak_bytes=said["peak_bytes"],
        )


@contextmanager
def cluster(folder: Path, workers: tuple[int, int]) -> Iterator[Cluster]:
    """A cluster for the block's duration."""
    made = Cluster(folder, *workers)
    try:
        made.wait()
        yield made
    finally:
        made.close()


def undo(out: Path, n_shards: int) -> None:
    """Leave the corpus as a run that was killed some shards before its end."""
    plan = read_plan(LocalObjects(out), 0)
    for shard in range(0, plan.n_shards, plan.n_shards // n_shards):
        (out / record_key(plan.digest, shard)).unlink()
    shutil.rmtree((out / TABLES_KEY).parent)


def check(folder: Path, bounds: Bounds) -> None:
    """Plan, run, finalise and resume a corpus, print what it took, and hold it against the bounds."""
    began = time.time()
    source = make_source(folder / "source", bounds.n_tracks)
    print(f"\n{bounds.n_tracks} tracks: manifest made in {time.time() - began:.1f} s")
    out = folder / "out"
    with cluster(folder, bounds.workers) as made:
        whole = made.drive(source, out)
        peaks = {**made.peaks(), "driver": whole.peak_bytes}
    print(shown(whole), {name: f"{peak / 2**20:.0f} MiB" for name, peak in peaks.items()})
    print(f"plan.json: {(out / plan_key(0)).stat().st_size} bytes")
    undo(out, LEFT)
    with cluster(folder, FEW) as made:
        resumed = made.drive(source, out)
    print("resumed:", shown(resumed))
    peaks["driver, resumed"] = resumed.peak_bytes
    assert LEFT <= resumed.n_shards < 2 * LEFT
    assert parse_schema((out / TABLES_KEY).read_bytes()).n_rows == bounds.n_tracks
    assert max(peaks.values()) < bounds.peak_bytes, peaks
    assert whole.planned_s < bounds.planned_s
    assert whole.shards_per_s >= bounds.shards_per_s
    assert resumed.first_shard_s < bounds.resumed_s


def shown(drive: Drive) -> str:
    """A line for people."""
    return (
        f"work begins after {drive.planned_s:.1f} s, first shard after {drive.first_shard_s:.1f} s; "
        f"{drive.n_shards} shards at {drive.shards_per_s:.0f} per second; finalised in {drive.finalised_s:.1f} s; "
        f"driver's peak {drive.peak_bytes / 2**20:.0f} MiB"
    )


def test_200_000_tracks(tmp_path: Path) -> None:
    """A fiftieth of the next test: memory well under the bound; times that only a broken path would take."""
    check(tmp_path, Bounds(200_000, FEW, planned_s=100.0, shards_per_s=5.0, resumed_s=60.0, peak_bytes=GIB))


@pytest.mark.scale
@pytest.mark.timeout(3600)
def test_10_000_000_tracks(tmp_path: Path) -> None:
    """Planned in minutes, 50 shards a second, under 2 GB in every process, at work again in ten seconds.

    The workers are a thousand: with 50 shards a second each has one for 20 s.
    """
    bounds = Bounds(10_000_000, MANY, planned_s=60.0, shards_per_s=50.0, resumed_s=10.0, peak_bytes=2 * 10**9)
    check(tmp_path, bounds)
