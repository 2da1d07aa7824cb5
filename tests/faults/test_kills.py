"""Kill -9, signals, a full disk and a second driver at any moment: the same command ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fault_runs import Run, checked, kill, same_corpus, strike, wait_for, watched

import corpusdiff
from corpusdiff.errors import StoreError
from corpusdiff.events import EventLog
from corpusdiff.isolate import Child
from corpusdiff.jobfile import load_job
from corpusdiff.manifests.base import Track
from corpusdiff.shards import RunOptions

LOCAL = ("--workers", "2")
SERIAL = ("--cluster", "none")


def run_to_the_end(reference, out, targets, seed):
    """Give the command until it exits 0, killing one process of each kind of `targets` on the way."""
    rng = random.Random(seed)
    left = list(targets)
    story = [f"seed {seed}"]
    with watched(out, reference.n_tracks):
        code = None
        while code != 0:
            with Run(reference.source, out, *LOCAL) as run:
                while left and not run.ended:
                    target = left.pop(0)
                    struck = strike(run, target, rng, reference.n_shards)
                    story.append(f"{target} {'killed' if struck else 'missed'} with {run.n_committed()} commits")
                code = run.finish()
            story.append(f"exit code {code}")
            expected = {0, -signal.SIGKILL} if "driver" in targets else {0}
            assert code in expected, f"{story}: {run.said}"
            assert len(story) < 20, story
    same_corpus(out, reference.out, str(story))
    assert any("killed" in line for line in story), story


@pytest.mark.parametrize(
    ("seed", "targets"),
    [
        (1, ("worker", "child")),
        (2, ("child", "driver")),
        (3, ("driver", "worker")),
        (4, ("driver", "driver")),
    ],
)
def test_eight_kills_at_random_moments(reference, tmp_path, seed, targets):
    """Of a worker, a child, the driver: the corpus is that of a run in peace, and never seen in part."""
    run_to_the_end(reference, tmp_path / "out", targets, seed)


@pytest.mark.faults
@pytest.mark.parametrize("target", ["worker", "child", "driver"])
@pytest.mark.parametrize("seed", range(100, 110))
def test_thirty_kills_at_random_moments(reference, tmp_path, seed, target):
    """The same, one kill in each run."""
    run_to_the_end(reference, tmp_path / "out", (target,), seed)


@pytest.mark.parametrize("delay_s", [0.0, 0.3])
def test_a_child_killed_while_it_reads_headers_changes_no_plan(reference, tmp_path, delay_s):
    """A header that nobody could read would change the shards, and with them the bytes."""
    with Run(reference.source, tmp_path / "out", *SERIAL) as run:
        wait_for(lambda: run.children() or run.ended, "a child")
        time.sleep(delay_s)
        for pid in run.children():
            kill(pid)
        assert run.finish() == 0, run.said
    same_corpus(run.out, reference.out, "after a kill of the reader of headers")


def test_a_worker_killed_as_it_starts(reference, tmp_path):
    """The workers are started again; nobody has to give the command twice."""
    with Run(reference.source, tmp_path / "out", *LOCAL) as run:
        wait_for(lambda: run.workers() or run.ended, "a worker")
        kill(run.workers()[0])
        assert run.finish() == 0, run.said
        assert "Traceback" not in run.said
    same_corpus(run.out, reference.out, "after a kill of a starting worker")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_and_the_same_command_goes_on(reference, tmp_path, number):
    """At once while planning, after the shards that run while processing; exit code 130; nobody stays behind."""
    out = tmp_path / "out"
    with watched(out, reference.n_tracks):
        with Run(reference.source, out, *LOCAL, hook="slow") as run:
            wait_for(run.children, "the child that reads headers")
            run.signal(number)
            assert run.finish() == 130, run.said
            assert "stopped at once" in run.said
        with Run(reference.source, out, *LOCAL, hook="slow") as run:
            run.await_commits(2)
            run.signal(number)
            assert run.finish() == 130, run.said
            assert "finishing the shards that run" in run.said
            assert "Traceback" not in run.said
        assert 2 <= reference.n_shards - checked(out).pending < reference.n_shards
        with pytest.raises(StoreError, match="run the same command again"):
            corpusdiff.open(str(out))
        with Run(reference.source, out, *LOCAL) as run:
            assert run.finish() == 0, run.said
    same_corpus(out, reference.out, f"after {number!r}")


def test_the_second_signal_aborts(reference, tmp_path):
    """The shards that run are dropped, whatever they do; exit code 130; nobody stays behind."""
    with Run(reference.source, tmp_path / "out", *LOCAL, hook="crawl") as run:
        wait_for(lambda: len(run.workers()) == 2 and len(run.children()) == 2, "busy workers")
        run.signal(signal.SIGINT)
        wait_for(lambda: "finishing the shards that run" in run.said, "the notice")
        run.signal(signal.SIGINT)
        assert run.finish() == 130, run.said
        assert "stopped at once" in run.said
        assert "Traceback" not in run.said
    assert checked(run.out).pending == reference.n_shards


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(200, 212))
def test_signals_at_random_moments(reference, tmp_path, seed):
    """One or two of them, from start to end: exit code 130, or 0 when all was done; nothing is left or half."""
    rng = random.Random(seed)
    number = rng.choice([signal.SIGINT, signal.SIGTERM])
    with watched(tmp_path / "out", reference.n_tracks):
        with Run(reference.source, tmp_path / "out", *LOCAL) as run:
            wait_for(lambda: run.children() or run.ended, "the child that reads headers")
            time.sleep(rng.uniform(0.0, 4.0))
            for _ in range(rng.choice([1, 2])):
                if not run.ended:
                    run.signal(number)
                time.sleep(rng.uniform(0.0, 0.5))
            # a signal to an interpreter that is ending ends it: shells call that 130 and 143
            assert run.finish() in {0, 130, -number}, f"seed {seed}: {run.said}"
        with Run(reference.source, run.out, *LOCAL) as run:
            assert run.finish() == 0, f"seed {seed}: {run.said}"
    same_corpus(run.out, reference.out, f"seed {seed}")


class Disk:
    """A file system in memory.

    Parameters
    ----------
    folder : where it is mounted
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)

    def mount(self, n_bytes: int) -> bool:
        """Whether that is allowed here."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={n_bytes}", "none", self._folder]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def grow(self, n_bytes: int) -> None:
        """Make room."""
        subprocess.run(["mount", "-o", f"remount,size={n_bytes}", self._folder], check=True)

    def unmount(self) -> None:
        """Whatever is on it goes."""
        subprocess.run(["umount", self._folder], check=True)


@pytest.fixture
def disk(tmp_path):
    """A disk at `tmp_path/out` that tests may fill."""
    (tmp_path / "out").mkdir()
    disk = Disk(tmp_path / "out")
    if os.geteuid() != 0 or not disk.mount(4096):
        pytest.skip("needs the right to mount a tmpfs")
    yield disk
    disk.unmount()


def pages(folder):
    """Bytes that the files of a folder take on a tmpfs."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("phase", ["planning", "processing", "finalising"])
