"""Processes that stand still, are killed by the kernel, disagree about the time, or race each other to the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from fault_ledger import Ledger
from fault_runs import TESTS, Run, checked, kill, process_table, same_corpus, wait_for, watched
from needs import needs
from outside_cluster import OutsideCluster

import corpusdiff

LOCAL = ("--workers", "2")
SERIAL = ("--cluster", "none")

#: The command, whose scheduler misses a worker after five seconds rather than 120.
ATTENTIVE = """
from corpusdiff import cli
from corpusdiff.cluster import settings

if __name__ == "__main__":
    settings.SETTINGS["distributed.scheduler.worker-ttl"] = "5s"
    cli.main()
"""

#: The same of a scheduler that is none of ours.
ATTENTIVE_ENV = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s"}


@pytest.fixture
def ledger(tmp_path):
    """What a test counts and records."""
    return Ledger(tmp_path)


def finish(reference, out, ledger, *options, **given):
    """Give the command until it exits 0; how often."""
    for times in range(1, 10):
        with Run(reference.source, out, *options, hook="begun", env=ledger.env, **given) as run:
            code = run.finish()
        if code == 0:
            return times
        assert code in {1, -signal.SIGKILL}, run.said
    raise AssertionError(run.said)


@pytest.mark.faults_short
def test_a_worker_that_stands_still(reference, tmp_path, ledger):
    """It is missed, its shard goes to another, and the run ends as if nothing had been."""
    out = tmp_path / "out"
    given = {"hook": "slow", "env": ledger.env, "program": ("-c", ATTENTIVE)}
    with Run(reference.source, out, *LOCAL, **given) as run:
        run.await_commits(3)
        stopped = run.workers()[0]
        assert kill(stopped, signal.SIGSTOP)
        assert run.finish() == 0, run.said
        assert "Traceback" not in run.said
    ledger.settle("SIGSTOP of a worker", 1, out, reference.out)


@pytest.mark.faults
def test_a_worker_that_wakes_up_again(reference, tmp_path):
    """Its shard was given to another meanwhile: what it then commits is there already, and nothing is there twice."""
    for number in range(5):  # it may have had no shard at that moment
        folder = tmp_path / str(number)
        folder.mkdir()
        ledger = Ledger(folder, "tcp://")
        put_to_sleep_and_wake(reference, folder, ledger)
        if ledger.n_again:
            break
    assert ledger.n_again
    ledger.settle("SIGSTOP of a worker, SIGCONT when its shard had gone to another", 1, folder / "out", reference.out)
    assert checked(folder / "out").orphans == ()


def put_to_sleep_and_wake(reference, folder, ledger):
    """A run in which a worker, with its nanny and its child, stands still until another has begun its shard."""
    out = folder / "out"
    env = ledger.env | ATTENTIVE_ENV | {"CORPUSDIFF_TEST_HOOK": "hooks:slow", "PYTHONPATH": str(TESTS)}
    with (
        OutsideCluster(folder / "dask", env=env) as cluster,
        watched(out, reference.n_tracks),
        Run(reference.source, out, "--cluster", cluster.address) as run,
    ):
        run.await_commits(2)
        nanny = cluster.pids("nanny")[0]
        sleepers = [process.pid for process in process_table() if process.session == nanny]
        assert len(sleepers) >= 3, "a nanny, its worker and the child"
        for pid in sleepers:
            kill(pid, signal.SIGSTOP)
        wait_for(lambda: ledger.n_again or run.ended, "the loss of its shard")
        for pid in sleepers:
            kill(pid, signal.SIGCONT)
        assert run.finish() == 0, run.said


@contextmanager
def memory_cgroup(name, n_bytes):
    """A group of processes that may take so much memory together; None where this machine does not allow it."""
    for folder, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = folder / f"corpusdiff-test-{os.getpid()}-{name}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            break
        group.rmdir()
    else:
        yield None
        return
    try:
        (group / limit).write_text(str(n_bytes))
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


#: The command in a memory cgroup that the environment names.
CONFINED = """
import os

