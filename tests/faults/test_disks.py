"""Disks that become read-only, fail or go away under a run: one clear error or none, and no track is charged."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from corpus_writers import write
from fault_disks import block_disk
from fault_ledger import Ledger
from fault_runs import Run, checked, kill, wait_for, watched
from needs import needs

from corpusdiff import process
from corpusdiff.isolate import close_children
from corpusdiff.manifests.base import Track
from corpusdiff.shards import ShardTask
from corpusdiff.source import open_source
from corpusdiff.store.commit import committed
from corpusdiff.store.generations import read_plan, read_record
from corpusdiff.store.objects import open_objects

LOCAL = ("--workers", "2")
SERIAL = ("--cluster", "none")


@pytest.fixture
def ledger(tmp_path):
    """What a test counts and records."""
    return Ledger(tmp_path)


def errors_of(run):
    """The lines in which a run says why it ended."""
    assert "Traceback" not in run.said, run.said
    return [line for line in run.said.splitlines() if line.startswith("corpusdiff: ")]


@pytest.mark.parametrize(
    ("after", "options"),
    [
        pytest.param(3, LOCAL, marks=pytest.mark.faults_short),
        pytest.param(0, SERIAL, marks=pytest.mark.faults),
        pytest.param(9, SERIAL, marks=pytest.mark.faults),
    ],
)
@needs("mkfs.ext4", "e2fsck", root=True)
def test_a_disk_that_becomes_read_only(reference, tmp_path, ledger, after, options):
    """One line says so and exit code 1; what was committed is still there when it is repaired, and the run goes on."""
    out = tmp_path / "out"
    with block_disk(out, tmp_path / "image") as disk:
        if disk is None:
            pytest.skip("no loop devices here")
        with Run(reference.source, out, *options, hook="slow", env=ledger.env) as run:
            wait_for(lambda: (out / "plan" / "0000" / "plan.json").exists() or run.ended, "the plan")
            run.await_commits(after)
            disk.fail_writes()
            n_committed = run.n_committed()
            assert run.finish() == 1, run.said
        (error,) = errors_of(run)
        assert "Read-only file system" in error
        with Run(reference.source, out, *options, hook="begun", env=ledger.env) as run:
            assert run.finish() == 1, run.said
        (error,) = errors_of(run)
        assert "Read-only file system" in error
        disk.repair()
        assert run.n_committed() == n_committed, "a record that was seen is durable"
        with (
            watched(out, reference.n_tracks),
            Run(reference.source, out, *options, hook="begun", env=ledger.env) as run,
        ):
            assert run.finish() == 0, run.said
        ledger.settle("disk of OUT fails and is read-only", 1, out, reference.out)


def rooted(reference, tmp_path, ledger, source):
    """The undisturbed corpus of a copy of the recordings elsewhere: the plan names its source."""
    with Run(source, tmp_path / "reference", *SERIAL) as run:
        assert run.finish() == 0, run.said
    return tmp_path / "reference"


@pytest.mark.parametrize(
    "options",
    [pytest.param(LOCAL, marks=pytest.mark.faults_short), pytest.param(SERIAL, marks=pytest.mark.faults)],
    ids=["local", "serial"],
)
def test_a_source_that_is_unmounted_for_a_while(reference, tmp_path, ledger, options):
    """Its mount point is empty, then it is back: nothing is charged with it, and the run goes on by itself."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    with bound(reference.source, source) as mounting:
        undisturbed = rooted(reference, tmp_path, ledger, source)
        with Run(source, out, *options, hook="begun", env=ledger.env) as run:
            run.await_commits(3)
            mounting("umount", "-l", str(source))
            wait_for(lambda: "is empty, but" in run.said or "the folder of" in run.said or run.ended, "the loss")
            mounting("mount", "--bind", str(reference.source), str(source))
            assert run.finish() == 0, run.said
            assert "is empty, but" in run.said
    ledger.settle("source unmounted for a while", 1, out, undisturbed)


class bound:  # noqa: N801  # used as a context manager only
    """A folder seen at another place, until it is unmounted."""

    def __init__(self, what, where):
        self._command = ("mount", "--bind", str(what), str(where))
        self._where = str(where)

    def __enter__(self):
        if subprocess.run(self._command, capture_output=True, check=False).returncode != 0:
            pytest.skip("needs the right to mount")
        return lambda *command: subprocess.run(command, check=True)

    def __exit__(self, *reason):
        subprocess.run(["umount", "-l", self._where], check=False, capture_output=True)


@pytest.mark.faults
def test_a_source_folder_that_is_moved_away_for_a_while(reference, tmp_path, ledger):
    """The folder itself is gone, then it is back."""
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(reference.source, source)
    undisturbed = rooted(reference, tmp_path, ledger, source)
    with Run(source, out, *LOCAL, hook="slow", env=ledger.env) as run:
        run.await_commits(3)
        source.rename(tmp_path / "elsewhere")
        wait_for(lambda: "the folder of the source is gone" in run.said or run.ended, "the loss")
        (tmp_path / "elsewhere").rename(source)
        assert run.finish() == 0, run.said
    ledger.settle("source folder gone for a while", 1, out, undisturbed)


