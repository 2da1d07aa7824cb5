"""Small corpora made straight through the store: no decoding, no child process."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from corpusdiff.encode import encode_flac, encode_pcm
from corpusdiff.manifests.base import Track
from corpusdiff.manifests.frozen import freeze
from corpusdiff.plan import Plan
from corpusdiff.planfile import dump_plan
from corpusdiff.store.commit import CommitReport, commit_shard
from corpusdiff.store.finalise import finalise
from corpusdiff.store.generations import manifest_key, plan_key, read_plans
from corpusdiff.store.layout import create_arrays
from corpusdiff.store.objects import LocalObjects, open_objects

FLAC = {"name": "flac", "encoding": "flac", "bits": 16, "level": 5, "bitrate_kbps": None}
PCM = {"name": "pcm", "encoding": "pcm", "bits": 16, "level": 5, "bitrate_kbps": None}
STREAM = {"name": "opus24", "encoding": "opus", "bits": 16, "level": 5, "bitrate_kbps": 24.0}
SR = 16000


@dataclass(frozen=True)
class Clip:
    """One track that a test wants: `n` samples of noise, or silence, or a failure."""

    id: str
    n: int
    n_channels: int = 1
    sr: int = SR
    status: str = "ok"
    silent: bool = False
    seed: int = 0
    parent: str | None = None
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> np.ndarray:
        """(n_channels, n) int16."""
        key = int.from_bytes(hashlib.sha256(f"{self.id} {self.seed}".encode()).digest()[:8], "little")
        noise = np.random.default_rng(key).integers(-3000, 3000, (self.n_channels, self.n), np.int16)
        return np.zeros_like(noise) if self.silent else noise

    @property
    def stream(self) -> bytes:
        """Bytes that stand for a lossy stream."""
        return self.samples[0, : self.n // 7 + 1].tobytes()


def make_plan(
    shards: Sequence[Sequence[Clip]],
    outputs: Sequence[dict[str, Any]] = (FLAC,),
    *,
    chunk: int = 4096,
    generation: int = 0,
    manifest_digest: str = "0" * 64,
    fields: dict[str, str] | None = None,
    arrays: Sequence[tuple[int, int]] = ((SR, 1),),
) -> Plan:
    """A plan of these shards."""
    clips = [clip for shard in shards for clip in shard]
    return Plan(
        generation=generation,
        source="/data",
        kind="folder",
        root="/data",
        manifest_digest=manifest_digest,
        n_tracks=len(_tracks(shards)),
        fields=fields or {},
        job={"name": "test", "output": list(outputs)},
        job_digest="1" * 64,
        bounds=tuple(np.cumsum([0, *(len(_tracks([shard])) for shard in shards)]).tolist()),
        chunk=chunk,
        arrays=tuple(arrays),
        seconds=sum(clip.n / clip.sr for clip in clips),
        portable=False,
    )


@contextmanager
def spooled(clips: Iterable[Clip], plan: Plan) -> Iterator[tuple[list[dict[str, Any]], str]]:
    """Rows and the spool file that processing would hand to the commit."""
    with tempfile.NamedTemporaryFile() as file:
        rows = [_row(clip, plan, file) for clip in clips]
        file.flush()
        yield rows, file.name


def commit_clips(objects: LocalObjects, plan: Plan, shard: int, clips: Iterable[Clip]) -> CommitReport:
    """Commit one shard of clips."""
    with spooled(clips, plan) as (rows, spool):
        return commit_shard(objects, plan, shard, rows, spool, {"host": "here", "pid": os.getpid()})


def commit_everything(out: str, shards: Sequence[Sequence[Clip]]) -> None:
    """Commit all shards of a planned corpus."""
    objects = open_objects(out)
    (plan,) = read_plans(objects)
    for shard, clips in enumerate(shards):
        commit_clips(objects, plan, shard, clips)


def start_committer(out: Path, shards: Sequence[Sequence[Clip]]) -> subprocess.Popen[bytes]:
    """A process that is ready to commit all shards, and does so when a line comes on its stdin."""
    code = (
        "import pickle, sys, store_maker; shards = pickle.load(sys.stdin.buffer);"
        "print('ready', flush=True); sys.stdin.buffer.readline();"
        f"store_maker.commit_everything({str(out)!r}, shards)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent,
    )
    assert process.stdin is not None
    process.stdin.write(pickle.dumps(shards))
    process.stdin.flush()
    return process


def make_generation(
    out: Path,
    shards: Sequence[Sequence[Clip]],
    outputs: Sequence[dict[str, Any]] = (FLAC,),
    *,
    chunk: int = 4096,
    generation: int = 0,
) -> Plan:
    """Plan, manifest and array metadata of a generation, as the driver writes them."""
    objects = open_objects(str(out))
    with tempfile.TemporaryDirectory() as folder:
        frozen = Path(folder) / "manifest.parquet"
        info = freeze((Track(*track, fields=fields) for *track, fields in _tracks(shards)), frozen)
        objects.create(manifest_key(generation), frozen.read_bytes())
    plan = make_plan(
        shards,
        outputs,
        chunk=chunk,
        generation=generation,
        manifest_digest=info.digest,
        fields=info.fields,
        arrays=sorted({(clip.sr, clip.n_channels) for shard in shards for clip in shard}),
    )
    objects.create(plan_key(generation), dump_plan(plan, {"host": "here"}))
    create_arrays(objects, plan)
    return plan


def make_corpus(
    out: Path,
    shards: Sequence[Sequence[Clip]],
    outputs: Sequence[dict[str, Any]] = (FLAC,),
    *,
    chunk: int = 4096,
    generation: int = 0,
) -> Plan:
    """A whole finished corpus (or its next generation) of one shard per list of clips."""
    plan = make_generation(out, shards, outputs, chunk=chunk, generation=generation)
    objects = open_objects(str(out))
    for shard, clips in enumerate(shards):
        commit_clips(objects, plan, shard, clips)
    finalise(objects, read_plans(objects))
    return plan


def contents(out: Path, *prefixes: str) -> dict[str, bytes]:
    """Bytes of every file under these folders of OUT."""
    files = (path for prefix in prefixes for path in sorted((out / prefix).rglob("*")) if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}


def _tracks(shards: Iterable[Sequence[Clip]]) -> list[tuple[str, str, dict[str, Any]]]:
    """Manifest rows: segments of one parent are one track."""
    tracks = {clip.parent or clip.id: clip.fields for shard in shards for clip in shard}
    return [(track_id, f"{track_id}.wav", fields) for track_id, fields in tracks.items()]


def _row(clip: Clip, plan: Plan, file: Any) -> dict[str, Any]:
    ok = clip.status == "ok"
    return {
        "id": clip.id,
        "path": f"{clip.parent or clip.id}.wav",
        "parent": clip.parent,
        "status": clip.status,
        "error": "" if ok else "decoded 3 of 7 samples",
        "reason": "" if ok else "decode",
        "rule": "default" if ok else "",
        "sr": clip.sr,
        "n_channels": clip.n_channels,
        "n_samples": clip.n if ok else 0,
        "start_s": 0.0,
        "metrics": {"duration_s": clip.n / clip.sr, "snr_db": float("nan"), "loudness_lufs": -23.5} if ok else {},
        "texts": {"loudness_method": "gated"} if ok else {},
        "fields": clip.fields,
        "outputs": [_output(clip, spec, plan.chunk, file) for spec in plan.job["output"]] if ok else [],
    }


def _output(clip: Clip, spec: dict[str, Any], chunk: int, file: Any) -> dict[str, Any]:
    chunks: list[list[int]] = []
    if spec["encoding"] in {"flac", "pcm"}:
        size, payloads = clip.n, _payloads(clip, spec, chunk)
    else:
        size, payloads = len(clip.stream), iter([(0, clip.stream)])
    for index, payload in payloads:
        chunks.append([index, file.tell(), len(payload)])
        file.write(payload)
    return {"name": spec["name"], "size": size, "delay": 0, "bytes": 0, "chunks": chunks}


def _payloads(clip: Clip, spec: dict[str, Any], chunk: int) -> Iterator[tuple[int, bytes]]:
    samples = clip.samples
    for index, start in enumerate(range(0, clip.n, chunk)):
        part = samples[:, start : start + chunk]
        if not part.any():
            continue
        if spec["encoding"] == "flac":
            yield index, encode_flac(np.ascontiguousarray(part), clip.sr, spec["level"])
        else:
            yield index, encode_pcm(np.pad(part, ((0, 0), (0, chunk - part.shape[1]))))