from corpusdiff import cli

if __name__ == "__main__":
    with open(os.environ["CORPUSDIFF_TEST_CGROUP"], "w") as file:
        file.write(str(os.getpid()))
    cli.main()
"""


@pytest.mark.faults_short
@needs(root=True)
def test_the_kernel_runs_out_of_memory_because_of_a_track(reference, tmp_path, ledger):
    """It kills the child that takes it and no other process; the track is tried again."""
    out = tmp_path / "out"
    workers = set()
    with memory_cgroup("track", 2 * 2**30) as group:
        if group is None:
            pytest.skip("no memory cgroups here")
        env = ledger.env | {"CORPUSDIFF_TEST_CGROUP": str(group)}
        with Run(reference.source, out, *LOCAL, hook="devour_once", program=("-c", CONFINED), env=env) as run:
            while not run.ended:
                workers.update(run.workers())
                time.sleep(0.02)
            assert run.finish() == 0, run.said
    assert len(workers) == 2
    assert ledger.n_again == 1, "the track was killed once"
    ledger.settle("out of memory (cgroup): the kernel kills the child", 1, out, reference.out)


#: A neighbour that takes memory until the process that it is given is gone.
NEIGHBOUR = """
import os
import sys
import time

with open(sys.argv[1], "w") as file:
    file.write(str(os.getpid()))
taken = []
while os.path.exists(f"/proc/{sys.argv[2]}/fd/0"):
    taken.append(bytearray(2**24))
    time.sleep(0.002)
