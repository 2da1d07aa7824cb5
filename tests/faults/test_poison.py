"""Tracks that crash, hang, spin and devour; writers that build other bytes: each costs what it must and no more."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from fault_ledger import Ledger, audio_of, described, same_rows
from fault_runs import TESTS, Run, checked, kill, same_corpus, wait_for
from fault_table import record

from corpusdiff import process
from corpusdiff.isolate import Child, close_children
from corpusdiff.jobfile import load_job
from corpusdiff.manifests.base import Track
from corpusdiff.shards import RunOptions, ShardTask
from corpusdiff.store.generations import read_plan, read_record
from corpusdiff.store.objects import LocalObjects, open_objects
from corpusdiff.store.verify import verify

LOCAL = ("--workers", "2")
SERIAL = ("--cluster", "none")

#: The command, impatient: a track gets 6 CPU seconds rather than 30.
IMPATIENT = """
from dataclasses import replace

from corpusdiff import cli, request


class Impatient(request.RunRequest):
    @property
    def options(self):
        return replace(super().options, cpu_base_s=6.0)


if __name__ == "__main__":
    request.RunRequest = Impatient
    cli.main()
"""

#: What a poisoned track is charged with, by what is in its name: the reason, and words of the error.
CHARGES = {
    "segfault": ("crash", "killed by SIGSEGV, 2 times"),
    "hang": ("stalled", "no progress for 4 s, 2 times"),
    "spin": ("cpu", "more than 6 CPU seconds"),
    "fifty": ("memory", "memory limit of 4.0 GiB"),
}


@pytest.fixture
def poisoned(reference, tmp_path):
    """Some of the reference's recordings, and among them four poisoned ones."""
    source = tmp_path / "recordings"
    shutil.copytree(reference.source, source, ignore=lambda folder, names: [n for n in names if n[1] in "3456789"])
    for number, name in enumerate(CHARGES):
        shutil.copy(source / "speaker0" / "000.wav", source / f"speaker{number}" / f"010 {name}.wav")
    return source


@pytest.mark.faults_short
def test_poison_is_charged_to_its_tracks_alone(reference, poisoned, tmp_path):
    """The error names the signal or the limit, no worker dies, and what failed can be tried again."""
    out = tmp_path / "out"
    workers = set()
    with Run(poisoned, out, *LOCAL, "--stall", "4", hook="poison", program=("-c", IMPATIENT)) as run:
        while not run.ended:
            workers.update(run.workers())
            time.sleep(0.05)
        assert run.finish() == 3, run.said
    assert len(workers) == 2
    assert "its worker died" not in run.said
    checked(out)
    failed = {track: row for track, row in described(out).items() if row["status"] != "ok"}
    assert len(failed) == len(CHARGES), failed
    for track, row in failed.items():
        reason, words = CHARGES[Path(track).stem.removeprefix("010 ")]
        assert row["reason"] == reason
        assert words in row["error"]
    undisturbed = audio_of(reference.out)
    heard = audio_of(out)
    assert len(heard) == len(list(poisoned.rglob("*.*"))) - len(CHARGES)
    assert [track for track, x in heard.items() if not np.array_equal(x, undisturbed[track])] == []
    with Run(poisoned, out, *SERIAL, "--retry-failed") as run:
        assert run.finish() == 0, run.said
    checked(out)
    assert len(audio_of(out)) == len(heard) + len(CHARGES)
    record("a crashing, a hanging, a spinning and a 50 GB track", "local", len(CHARGES), 0, "")


@pytest.mark.faults
def test_a_child_that_stands_still_charges_no_track(reference, tmp_path):
    """A child stopped once is replaced after --stall seconds, and its track tried again."""
    ledger = Ledger(tmp_path)
    with Run(reference.source, tmp_path / "out", *SERIAL, "--stall", "3", hook="begun", env=ledger.env) as run:
        run.await_commits(3)
        for pid in run.children():
            kill(pid, signal.SIGSTOP)
        assert run.finish() == 0, run.said
    ledger.settle("SIGSTOP of a child", 1, run.out, reference.out)


def test_a_child_that_stands_still_between_two_shards(reference, tmp_path):
    """It is found when it is told of the next shard, and replaced."""
    job = load_job("asr").to_dict()
    child = Child(RunOptions(stall_s=2.0))
    track = Track(id="a", path="speaker0/000.wav")
    try:
        for name in ("first", "second"):
            (tmp_path / name).touch()
            child.configure(job, str(reference.source), 1 << 14, str(tmp_path / name))
            assert child.track(track, 0, lambda seconds: None).rows[0]["status"] == "ok"
            for found in psutil.Process().children():
                if "corpusdiff.child" in " ".join(found.cmdline()):
                    found.suspend()
    finally:
        child.close()
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes() != b""