def test_a_full_disk_stops_the_run_and_is_named(reference, tmp_path, disk, phase):
    """One line says so, exit code 1, nothing half is seen; with more room the same command finishes."""
    out = tmp_path / "out"
    tables = pages(reference.out / "data.zarr" / "tracks")
    audio = pages(reference.out) - tables
    room = {"planning": 2 * 4096, "processing": audio // 2, "finalising": audio + tables // 2}[phase]
    options = LOCAL if phase == "processing" else SERIAL
    disk.grow(room)
    with watched(out, reference.n_tracks):
        with Run(reference.source, out, *options) as run:
            assert run.finish() == 1, run.said
        errors = [line for line in run.said.splitlines() if line.startswith("corpusdiff: ")]
        assert len(errors) == 1, run.said
        assert "the disk is full" in errors[0]
        assert "run the same command again" in errors[0]
        assert "Traceback" not in run.said
        with pytest.raises(StoreError):
            corpusdiff.open(str(out))
        disk.grow(64 * 2**20)
        with Run(reference.source, out, *options) as run:
            assert run.finish() == 0, run.said
    same_corpus(out, reference.out, f"after a disk full when {phase}")


@pytest.mark.faults
def test_however_little_room_there_is(reference, tmp_path, disk):
    """The disk fills one page later each time: at whatever file it happens, one line says so."""
    for n_pages in range(1, 24):
        disk.grow(n_pages * 4096)
        with Run(reference.source, tmp_path / "out", *SERIAL, "--limit", "30") as run:
            code = run.finish()
        assert code in {0, 1}, run.said
        assert "Traceback" not in run.said, f"{n_pages} pages: {run.said}"
        assert code == 0 or "No space left on device" in run.said.splitlines()[-1], f"{n_pages} pages: {run.said}"
        disk.unmount()
        assert disk.mount(4096)


def test_no_room_for_temporary_files(reference, tmp_path, disk):
    """One line while planning; while processing the folder is named and no track is charged."""
    with Run(reference.source, tmp_path / "corpus", *SERIAL, "--spool", str(tmp_path / "out")) as run:
        assert run.finish() == 1, run.said
    assert "No space left on device" in run.said.splitlines()[-1]
    assert "Traceback" not in run.said
    streams = tmp_path / "out" / "streams"
    streams.touch()
    child = Child(RunOptions(spool=str(tmp_path / "out")))
    try:
        child.configure(load_job("asr").to_dict(), str(reference.source), 1 << 14, str(streams))
        with pytest.raises(OSError, match=f"no space for temporary files in {tmp_path / 'out'}"):
            child.track(Track(id="a", path="speaker0/000.wav"), 0, lambda seconds: None)
    finally:
        child.close()


def test_a_full_disk_under_the_event_log():
    """The log's own writes say what is wrong too."""
    with pytest.raises(StoreError, match="/dev/full: cannot be written .No space left on device"):
        EventLog(Path("/dev/full")).write("start")


@pytest.mark.parametrize("second", [SERIAL, pytest.param(LOCAL, marks=pytest.mark.faults)], ids=["serial", "local"])
def test_two_drivers_at_once(reference, tmp_path, second):
    """Both exit 0, there is one corpus, and from the first success on it can be opened."""
    out = tmp_path / "out"
    with (
        watched(out, reference.n_tracks),
        Run(reference.source, out, *LOCAL) as one,
        Run(reference.source, out, *second) as other,
    ):
        wait_for(lambda: one.ended or other.ended, "the first driver")
        while not (one.ended and other.ended):
            assert len(corpusdiff.open(str(out))) == reference.n_tracks
            time.sleep(0.01)
        assert (one.finish(), other.finish()) == (0, 0), one.said + other.said
    same_corpus(out, reference.out, "by two drivers")
    assert checked(out).orphans == ()
