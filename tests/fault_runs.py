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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile as sf

import corpusdiff
from corpusdiff.errors import StoreError
from corpusdiff.store.generations import read_plans, read_record
from corpusdiff.store.objects import open_objects
from corpusdiff.store.verify import VerifyReport, verify

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
    program : what to run instead of the command line's module
    """

    def __init__(
        self,
        source: Path,
        out: Path,
        *options: str,
        hook: str | None = None,
        program: tuple[str, ...] = ("-m", "corpusdiff.cli"),
    ) -> None:
        self.out = out
        self.log = out.parent / f"{out.name}.log"
        env = {key: value for key, value in os.environ.items() if key != "CORPUSDIFF_TEST_HOOK"}
        if hook is not None:
            path = os.pathsep.join(filter(None, (str(TESTS), env.get("PYTHONPATH"))))
            env |= {"CORPUSDIFF_TEST_HOOK": f"hooks:{hook}", "PYTHONPATH": path}
        self._said_before = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
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
        for pid in self.alive():
            _kill(pid, signal.SIGKILL)
        self.process.wait()

    @property
    def said(self) -> str:
        """What this run has printed so far."""
        return self.log.read_bytes()[self._said_before :].decode()

    @property
    def ended(self) -> bool:
        """Whether the driver is gone."""
        return self.process.poll() is not None

    def finish(self) -> int:
        """Wait for the driver's exit code, and for every process that it had to be gone."""
        code = self.process.wait(PATIENCE_S)
        wait_for(lambda: not self.alive(), f"processes left behind: {self.alive()}; {self.said}")
        return code

    def alive(self) -> dict[int, str]:
        """Command lines of the session's living processes."""
        return {pid: line for pid, (session, _, line) in _process_table() if session == self.process.pid}

    def workers(self) -> list[int]:
        """Dask's worker processes."""
        return [pid for pid, line in self.alive().items() if "multiprocessing.spawn" in line]

    def children(self) -> list[int]:
        """The processes that decode: the workers', and the driver's own that read headers."""
        return [pid for pid, line in self.alive().items() if "corpusdiff.child" in line]

    def n_committed(self) -> int:
        """Records on disk."""
        return len(list((self.out / "commits").glob("*/*")))

    def await_commits(self, n: int) -> None:
        """Wait until `n` shards are committed, or the run has ended."""
        wait_for(lambda: self.n_committed() >= n or self.ended, f"{n} commits", or_say=lambda: self.said)

    def signal(self, number: int) -> None:
        """To the whole session's foreground group, as the terminal and batch systems do."""
        os.killpg(self.process.pid, number)


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _process_table() -> Iterator[tuple[int, tuple[int, int, str]]]:
    """Session, parent and command line of every process that is no zombie, by id."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in {"Z", "X"}:
            yield int(folder.name), (int(fields[3]), int(fields[1]), line)


def wait_for(condition: Callable[[], object], what: str, *, or_say: Callable[[], str] = str) -> None:
    """Look again and again until `condition()` is true."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"waited {PATIENCE_S:.0f} s in vain for: {what}. {or_say()}"
        time.sleep(LOOK_EVERY_S)


class Killer:
    """Kills at random moments of a run.

    Parameters
    ----------
    run : the run
    rng : chooses moments and victims
    n_shards : that the run has in all
    """

    def __init__(self, run: Run, rng: random.Random, n_shards: int) -> None:
        self._run = run
        self._rng = rng
        self._n_shards = n_shards

    def strike(self, target: str) -> bool:
        """Kill one process of that kind ("worker", "child" or "driver"); False if the run ended before."""
        self._await_moment()
        while not self._run.ended:
            victims = self._victims(target)
            if victims and _kill(self._rng.choice(victims), signal.SIGKILL):
                return True
            time.sleep(LOOK_EVERY_S)
        return False

    def _await_moment(self) -> None:
        """One time in four while the run is starting, else while it is committing."""
        if self._rng.random() < 0.25:
            delay_s = self._rng.uniform(0.0, 4.0)
        else:
            self._run.await_commits(self._rng.randrange(self._n_shards))
            delay_s = self._rng.uniform(0.0, 0.15)
        until = time.monotonic() + delay_s
        while time.monotonic() < until and not self._run.ended:
            time.sleep(LOOK_EVERY_S)

    def _victims(self, target: str) -> list[int]:
        if target == "driver":
            return [self._run.process.pid]
        return self._run.workers() if target == "worker" else self._run.children()


def published(out: Path) -> dict[str, str]:
    """sha256 of every file under ``data.zarr`` that is no orphan, by its path there."""
    orphans = set(checked(out).orphans)
    files = {str(path.relative_to(out)): path for path in (out / "data.zarr").rglob("*") if path.is_file()}
    return {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in files.items() if key not in orphans}


def digests(out: Path) -> list[str]:
    """Digest of each shard's rows."""
    objects = open_objects(str(out), write=False)
    (plan,) = read_plans(objects)
    return [read_record(objects, plan, shard).digest for shard in range(plan.n_shards)]


def checked(out: Path) -> VerifyReport:
    """What `verify` says of a corpus with which nothing is wrong."""
    report = verify(str(out))
    assert report.ok, report.problems
    return report


def same_corpus(out: Path, reference: Path, why: str) -> None:
    """Assert that both hold the same tables, records' rows and audio, to the byte."""
    assert digests(out) == digests(reference), why
    ours, theirs = published(out), published(reference)
    differing = sorted(key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key))
    assert not differing, f"{why}: {differing}"


@contextmanager
def watched(out: Path, n_tracks: int) -> Iterator[Mapping[str, int]]:
    """Open the corpus again and again while the block runs: it is whole, or there is none."""
    stop = threading.Event()
    seen = {"whole": 0, "none": 0}
    wrong: list[str] = []

    def look() -> None:
        while not stop.wait(0.02):
            try:
                corpus = corpusdiff.open(str(out))
            except StoreError:
                seen["none"] += 1
                continue
            try:
                ids = corpus.column("id")
                n_samples = corpus[len(corpus) - 1].audio.shape[1]
                if not (len(corpus) == len(set(ids)) == n_tracks and n_samples):
                    wrong.append(f"{len(corpus)} rows, {len(set(ids))} ids, {n_samples} samples")
            except Exception as error:  # whatever it is, the test reports it
                wrong.append(repr(error))
            seen["whole"] += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()
    assert not wrong, wrong[:3]