@pytest.mark.parametrize(
    "options",
    [pytest.param(LOCAL, marks=pytest.mark.faults_short), pytest.param(SERIAL, marks=pytest.mark.faults)],
    ids=["local", "serial"],
)
@needs("mkfs.ext4", root=True)
def test_a_source_disk_with_read_errors_for_a_while(reference, tmp_path, ledger, options):
    """EIO from a real block device: no track is charged, and the run goes on when the disk can be read again."""
    source, out = tmp_path / "source", tmp_path / "out"
    with block_disk(source, tmp_path / "image", reference.source) as disk:
        if disk is None:
            pytest.skip("no loop devices here")
        undisturbed = rooted(reference, tmp_path, ledger, source)
        with Run(source, out, *options, hook="begun", env=ledger.env) as run:
            run.await_commits(3)
            disk.fail_reads()
            wait_for(lambda: "Input/output error" in run.said or run.ended, "an error")
            disk.heal_reads()
            assert run.finish() == 0, run.said
        assert "Input/output error" in run.said
    ledger.settle("read errors of the source disk", 1, out, undisturbed)


@needs("mkfs.ext4", root=True)
@pytest.mark.faults
def test_a_source_disk_with_read_errors_while_planning(reference, tmp_path, ledger):
    """One line names the file; nothing is planned from headers that could not be read."""
    source, out = tmp_path / "source", tmp_path / "out"
    with block_disk(source, tmp_path / "image", reference.source) as disk:
        if disk is None:
            pytest.skip("no loop devices here")
        undisturbed = rooted(reference, tmp_path, ledger, source)
        disk.fail_reads()
        with Run(source, out, *SERIAL, hook="begun", env=ledger.env) as run:
            assert run.finish() in {1, 2}, run.said
        (error,) = errors_of(run)
        assert "Input/output error" in error, error
        assert str(source) in error
        assert not (out / "plan").exists()
        disk.heal_reads()
        with Run(source, out, *SERIAL, hook="begun", env=ledger.env) as run:
            assert run.finish() == 0, run.said
    ledger.settle("read errors of the source disk while planning", 1, out, undisturbed)


def write_some_formats(folder):
    """Five seconds of noise in files that libsndfile decodes, and in one that FFmpeg's libraries do."""
    x = 0.1 * np.random.default_rng(1).standard_normal((1, 5 * 16000))
    for encoding in ("wav16", "aiff", "flac", "mp3", "vorbis", "aac"):
        write(folder / f"x.{encoding}", x, 16000, encoding)
    return folder


@needs("mkfs.ext4", root=True)
def test_no_decoder_takes_a_failing_disk_for_a_damaged_file(tmp_path):
    """Wherever in the file reading fails, it is an OSError, and never a shorter recording."""
    with block_disk(tmp_path / "disk", tmp_path / "image", write_some_formats(tmp_path / "files")) as disk:
        if disk is None:
            pytest.skip("no loop devices here")
        for path in sorted((tmp_path / "disk").glob("x.*")):
            track = Track(id=path.name, path=str(path))
            for within in (None, path):
                disk.fail_reads(within)
                with pytest.raises(OSError, match=f"Input/output error: '{path}'"):
                    decoded(track)
                disk.heal_reads()
            assert decoded(track) >= 5 * 16000


def decoded(track):
    """Number of samples."""
    with open_source(track) as reader:
        return sum(x.shape[1] for x in reader.blocks())


@pytest.fixture
def planned(reference, tmp_path):
    """Recordings of our own, and a corpus of them with a plan and nothing else."""
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(reference.source, source)
    with Run(source, out, *SERIAL, hook="crawl") as run:
        wait_for(lambda: (out / "plan" / "0000" / "plan.json").exists() or run.ended, "the plan")
        kill(run.process.pid)
        run.finish()
    assert run.n_committed() == 0
    yield source, out
    close_children()


def one_shard(out, shard):
    """Run a shard here; the rows that it committed."""
    objects = open_objects(str(out))
    plan = read_plan(objects, 0)
    process.run_shard(ShardTask(str(out), 0, plan.digest, shard), lambda progress: None)
    return read_record(objects, plan, shard).rows


def test_a_file_that_was_taken_away_is_charged_and_a_source_that_is_gone_is_not(planned, tmp_path):
    """What is left of the folder tells them apart; nothing is committed while the source is out of reach."""
    source, out = planned
    objects = open_objects(str(out))
    source.rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="the folder of the source is gone: .*mount it again"):
        one_shard(out, 0)
    source.mkdir()
    with pytest.raises(OSError, match="is empty, but .* was there when the run was planned: mount what belongs there"):
        one_shard(out, 0)
    (tmp_path / "elsewhere" / "speaker1").rename(source / "speaker1")
    (source / "speaker0").mkdir()  # as a mount point inside of the source
    with pytest.raises(OSError, match="speaker0 is empty, but"):
        one_shard(out, 0)
    assert not committed(objects, read_plan(objects, 0))
    (source / "speaker0").rmdir()
    rows = one_shard(out, 0)
    assert {(row["status"], row["reason"]) for row in rows} == {("failed", "missing")}
    assert checked(out).pending == read_plan(objects, 0).n_shards - 1
