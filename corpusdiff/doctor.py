"""What this machine has for a run, what it lacks, and how to get it."""

from __future__ import annotations

import json
import math
import os
import resource
import shutil
import tempfile
import time
import wave
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from corpusdiff.cluster import connect
from corpusdiff.cluster.options import NO_OPTIONS, ClusterOptions
from corpusdiff.errands import ProbeTask, do_errand
from corpusdiff.errors import CorpusdiffError
from corpusdiff.isolate import Child
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track
from corpusdiff.onetrack import OUTPUT, through
from corpusdiff.planfile import made_here
from corpusdiff.runner import StopFlag
from corpusdiff.shards import RunOptions
from corpusdiff.source.codecs import decoders, encoders
from corpusdiff.store.objects import open_objects

#: What further packages are good for, and the extra that brings them.
_EXTRAS = {
    "obstore": ("OUT on s3://, gs:// and az://", "remote"),
    "s3fs": ("SOURCE on s3://", "s3"),
    "gcsfs": ("SOURCE on gs://", "gs"),
    "adlfs": ("SOURCE on az://", "az"),
    "aiohttp": ("SOURCE on http://", "http"),
    "dask-jobqueue": ("--cluster slurm", "slurm"),
    "kubernetes": ("--cluster kubernetes", "kubernetes"),
    "cryptography": ("corpusdiff certificates", "tls"),
    "prometheus-client": ("--metrics", "metrics"),
    "optuna": ("corpusdiff tune", "tune"),
    "onnxruntime": ("stage onnx", "onnx"),
    "pyrnnoise": ("stage rnnoise", "rnnoise"),
    "torch": ("corpus.torch()", "torch"),
}

#: So long a cluster that is looked at may take to give a worker, in seconds.
_WAIT_S = 120.0

#: Below these, runs of many workers get into trouble.
_FILES, _PROCESSES_PER_CORE, _SPOOL_BYTES, _MEMORY_PER_CORE = 4096, 64, 8 * 2**30, 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    what : its name
    state : ``ok``, ``absent`` (only some things need it) or ``trouble``
    found : what there is
    remedy : what to do about it; "" for nothing
    """

    what: str
    state: str
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


def examine(
    out: str | None = None, cluster: str | None = None, options: ClusterOptions = NO_OPTIONS
) -> Iterator[Finding]:
    """Look at versions, codecs, limits and packages; at OUT and at the workers of a cluster where one is given."""
    made = made_here()
    yield Finding("versions", "ok", ", ".join(f"{name} {number}" for name, number in made["versions"].items()))
    yield from _codecs()
    yield _child()
    yield from _limits()
    yield from _packages()
    yield _program("sbatch", "--cluster slurm", "log in to a node of the cluster, or load its module")
    yield _program("ssh", "--cluster hosts:FILE", "install an SSH client")
    if out is not None:
        yield _store(out)
    if cluster is not None:
        yield _cluster(cluster, options)


def _codecs() -> Iterator[Finding]:
    known, missing = decoders()
    remedy = "pip install --force-reinstall av soundfile: their wheels bring them"
    yield Finding("decoders", "trouble" if missing else "ok", _list(known, missing), remedy if missing else "")
    missing = encoders()
    yield Finding("encoders", "trouble" if missing else "ok", _list("", missing), remedy if missing else "")


def _list(known: str, missing: list[str]) -> str:
    lacks = f"without {', '.join(missing)}" if missing else "all that are needed"
    return f"{known}: {lacks}" if known else lacks


def _child() -> Finding:
    """Whether a track comes through a process of its own, as in a run."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with wave.open(f"{folder}/silence.wav", "wb") as file:
            file.setparams((1, 2, 8000, 8000, "NONE", ""))
            file.writeframes(bytes(16000))
        try:
            with closing(Child(RunOptions())) as child:
                job = Job("doctor", outputs=(OUTPUT,))
                _, audio = through(child, job.to_dict(), folder, Track("silence", "silence.wav"), None)
        except (CorpusdiffError, OSError) as error:
            return Finding("a track", "trouble", str(error), "report it with what `corpusdiff doctor` says")
    took_s = time.monotonic() - started
    return Finding("a track", "ok", f"{audio.shape[1]} samples through a process of its own, {took_s:.1f} s")


