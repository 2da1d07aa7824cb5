"""What this machine has for a run, what it lacks, and how to get it."""

from __future__ import annotations

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from corpusdiff.errors import CorpusdiffError
from corpusdiff.planfile import made_here
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

#: Below these, runs of many workers get into trouble.
_FILES, _SPOOL_BYTES, _MEMORY_PER_CORE = 4096, 8 * 2**30, 2**30


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


def examine(out: str | None = None) -> Iterator[Finding]:
    """Look at versions, codecs, limits, packages, and at OUT where one is given."""
    made = made_here()
    yield Finding("versions", "ok", ", ".join(f"{name} {number}" for name, number in made["versions"].items()))
    yield from _codecs()
    yield from _limits()
    yield from _packages()
    yield _program("sbatch", "--cluster slurm", "log in to a node of the cluster, or load its module")
    yield _program("ssh", "--cluster hosts:FILE", "install an SSH client")
    if out is not None:
        yield _store(out)


def _codecs() -> Iterator[Finding]:
    known, missing = decoders()
    remedy = "pip install --force-reinstall av soundfile: their wheels bring them"
    yield Finding("decoders", "trouble" if missing else "ok", _list(known, missing), remedy if missing else "")
    missing = encoders()
    yield Finding("encoders", "trouble" if missing else "ok", _list("", missing), remedy if missing else "")


def _list(known: str, missing: list[str]) -> str:
    lacks = f"without {', '.join(missing)}" if missing else "all that are needed"
    return f"{known}: {lacks}" if known else lacks


def _limits() -> Iterator[Finding]:
    files, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = files < _FILES
    yield Finding("open files", "trouble" if few else "ok", f"{files} of {most}", f"ulimit -n {_FILES}" if few else "")
    spool = tempfile.gettempdir()
    free = shutil.disk_usage(spool).free
    full = free < _SPOOL_BYTES
    remedy = "free some, or give another folder by --spool" if full else ""
    yield Finding("temporary files", "trouble" if full else "ok", f"{free / 2**30:.0f} GiB free in {spool}", remedy)
    memory, cores = psutil.virtual_memory().total, len(os.sched_getaffinity(0))
    little = memory < _MEMORY_PER_CORE * cores
    remedy = f"--workers {max(1, memory // _MEMORY_PER_CORE)}" if little else ""
    found = f"{memory / 2**30:.0f} GiB for {cores} cores"
    yield Finding("memory", "trouble" if little else "ok", found, remedy)


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
        return Finding("OUT", "trouble", str(error), "see there")
    if not was_there:
        objects.remove_empty()
    return Finding("OUT", "ok", f"{objects.location} can be written, each object once")
