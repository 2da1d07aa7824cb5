"""Kill -9, signals, a full disk and a second driver at any moment: the same command ends with the same bytes."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from fault_disks import Disk
from fault_ledger import Ledger
from fault_runs import Run, checked, kill, strike, wait_for, watched

import corpusdiff
from corpusdiff.errors import StoreError
from corpusdiff.events import EventLog
from corpusdiff.isolate import Child
from corpusdiff.jobfile import load_job
from corpusdiff.manifests.base import Track
from corpusdiff.shards import RunOptions

LOCAL = ("--workers", "2")
SERIAL = ("--cluster", "none")


@pytest.fixture
def ledger(tmp_path):
    """What a test counts and records."""
    return Ledger(tmp_path)


def run_to_the_end(reference, out, ledger, targets, seed):
    """Give the command until it exits 0, killing one process of each kind of `targets` on the way."""
    rng = random.Random(seed)
    left = list(targets)
    story = [f"seed {seed}"]
    with watched(out, reference.n_tracks):
        code = None
        while code != 0:
            with Run(reference.source, out, *LOCAL, hook="begun", env=ledger.env) as run:
                while left and not run.ended:
                    target = left.pop(0)
                    struck = strike(run, target, rng, reference.n_shards)
                    story.append(f"{target} {'killed' if struck else 'missed'} with {run.n_committed()} commits")
                code = run.finish()
            story.append(f"exit code {code}")
            expected = {0, -signal.SIGKILL} if "driver" in targets else {0}
            assert code in expected, f"{story}: {run.said}"
            assert len(story) < 20, story
    n_struck = sum("killed" in line for line in story)
    ledger.settle(f"kill -9 of {' and '.join(sorted(targets))}", n_struck, out, reference.out, str(story))
    assert n_struck, story


@pytest.mark.parametrize(
    ("seed", "targets"),
    [
        pytest.param(1, ("worker", "child"), marks=pytest.mark.faults_short),
        pytest.param(2, ("child", "driver"), marks=pytest.mark.faults),
        pytest.param(3, ("driver", "worker"), marks=pytest.mark.faults),
        pytest.param(4, ("driver", "driver"), marks=pytest.mark.faults),
    ],
)
def test_eight_kills_at_random_moments(reference, tmp_path, ledger, seed, targets):
    """Of a worker, a child, the driver: the corpus is that of a run in peace, and never seen in part."""
    run_to_the_end(reference, tmp_path / "out", ledger, targets, seed)


@pytest.mark.faults
@pytest.mark.parametrize("target", ["worker", "child", "driver"])
@pytest.mark.parametrize("seed", range(100, 110))
def test_thirty_kills_at_random_moments(reference, tmp_path, ledger, seed, target):
    """The same, one kill in each run."""
    run_to_the_end(reference, tmp_path / "out", ledger, (target,), seed)


@pytest.mark.parametrize("delay_s", [0.0, pytest.param(0.3, marks=pytest.mark.faults)])
def test_a_child_killed_while_it_reads_headers_changes_no_plan(reference, tmp_path, ledger, delay_s):
    """A header that nobody could read would change the shards, and with them the bytes."""
    with Run(reference.source, tmp_path / "out", *SERIAL, hook="begun", env=ledger.env) as run:
        wait_for(lambda: run.children() or run.ended, "a child")
        time.sleep(delay_s)
        for pid in run.children():
            kill(pid)
        assert run.finish() == 0, run.said
    ledger.settle("kill -9 of the child that reads headers", 1, run.out, reference.out)


@pytest.mark.faults_short
def test_a_worker_killed_as_it_starts(reference, tmp_path, ledger):
    """The workers are started again; nobody has to give the command twice."""
    with Run(reference.source, tmp_path / "out", *LOCAL, hook="begun", env=ledger.env) as run:
        wait_for(lambda: run.workers() or run.ended, "a worker")
        kill(run.workers()[0])
        assert run.finish() == 0, run.said
        assert "Traceback" not in run.said
    ledger.settle("kill -9 of a worker that starts", 1, run.out, reference.out)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.faults_short),
        pytest.param(signal.SIGTERM, marks=pytest.mark.faults),
    ],
)
def test_a_signal_stops_and_the_same_command_goes_on(reference, tmp_path, ledger, number):
    """At once while planning, after the shards that run while processing; exit code 130; nobody stays behind."""
    out = tmp_path / "out"
    with watched(out, reference.n_tracks):
        with Run(reference.source, out, *LOCAL, hook="slow", env=ledger.env) as run:
            wait_for(run.children, "the child that reads headers")
            run.signal(number)
            assert run.finish() == 130, run.said
            assert "stopped at once" in run.said
        with Run(reference.source, out, *LOCAL, hook="slow", env=ledger.env) as run:
            run.await_commits(2)
            run.signal(number)
            assert run.finish() == 130, run.said
            assert "finishing the shards that run" in run.said
            assert "Traceback" not in run.said
        assert 2 <= reference.n_shards - checked(out).pending < reference.n_shards
        with pytest.raises(StoreError, match="run the same command again"):
            corpusdiff.open(str(out))
        with Run(reference.source, out, *LOCAL, hook="begun", env=ledger.env) as run:
            assert run.finish() == 0, run.said
    ledger.settle(f"{number.name} of the whole run", 2, out, reference.out)


@pytest.mark.faults
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
def test_signals_at_random_moments(reference, tmp_path, ledger, seed):
    """One or two of them, from start to end: exit code 130, or 0 when all was done; nothing is left or half."""
    rng = random.Random(seed)
    number = rng.choice([signal.SIGINT, signal.SIGTERM])
    with watched(tmp_path / "out", reference.n_tracks):
        with Run(reference.source, tmp_path / "out", *LOCAL, hook="begun", env=ledger.env) as run:
            wait_for(lambda: run.children() or run.ended, "the child that reads headers")
            time.sleep(rng.uniform(0.0, 4.0))
            for _ in range(rng.choice([1, 2])):
                if not run.ended:
                    run.signal(number)
                time.sleep(rng.uniform(0.0, 0.5))
            # a signal to an interpreter that is ending ends it: shells call that 130 and 143
            assert run.finish() in {0, 130, -number}, f"seed {seed}: {run.said}"
        with Run(reference.source, run.out, *LOCAL, hook="begun", env=ledger.env) as run:
            assert run.finish() == 0, f"seed {seed}: {run.said}"
    ledger.settle("signals to the whole run at random moments", 1, run.out, reference.out, f"seed {seed}")


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


@pytest.mark.parametrize(
    "phase",
    [
        "planning",
        pytest.param("processing", marks=pytest.mark.faults_short),
        pytest.param("finalising", marks=pytest.mark.faults),
    ],
)
def test_a_full_disk_stops_the_run_and_is_named(reference, tmp_path, disk, ledger, phase):
    """One line says so, exit code 1, nothing half is seen; with more room the same command finishes."""
    out = tmp_path / "out"
    tables = pages(reference.out / "data.zarr" / "tracks")
    audio = pages(reference.out) - tables
    room = {"planning": 2 * 4096, "processing": audio // 2, "finalising": audio + tables // 2}[phase]
    options = LOCAL if phase == "processing" else SERIAL
    disk.grow(room)
    with watched(out, reference.n_tracks):
        with Run(reference.source, out, *options, hook="begun", env=ledger.env) as run:
            assert run.finish() == 1, run.said
        errors = [line for line in run.said.splitlines() if line.startswith("corpusdiff: ")]
        assert len(errors) == 1, run.said
        assert "the disk is full" in errors[0]
        assert "run the same command again" in errors[0]
        assert "Traceback" not in run.said
        with pytest.raises(StoreError):
            corpusdiff.open(str(out))
        disk.grow(64 * 2**20)
        with Run(reference.source, out, *options, hook="begun", env=ledger.env) as run:
            assert run.finish() == 0, run.said
    ledger.settle("full disk", 1, out, reference.out, phase)


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


@pytest.mark.parametrize(
    "second",
    [pytest.param(SERIAL, marks=pytest.mark.faults_short), pytest.param(LOCAL, marks=pytest.mark.faults)],
    ids=["serial", "local"],
)
def test_two_drivers_at_once(reference, tmp_path, ledger, second):
    """Both exit 0, there is one corpus, and from the first success on it can be opened."""
    out = tmp_path / "out"
    with (
        watched(out, reference.n_tracks),
        Run(reference.source, out, *LOCAL, hook="begun", env=ledger.env) as one,
        Run(reference.source, out, *second, hook="begun", env=ledger.env) as other,
    ):
        wait_for(lambda: one.ended or other.ended, "the first driver")
        while not (one.ended and other.ended):
            assert len(corpusdiff.open(str(out))) == reference.n_tracks
            time.sleep(0.01)
        assert (one.finish(), other.finish()) == (0, 0), one.said + other.said
    ledger.settle("two drivers at once", 1, out, reference.out)
    assert checked(out).orphans == ()