def _limits() -> Iterator[Finding]:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = files < _FILES
    yield Finding("open files", "trouble" if few else "ok", f"{files} of {most}", f"ulimit -n {_FILES}" if few else "")
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    cores = len(os.sched_getaffinity(0))
    few = processes != resource.RLIM_INFINITY and processes < _PROCESSES_PER_CORE * cores
    count = "no limit" if processes == resource.RLIM_INFINITY else f"{processes}"
    remedy = f"ulimit -u {_PROCESSES_PER_CORE * cores}" if few else ""
    yield Finding("processes", "trouble" if few else "ok", f"{count}, for {cores} cores", remedy)
    spool = tempfile.gettempdir()
    free = shutil.disk_usage(spool).free
    full = free < _SPOOL_BYTES
    remedy = "free some, or give another folder by --spool" if full else ""
    yield Finding("temporary files", "trouble" if full else "ok", f"{free / 2**30:.0f} GiB free in {spool}", remedy)
    memory = min(psutil.virtual_memory().total, _container_bytes())
    little = memory < _MEMORY_PER_CORE * cores
    remedy = f"--workers {max(1, memory // _MEMORY_PER_CORE)}" if little else ""
    found = f"{memory / 2**30:.0f} GiB for {cores} cores"
    yield Finding("memory", "trouble" if little else "ok", found, remedy)


def _container_bytes() -> float:
    """What a container may take of the memory, in bytes."""
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return float(Path(path).read_text())
        except (OSError, ValueError):  # no such file; "max"
            continue
    return math.inf


def _packages() -> Iterator[Finding]:
    for package, (purpose, extra) in _EXTRAS.items():
        try:
            yield Finding(package, "ok", f"{version(package)}, for {purpose}")
        except PackageNotFoundError:
            yield Finding(package, "absent", f"not installed, for {purpose}", f"pip install 'corpusdiff[{extra}]'")


def _program(name: str, purpose: str, remedy: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding(name, "absent", f"not found, for {purpose}", remedy)
    return Finding(name, "ok", f"{path}, for {purpose}")


def _store(out: str) -> Finding:
    """Whether OUT can be written, each object once; what is made for the test goes again."""
    was_there = "://" in out or Path(out).exists()
    try:
        objects = open_objects(out)
    except (CorpusdiffError, OSError) as error:
        return Finding("OUT", "trouble", str(error), "give a folder or a bucket that you may write to")
    free = objects.free_bytes()
    if not was_there:
        objects.remove_empty()
    room = "" if free is None else f", {free / 1e9:.0f} GB free"
    return Finding("OUT", "ok", f"{objects.location} can be written, each object once{room}")


def _cluster(spec: str, options: ClusterOptions) -> Finding:
    """Whether workers come, are fit, and answer."""
    said: list[str] = []
    task = ProbeTask("", 0, "", 0, RunOptions(spool=options.spool), packed=zlib.compress(json.dumps([]).encode()))
    patient = replace(options, wait_workers_s=options.wait_workers_s or _WAIT_S)
    started = time.monotonic()
    try:
        with connect(spec, do_errand, patient, said.append) as runner:
            for _ in runner.run([task], lambda _: None, StopFlag()):
                took_s = time.monotonic() - started
    except (CorpusdiffError, OSError) as error:
        return Finding("cluster", "trouble", f"--cluster {spec}: {error}", "deploy/README.md has a page for each kind")
    return Finding("cluster", "ok", f"{'; '.join(said) or spec}; the first answer after {took_s:.1f} s")
