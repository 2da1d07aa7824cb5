"""What a run would do, and how far one has come, without running anything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpusdiff.errors import UsageError
from corpusdiff.isolate import close_children
from corpusdiff.job import Job
from corpusdiff.jobfile import load_job
from corpusdiff.manifests import USUAL, Reading, open_manifest
from corpusdiff.manifests.base import Manifest
from corpusdiff.manifests.frozen import freeze
from corpusdiff.plan import Plan
from corpusdiff.prepare import plan_frozen
from corpusdiff.progress import format_time
from corpusdiff.runlog import SILENT_S, statuses
from corpusdiff.shards import RunOptions
from corpusdiff.specs import OutputSpec
from corpusdiff.store.commit import committed
from corpusdiff.store.finalise import is_final
from corpusdiff.store.generations import read_plans
from corpusdiff.store.objects import Objects, open_objects
from corpusdiff.survey import probe_here, surveyed


def describe_plan(source: str, job_name: str, sets: Sequence[str], reading: Reading = USUAL) -> dict[str, Any]:
    """What a run over `source` would do. Raises CorpusdiffError."""
    job = load_job(job_name, sets)
    manifest = open_manifest(source, reading, [job.source.reference_field])
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "manifest.parquet"
        probe = probe_here(manifest, RunOptions(), min(8, os.cpu_count() or 1))
        tracks = surveyed(manifest, probe)
        info = freeze(tracks, frozen, place=manifest.place)
        close_children()
        if info.n_tracks == 0:
            raise UsageError(nothing_in(manifest))
        plan = plan_frozen(frozen, info, manifest, job, generation=0, portable=False)
    return {
        "source": plan.source,
        "job": job.name,
        "tracks": plan.n_tracks,
        "ignored": sum(manifest.ignored.values()),
        "hours": round(plan.seconds / 3600, 3),
        "shards": plan.n_shards,
        "chunk": plan.chunk,
        "gigabytes": round(estimated_bytes(plan, job) / 1e9, 3),
    }


def describe_status(out: str) -> dict[str, Any]:
    """How far a corpus has come: tracks and shards by state, over all generations, by its records.

    What only the drivers know (speed, ETA, shards in flight, failures by reason) is as they last said, under ``runs``:
    those that run, else the last one. Raises StoreError.
    """
    objects = open_objects(out, write=False)
    plans = read_plans(objects)
    headers = [committed(objects, plan) for plan in plans]
    done = [header for generation in headers for header in generation.values()]
    return {
        "out": out,
        "generations": len(plans),
        "tracks": sum(plan.n_tracks for plan in plans),
        "shards": sum(plan.n_shards for plan in plans),
        "shards_done": len(done),
        "ok": sum(header.n_ok for header in done),
        "failed": sum(header.n_failed for header in done),
        "filtered": sum(header.n_filtered for header in done),
        "hours_done": round(sum(header.seconds for header in done) / 3600, 3),
        "hours": round(sum(plan.seconds for plan in plans) / 3600, 3),
        "final": is_final(objects, plans),
        "runs": _runs(objects),
    }


#: What a driver says of itself and `status` passes on.
_SAID = (
    "run", "host", "pid", "cluster", "state", "started", "updated", "silent_s", "dashboard", "shards_running", "speed",
    "eta_s", "failed", "reasons",
)  # fmt: skip


def _runs(objects: Objects) -> list[dict[str, Any]]:
    """What the drivers last said: of all that seem to be at work, or of the last."""
    said = sorted(statuses(objects), key=lambda status: str(status.get("updated")))
    for status in said:
        if status.get("state") == "running" and status["silent_s"] > SILENT_S:
            status["state"] = "silent"
    shown = [status for status in said if status.get("state") == "running"] or said[-1:]
    return [{name: status.get(name) for name in _SAID} for status in shown]


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """`describe_status` for people, one fact a line."""
    for name, value in found.items():
        if name != "runs":
            yield f"{name:>12}  {value}"
    for run in found["runs"]:
        where = f"{run['host']}, process {run['pid']}, --cluster {run['cluster']}"
        yield f"{run['state']:>12}  {where}; heard of {run['silent_s']:.0f} s ago"
        if run["state"] == "running":
            eta = "unknown" if run["eta_s"] is None else format_time(run["eta_s"])
            speed = f"{run['speed']:.0f} x real time" if run["speed"] is not None else "unknown"
            yield f"{'in flight':>12}  {run['shards_running']} shards"
            yield f"{'speed':>12}  {speed}"
            yield f"{'left':>12}  {eta}"
            yield f"{'dashboard':>12}  {run['dashboard'] or 'none'}"
        elif run["state"] == "silent":
            yield f"{'':>12}  its driver is gone, or cannot write here: give the same command again to go on"
        for reason, n in sorted((run["reasons"] or {}).items()):
            yield f"{'failed':>12}  {n} {reason}"


def estimated_bytes(plan: Plan, job: Job) -> float:
    """Bytes of audio that a plan will write, by what such outputs usually take."""
    rates = [(job.source.sr or sr, job.source.channels or n) for sr, n in plan.arrays] or [(48000, 2)]
    sr, n_channels = max(rates)
    return sum(plan.seconds * _bytes_per_s(output, sr, n_channels) for output in job.outputs)


def nothing_in(manifest: Manifest) -> str:
    """Why there is nothing to do, in words."""
    ignored = ", ".join(f"{n} {extension or 'without extension'}" for extension, n in manifest.ignored.most_common(5))
    return f"{manifest.source}: no audio or video here" + (f"; ignored: {ignored}" if ignored else "; it is empty")


def _bytes_per_s(output: OutputSpec, sr: int, n_channels: int) -> float:
    if output.bitrate_kbps is not None:
        return output.bitrate_kbps * 125
    # speech and music in FLAC take 0.5 to 0.7 of PCM
    return sr * n_channels * output.bits / 8 * (0.6 if output.encoding == "flac" else 0.8)