@pytest.fixture
def plan(reference, tmp_path):
    """The plan of a run that was killed as soon as it had one, in `tmp_path/out`."""
    out = tmp_path / "out"
    with Run(reference.source, out, *SERIAL) as run:
        wait_for((out / "plan" / "0000" / "plan.json").exists, "the plan")
        kill(run.process.pid)
        run.finish()
        assert run.n_committed() == 0
    return read_plan(open_objects(str(out)), 0)


@pytest.fixture
def twin(plan, tmp_path, monkeypatch):
    """Runs a shard as a worker that reads other files for some tracks, with the given view of the store."""
    monkeypatch.setenv("CORPUSDIFF_TEST_HOOK", "hooks:other")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH")))))

    def run(shard, objects):
        monkeypatch.setattr(process, "open_objects", lambda out, *, write=True: objects)
        return process.run_shard(ShardTask(str(tmp_path / "out"), 0, plan.digest, shard), lambda progress: None)

    yield run
    close_children()


class Dying(LocalObjects):
    """The store of a worker that is killed when its objects are there and its record is not."""

    def create(self, key, data):
        """As ever, but for records."""
        if key.startswith("commits/"):
            raise ConnectionAbortedError("killed")
        return super().create(key, data)


class Overtaken(LocalObjects):
    """The store of a worker that is slow: before it writes its first object, another command has done all."""

    def __init__(self, root, command):
        super().__init__(root)
        self.command = command

    def create(self, key, data):
        """As ever, but late."""
        if "/c/" in key and self.command is not None:
            self.command, command = None, self.command
            command()
        return super().create(key, data)


def differs(track):
    """Whether hooks.other has another file read for a track."""
    return Path(track).stem.endswith("3")


def test_no_row_describes_what_a_dead_twin_left(reference, plan, twin, tmp_path):
    """Other bytes without a record: their shards go to the next attempt row; equal bytes are adopted."""
    out = tmp_path / "out"
    for shard in range(plan.n_shards):
        with pytest.raises(ConnectionAbortedError):
            twin(shard, Dying(out))
    with Run(reference.source, out, *LOCAL) as run:
        assert run.finish() == 0, run.said
    objects = open_objects(str(out))
    records = [read_record(objects, plan, shard) for shard in range(plan.n_shards)]
    attempts = [record.row // plan.n_shards for record in records]
    assert attempts == [int(any(differs(row["id"]) for row in record.rows)) for record in records]
    assert set(attempts) == {0, 1}
    same_rows(out, reference.out)
    n_orphans = len(checked(out).orphans)
    assert n_orphans == sum(attempts)
    record("a dead twin that built other bytes", "local", plan.n_shards, 0, f"{n_orphans} orphans")
    assert verify(str(out), gc=True).ok
    assert checked(out).orphans == ()
    same_rows(out, reference.out)


def test_a_slow_twin_changes_nothing(reference, plan, twin, tmp_path):
    """Other bytes after the record: the record that is there wins, and the report says that they differed."""
    out = tmp_path / "out"

    def command():
        with Run(reference.source, out, *SERIAL) as run:
            assert run.finish() == 0, run.said

    found = read_record(open_objects(str(reference.out)), plan, 6).rows
    assert any(differs(row["id"]) for row in found)
    report = twin(6, Overtaken(out, command))
    assert (report.differing, report.duplicate, report.attempt) == (True, False, 0)
    assert len(checked(out).orphans) == 1
    same_corpus(out, reference.out, "after a slow twin")
    record("a slow twin that built other bytes", "local", 1, 0, "1 orphans")


@pytest.mark.faults_short
def test_drivers_that_differ_never_mix(reference, tmp_path):
    """Two at once, one of which reads other files: every row has the audio of the driver that wrote it."""
    other, out = tmp_path / "other", tmp_path / "out"
    with Run(reference.source, other, *SERIAL, hook="other") as run:
        assert run.finish() == 0, run.said
    with Run(reference.source, out, *LOCAL) as one, Run(reference.source, out, *SERIAL, hook="other") as two:
        assert (one.finish(), two.finish()) == (0, 0), one.said + two.said
    checked(out)
    rows, heard = described(out), audio_of(out)
    sides = [(described(folder), audio_of(folder)) for folder in (reference.out, other)]
    for track, row in rows.items():
        fits = [row == side[track] and np.array_equal(heard[track], audio[track]) for side, audio in sides]
        assert any(fits), track
        assert all(fits) == (not differs(track)), track
    record("two drivers of which one builds other bytes", "local", 1, 0, "")
