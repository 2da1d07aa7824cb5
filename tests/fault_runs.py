"""Runs of the command as real processes, to be killed, and what they leave on disk and in the process table."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import soundfile as sf

import corpusdiff
from corpusdiff.errors import StoreError
from corpusdiff.store.generations import read_plans, read_record
from corpusdiff.store.objects import is_url, open_objects
from corpusdiff.store.verify import VerifyReport, verify

#: A corpus: its folder, or its URL behind a store that this process's environment describes.
Place: TypeAlias = Path | str

TESTS = Path(__file__).resolve().parent

#: Longest wait for anything, in seconds: for a machine that does much else.
PATIENCE_S = 120.0

#: How often to look, in seconds.
LOOK_EVERY_S = 0.005

#: Options that every run here has: small shards.
SMALL_SHARDS = ("--shard-s", "6")


def make_recordings(folder: Path, n: int = 120) -> Path:
    """`n` tones that waver in noise, half a second to 1.2 s long, WAV and FLAC, three rates."""
    rng = np.random.default_rng(20)
    for i in range(n):
        sr = (8000, 16000, 22050)[i % 3]
        t = np.arange(int(sr * rng.uniform(0.5, 1.2))) / sr
        x = 0.2 * np.sin(2 * np.pi * (200 + 5 * i) * t) * (1 + 0.5 * np.sin(8 * t))
        path = folder / f"speaker{i % 4}" / f"{i:03d}.{'flac' if i % 2 else 'wav'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, x + 0.003 * rng.standard_normal(len(t)), sr)
    return folder


class Run:
    """One `corpusdiff run` in a session of its own, as a shell or a batch system starts it.

    Parameters
    ----------
    source, out : as the command takes them
    options : further ones
    hook : of tests/hooks.py, called in the child before each track
    program : what Python runs, the command unless given
    env : further variables of its environment
    """

    def __init__(
        self,
        source: Path,
        out: Place,
        *options: str,
        hook: str | None = None,
        program: tuple[str, ...] = ("-m", "corpusdiff.cli"),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.out = out
        place = (source if is_url(str(out)) else Path(out)).with_name(f"run-{uuid.uuid4().hex}")
        self._temporary = place / "tmp"
        self._temporary.mkdir(parents=True)
        self._log = place / "log"
        plain = {name: value for name, value in os.environ.items() if name != "CORPUSDIFF_TEST_HOOK"}
        env = plain | {"TMPDIR": str(self._temporary)} | dict(env or {})
        if hook is not None:
            path = os.pathsep.join(filter(None, (str(TESTS), env.get("PYTHONPATH"))))
            env |= {"CORPUSDIFF_TEST_HOOK": f"hooks:{hook}", "PYTHONPATH": path}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *program, "run", str(source), str(out), *SMALL_SHARDS, *options],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *reason: object) -> None:
        while left := self._alive():
            for process in left:
                kill(process.pid)
            self.process.poll()  # else it would stay as a zombie
            time.sleep(LOOK_EVERY_S)

    @property
    def said(self) -> str:
        """What the run has printed so far."""
        return self._log.read_text(errors="replace")

    @property
    def ended(self) -> bool:
        """Whether the driver is gone."""
        return self.process.poll() is not None

    def finish(self) -> int:
        """Wait for the driver's exit code. Nothing else of it may be left but, where it was killed, files."""
        code = self.process.wait(PATIENCE_S)
        wait_for(lambda: not self._alive(), f"the end of {self._alive()}")
        if code >= 0:
            left = [str(path.relative_to(self._temporary)) for path in self._temporary.rglob("*")]
            assert not left, f"exit code {code}, temporary files left: {left}; {self.said}"
        return code

    def workers(self) -> list[int]:
        """Dask's worker processes."""
        return [
            process.pid
            for process in self._alive()
            if "multiprocessing.spawn" in process.line and process.parent == self.process.pid
        ]

    def children(self) -> list[int]:
        """The processes that decode: the workers' own, and the driver's, which reads headers."""
        return [process.pid for process in self._alive() if "corpusdiff.child" in process.line]

    def n_committed(self) -> int:
        """Records in the corpus."""
        return sum(1 for _ in open_objects(str(self.out), write=False).list("commits"))

    def await_commits(self, n: int) -> None:
        """Wait until `n` shards are committed, or the run has ended."""
        wait_for(lambda: self.n_committed() >= n or self.ended, f"{n} commits")

    def signal(self, number: int) -> None:
        """To the whole group, as terminals and batch systems do."""
        os.killpg(self.process.pid, number)

    def _alive(self) -> list[Process]:
        return [process for process in process_table() if process.session == self.process.pid]