"""


@pytest.mark.faults
@needs(root=True)
def test_the_kernel_runs_out_of_memory_because_of_a_neighbour_and_takes_a_worker(reference, tmp_path, ledger):
    """As any other death of a worker: its shard is done again, no track is charged."""
    out = tmp_path / "out"
    with memory_cgroup("worker", 2 * 2**30) as group:
        if group is None:
            pytest.skip("no memory cgroups here")
        env = ledger.env | {"CORPUSDIFF_TEST_CGROUP": str(group)}
        with Run(reference.source, out, *LOCAL, hook="slow", program=("-c", CONFINED), env=env) as run:
            run.await_commits(2)
            victim = run.workers()[0]
            for pid in run.children():  # which the kernel would take first
                Path(f"/proc/{pid}/oom_score_adj").write_text("0")
            Path(f"/proc/{victim}/oom_score_adj").write_text("1000")
            subprocess.run([sys.executable, "-c", NEIGHBOUR, str(group), str(victim)], check=True)
            assert victim not in run.workers()
            assert run.finish() == 0, run.said
    assert "its worker died" in run.said
    ledger.settle("out of memory (cgroup): the kernel kills a worker", 1, out, reference.out)


@pytest.mark.faults
def test_every_process_of_a_local_run_is_killed_once(reference, tmp_path, ledger):
    """Whatever a run consists of (workers, children, the helpers of Python itself): the same command ends well."""
    out = tmp_path / "out"
    killed = set()
    rng = random.Random(7)
    code = None
    while code != 0:
        with Run(reference.source, out, *LOCAL, hook="slow", env=ledger.env) as run:
            run.await_commits(1)
            while not run.ended:
                left = [p for p in process_table() if p.session == run.process.pid and kind(p, run) not in killed]
                if left:
                    victim = rng.choice(left)
                    killed.add(kind(victim, run))
                    kill(victim.pid)
                time.sleep(0.3)
            code = run.finish()
        assert code in {0, -signal.SIGKILL}, run.said
    assert {"driver", "worker", "child"} <= killed
    ledger.settle(
        f"kill -9 of each process of a run once: {', '.join(sorted(killed))}", len(killed), out, reference.out
    )


def kind(process, run):
    """What a process of a run is."""
    if process.pid == run.process.pid:
        return "driver"
    for mark, name in (
        ("resource_tracker", "resource tracker"),
        ("corpusdiff.child", "child"),
        ("spawn_main", "worker"),
    ):
        if mark in process.line:
            return name
    return process.line.split()[0] if process.line else "unnamed"


#: How the clock is wrong: option of faketime, by what is said of it.
SKEWS = {"two days ahead": "+2d", "two days behind": "-2d", "at double speed": "+0 x2"}


def skewed(offset):
    """Variables of processes whose clocks are wrong."""
    library = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    return {"LD_PRELOAD": library, "FAKETIME": offset}


@pytest.mark.parametrize(
    "skew",
    [
        pytest.param("two days ahead", marks=pytest.mark.faults_short),
        pytest.param("two days behind", marks=pytest.mark.faults),
        pytest.param("at double speed", marks=pytest.mark.faults),
    ],
)
@needs("faketime")
def test_a_driver_whose_clock_is_wrong(reference, tmp_path, ledger, skew):
    """It and its workers finish, and the corpus has the same bytes."""
    out = tmp_path / "out"
    with Run(reference.source, out, *LOCAL, hook="begun", env=ledger.env | skewed(SKEWS[skew])) as run:
        assert run.finish() == 0, run.said
    ledger.settle("clock skew: driver and workers", 1, out, reference.out, skew)


@pytest.mark.faults
@needs("faketime")
@pytest.mark.parametrize("skew", SKEWS)
def test_workers_whose_clock_is_wrong(reference, tmp_path, skew):
    """They are a day or more away from their driver; one of them is killed on the way."""
    ledger = Ledger(tmp_path, "tcp://")
    out = tmp_path / "out"
    env = ledger.env | skewed(SKEWS[skew]) | {"CORPUSDIFF_TEST_HOOK": "hooks:slow", "PYTHONPATH": str(TESTS)}
    with (
        OutsideCluster(tmp_path / "dask", env=env) as cluster,
        Run(reference.source, out, "--cluster", cluster.address) as run,
    ):
        run.await_commits(3)
        for pid in cluster.pids("worker")[:1]:
            kill(pid)
        assert run.finish() == 0, run.said
    ledger.settle("clock skew: scheduler and workers, and kill -9 of one", 1, out, reference.out, skew)


@pytest.mark.parametrize(
    "n_tables",
    [
        pytest.param(0, marks=pytest.mark.faults_short),
        pytest.param(1, marks=pytest.mark.faults),
        pytest.param(20, marks=pytest.mark.faults),
    ],
)
def test_the_driver_is_killed_while_it_finalises(reference, tmp_path, ledger, n_tables):
    """After so many objects of the tables: there is no corpus yet, and the same command makes the same one."""
    out = tmp_path / "out"
    tracks = out / "data.zarr" / "tracks"
    with watched(out, reference.n_tracks):
        with Run(reference.source, out, *SERIAL, hook="begun", env=ledger.env) as run:
            wait_for(lambda: run.n_committed() == reference.n_shards or run.ended, "all commits")
            wait_for(lambda: sum(path.is_file() for path in tracks.rglob("*")) >= n_tables or run.ended, "the tables")
            kill(run.process.pid)
            struck = run.finish() == -signal.SIGKILL
        assert finish(reference, out, ledger, *SERIAL) == 1
    ledger.settle("kill -9 of the driver while it finalises", int(struck), out, reference.out)


@pytest.mark.faults
def test_two_first_drivers_race_for_the_plan(reference, tmp_path, ledger):
    """Started at once on an OUT that is not there: one plan, one corpus, both exit 0."""
    out = tmp_path / "out"
    given = {"hook": "begun", "env": ledger.env}
    with (
        watched(out, reference.n_tracks),
        Run(reference.source, out, *SERIAL, **given) as one,
        Run(reference.source, out, *SERIAL, **given) as two,
    ):
        assert (one.finish(), two.finish()) == (0, 0), one.said + two.said
    assert len(corpusdiff.open(str(out))) == reference.n_tracks
    ledger.settle("two first drivers at once", 1, out, reference.out)
    same_corpus(out, reference.out, "by two first drivers")