class Process(NamedTuple):
    """A line of the process table."""

    pid: int
    parent: int
    session: int
    line: str


def process_table() -> Iterator[Process]:
    """Every process that is no zombie."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in {"Z", "X"}:
            yield Process(int(folder.name), int(fields[1]), int(fields[3]), line)


def kill(pid: int, number: int = signal.SIGKILL) -> bool:
    """Send a signal, SIGKILL unless given; False if there is no such process any more."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition: Callable[[], object], what: str) -> None:
    """Look again and again until `condition()` is true."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"waited {PATIENCE_S:.0f} s in vain for {what}"
        time.sleep(LOOK_EVERY_S)


def strike(
    run: Run, target: str, rng: random.Random, n_shards: int, find: Callable[[], list[int]] | None = None
) -> bool:
    """Kill -9 a "worker", a "child" or the "driver" at a random moment; False if the run ended before.

    One moment in four is while the run starts, the others are while it commits its shards. `find` gives the
    processes of any other target.
    """
    if rng.random() < 0.25:
        delay_s = rng.uniform(0.0, 1.5)
    else:
        run.await_commits(rng.randrange(n_shards - 4))
        delay_s = rng.uniform(0.0, 0.05)
    until = time.monotonic() + delay_s
    while time.monotonic() < until and not run.ended:
        time.sleep(LOOK_EVERY_S)
    find = find or {"worker": run.workers, "child": run.children, "driver": lambda: [run.process.pid]}[target]
    while not run.ended:
        victims = find()
        if victims and kill(rng.choice(victims)):
            return True
        time.sleep(LOOK_EVERY_S)
    return False


def published(out: Place) -> dict[str, str]:
    """sha256 of every object under ``data.zarr`` that is no orphan, by its key."""
    objects = open_objects(str(out), write=False)
    keys = set(objects.list("data.zarr")) - set(checked(out).orphans)
    return {key: hashlib.sha256(objects.read(key)).hexdigest() for key in keys}


def digests(out: Place) -> list[str]:
    """Digest of each shard's rows."""
    objects = open_objects(str(out), write=False)
    (plan,) = read_plans(objects)
    return [read_record(objects, plan, shard).digest for shard in range(plan.n_shards)]


def checked(out: Place) -> VerifyReport:
    """What `verify` says of a corpus with which nothing is wrong."""
    report = verify(str(out))
    assert report.ok, report.problems
    return report


def same_corpus(out: Place, reference: Place, why: str) -> None:
    """Assert that both hold the same tables, records' rows and audio, to the byte."""
    assert digests(out) == digests(reference), why
    ours, theirs = published(out), published(reference)
    differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    assert not differing, f"{why}: {differing}"


@contextmanager
def watched(out: Place, n_tracks: int) -> Iterator[None]:
    """Open the corpus again and again while the block runs: it is whole, or there is none."""
    stop = threading.Event()
    wrong: list[str] = []

    def look() -> None:
        while not stop.wait(0.02):
            try:
                corpus = corpusdiff.open(str(out))
            except StoreError:
                continue
            try:
                ids = corpus.column("id")
                n_samples = corpus[len(corpus) - 1].audio.shape[1]
                if not (len(corpus) == len(set(ids)) == n_tracks and n_samples):
                    wrong.append(f"{len(corpus)} rows, {len(set(ids))} ids, {n_samples} samples")
            except Exception as error:  # whatever it is, the test reports it
                wrong.append(repr(error))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not wrong, wrong[:3]
