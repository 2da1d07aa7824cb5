"""Runs on a real Slurm of four nodes on this machine, whose jobs, nodes and drivers are taken away."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from fault_ledger import Ledger
from fault_runs import Run, kill, make_recordings, wait_for
from needs import needs
from slurm_here import PROGRAMS, slurm_here

from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.errors import UsageError

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "slurm"

on_slurm = needs(*PROGRAMS, root=True)


class Ground:
    """A Slurm, recordings, and the corpus that the serial runner makes of them."""

    def __init__(self, slurm, folder):
        self.slurm = slurm
        self.source = make_recordings(folder / "recordings")
        self.few = make_recordings(folder / "few", 20)
        self.reference = self.serial(self.source, folder / "reference")
        self.few_reference = self.serial(self.few, folder / "few-reference", "--shard-s", "1")

    @staticmethod
    def serial(source, out, *options):
        """What nothing disturbs."""
        with Run(source, out, "--cluster", "none", *options) as run:
            assert run.finish() == 0, run.said
        return out


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """All of it, for every test of this module."""
    with slurm_here() as slurm:
        yield Ground(slurm, tmp_path_factory.mktemp("slurm"))


@pytest.fixture
def place(ground, tmp_path, monkeypatch):
    """A folder to work in, with nothing in Slurm's queue before and after."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spool").mkdir()
    assert ground.slurm.queue() == []
    yield tmp_path
    ground.slurm.cancel_all()


@pytest.fixture
def command(ground, place):
    """The command on Slurm, its tracks counted."""

    def start(*options, hook="slow", source=None, workers=3):
        given = ("--cluster", "slurm", "--workers", str(workers), "--spool", str(place / "spool"))
        env = ground.slurm.env | start.ledger.env
        return Run(source or ground.source, place / "out", *given, *options, hook=hook, env=env)

    start.ledger = Ledger(place, "slurm")
    return start


def joined(run, n):
    """Wait until that many shards are committed, the run being well."""
    run.await_commits(n)
    assert not run.ended, run.said


@on_slurm
@pytest.mark.faults_short
def test_an_unknown_partition(ground, command):
    """Exit 2 and one line that has what Slurm said, and no job."""
    with command("--partition", "nowhere") as run:
        assert run.finish() == 2, run.said
    (line,) = [line for line in run.said.splitlines() if line.startswith("corpusdiff: ")]
    assert "invalid partition specified: nowhere" in line
    assert "--partition" in line
    assert "Traceback" not in run.said
    assert ground.slurm.queue() == []


@on_slurm
@pytest.mark.faults_short
def test_jobs_that_wait(ground, place, command):
    """Without a worker in the time given, the run ends and says what the jobs wait for; none is left."""
    busy = place / "busy.sh"
    busy.write_text("#!/bin/sh\nsleep 600\n")
    ground.slurm.command("sbatch", "--exclusive", "--nodes=4", "--output=/dev/null", str(busy))
    with command("--wait-workers", "4") as run:
        assert run.finish() == 1, run.said
    assert re.search(r"no worker came in 4 s; Slurm has of our jobs: \d PENDING \(\w+\)", run.said), run.said
    assert len(ground.slurm.queue()) == 1


@on_slurm
@pytest.mark.faults_short
def test_cancelled_jobs_are_replaced(ground, place, command):
    """All jobs cancelled at once: others take their place, through encrypted links, and the corpus is the same."""
    tls = place / "tls"
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-m", "corpusdiff.cli", "certificates", str(tls)) == 0
    with command("--tls", str(tls), "--listen", "127.0.0.1") as run:
        joined(run, 3)
        jobs = ground.slurm.queue()
        assert len(jobs) == 3
        ground.slurm.command("scancel", *jobs)
        assert run.finish() == 0, run.said
    assert "scheduler at tls://127.0.0.1:" in run.said
    assert "Traceback" not in run.said
    assert ground.slurm.queue() == []
    command.ledger.settle("job cancelled in Slurm", 3, run.out, ground.reference)


@on_slurm
@pytest.mark.faults_short
def test_the_driver_as_a_job(ground, place, command):
    """The batch script of deploy/ submits its workers itself, is stopped before its time, and goes on."""
    ran = submit_driver(ground, place, command)
    log = place / f"corpusdiff-{ran}.log"
    commits = place / "out" / "commits"
    wait_for(lambda: len(list(commits.glob("*/*"))) >= 3 or ran not in ground.slurm.queue(), "commits")
    assert ran in ground.slurm.queue(), log.read_text()
    ground.slurm.command("scancel", "--batch", "--signal=USR1", ran)
    wait_for(lambda: not ground.slurm.queue(), f"the end of job {ran}: {log.read_text()}")
    said = log.read_text()
    assert "it goes on when Slurm starts it again" in said
    assert said.count("Slurm jobs asked for") == 2, said
    assert " ok, 0 failed, 0 filtered in " in said
    state = ground.slurm.command("scontrol", "show", "job", ran)
    assert "JobState=COMPLETED" in state
    assert "Restarts=1" in state
    command.ledger.settle("driver's job requeued", 1, place / "out", ground.reference)


def submit_driver(ground, place, command):
    """The number of a job that runs the batch script."""
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    env = ground.slurm.env | command.ledger.env | {"PATH": programs, "TMPDIR": str(place / "spool")}
    env |= {"CORPUSDIFF_TEST_HOOK": "hooks:slow", "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    options = ("--workers", "2", "--shard-s", "6", "--walltime", "00:10:00")
    script = (str(DEPLOY / "corpusdiff.sbatch"), str(ground.source), str(place / "out"), *options)
    said = ground.slurm.command("sbatch", "--parsable", "--time=10", *script, env=env)
    return said.strip()


@on_slurm
@pytest.mark.faults
def test_ctrl_c(ground, command):
    """The jobs do not hear it, the driver lets them finish their shards: nothing is done twice, no job is left."""
    with command() as run:
        joined(run, 3)
        run.signal(signal.SIGINT)
        assert run.finish() == 130, run.said
    assert ground.slurm.queue() == []
    with command() as run:
        assert run.finish() == 0, run.said
    assert command.ledger.n_again == 0
    command.ledger.settle("Ctrl-C", 1, run.out, ground.reference)


@on_slurm
@pytest.mark.faults
@pytest.mark.parametrize(
    ("what", "options", "state", "workers"),
    [("worker", ("--walltime", "00:01:00"), "COMPLETED", 4), ("job", ("--sbatch", "--time=1"), "TIMEOUT", 2)],
)
def test_time_is_over(ground, command, what, options, state, workers):
    """Workers leave before their job's time is over, or Slurm ends it: others take their place."""
    with command(*options, "--shard-s", "1", hook="crawl", source=ground.few, workers=workers) as run:
        wait_for(lambda: over(ground.slurm, run, state) or run.ended, "ends of jobs")
        assert not run.ended, run.said
        wait_for(lambda: over(ground.slurm, run, state) >= workers, "ends of jobs")
        n = over(ground.slurm, run, state)
        assert run.finish() == 0, run.said
    command.ledger.settle(f"time limit of a {what} reached", n, run.out, ground.few_reference)


def over(slurm, run, state):
    """Jobs of a run that are over in that way, as far as the controller remembers."""
    named = re.search(r"all named (\S+);", run.said)
    jobs = slurm.command("scontrol", "--oneliner", "show", "job").splitlines()
    return sum(f"JobState={state} " in job and f"JobName={named[1]} " in job for job in jobs) if named else 0


@on_slurm
@pytest.mark.faults
def test_a_node_is_lost(ground, command):
    """Daemon, jobs and workers of a node are killed at once: the jobs run again on others."""
    slurm = ground.slurm
    with command(workers=2) as run:
        joined(run, 3)
        (node,) = set(slurm.command("squeue", "-h", "-o", "%N").split())
        n = slurm.kill_node(node)
        assert n == 2
        try:
            assert run.finish() == 0, run.said
        finally:
            slurm.start_node(node)
            wait_for(slurm.is_idle, "the node")
    command.ledger.settle("node lost", 1, run.out, ground.reference)


@on_slurm
@pytest.mark.faults
def test_a_killed_driver(ground, command):
    """Its jobs end by themselves, and the same command resumes."""
    with command() as run:
        joined(run, 3)
        kill(run.process.pid)
        assert run.finish() == -signal.SIGKILL
    assert len(ground.slurm.queue()) == 3
    wait_for(lambda: not ground.slurm.queue(), "the end of its jobs")
    with command() as run:
        assert run.finish() == 0, run.said
    command.ledger.settle("kill -9 of the driver", 1, run.out, ground.reference)


@on_slurm
@pytest.mark.faults
def test_jobs_cancelled_while_they_wait(ground, place, command):
    """Nobody hears of workers that never came: the queue is looked at, and others are submitted."""
    busy = place / "busy.sh"
    busy.write_text("#!/bin/sh\nsleep 600\n")
    blocking = ground.slurm.command(
        "sbatch", "--parsable", "--exclusive", "--nodes=4", "--output=/dev/null", str(busy)
    ).strip()
    with command(workers=4) as run:
        wait_for(lambda: len(ground.slurm.queue()) == 5, "jobs in the queue")
        waiting = [job for job in ground.slurm.queue() if job != blocking]
        ground.slurm.command("scancel", *waiting[:3])
        wait_for(lambda: len(ground.slurm.queue()) == 5, "jobs in their place")
        assert "3 jobs ended before their worker came" in run.said
        ground.slurm.command("scancel", blocking)
        assert run.finish() == 0, run.said
    assert "Traceback" not in run.said
    command.ledger.settle("job cancelled while it waits", 3, run.out, ground.reference)


@on_slurm
@pytest.mark.faults
def test_slurm_takes_no_jobs_for_a_while(ground, command):
    """Jobs to be replaced are refused: it is said, and asked again until they are taken."""
    partition = ("scontrol", "update", "PartitionName=short")
    with command(workers=2) as run:
        joined(run, 3)
        ground.slurm.command(*partition, "State=DRAIN")
        try:
            ground.slurm.command("scancel", *ground.slurm.queue())
            wait_for(lambda: "Slurm took 2 jobs less than wanted: " in run.said or run.ended, "the refusal")
            assert not run.ended, run.said
        finally:
            ground.slurm.command(*partition, "State=UP")
        assert run.finish() == 0, run.said
    assert "Traceback" not in run.said
    command.ledger.settle("Slurm takes no jobs for a while", 1, run.out, ground.reference)


@on_slurm
@pytest.mark.faults
def test_jobs_that_cannot_start_their_worker(ground, command):
    """The run ends with the last words of a job, and what may be wrong."""
    with command("--prologue", "echo no such module here >&2; exit 1") as run:
        assert run.finish() == 1, run.said
    (line,) = [line for line in run.said.splitlines() if line.startswith("corpusdiff: ")]
    assert "jobs ended before a worker came" in line
    assert "ends with: no such module here" in line
    assert "--prologue" in line
    assert ground.slurm.queue() == []


def cluster(monkeypatch, tmp_path, **options):
    """A cluster that is not opened, where there is an sbatch of some kind."""
    from corpusdiff.cluster.slurm import SlurmCluster

    (tmp_path / "sbatch").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return SlurmCluster(ClusterOptions(**{"workers": 2} | options), print)


def test_without_slurm(monkeypatch):
    """It is said before anything is done."""
    from corpusdiff.cluster.slurm import SlurmCluster

    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="no sbatch on the PATH"):
        SlurmCluster(ClusterOptions(workers=2), print)


def test_without_its_package(monkeypatch, tmp_path):
    """The error has what to install."""
    monkeypatch.delitem(sys.modules, "corpusdiff.cluster.slurm_jobs", raising=False)
    for name in ("dask_jobqueue", "dask_jobqueue.slurm"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"pip install 'corpusdiff\[slurm\]'"):
        cluster(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": None}, "--workers N"),
        ({"walltime": "an hour"}, "--walltime an hour: expected HH:MM:SS"),
        ({"walltime": "00:00:30"}, "a minute at least"),
        ({"memory": "much"}, "--worker-memory much: expected an amount with its unit, as 4GiB"),
        ({"listen": "eth99"}, "--listen eth99: expected an IP address of this machine or one of its interfaces, .*lo"),
        ({"tls": "/nowhere"}, "certificates"),
    ],
)
def test_options_that_are_not_in_order(monkeypatch, tmp_path, options, message):
    """Each is refused with what was expected."""
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(UsageError, match=message):
        cluster(monkeypatch, tmp_path, **options)


def test_the_page_names_options_that_are():
    """Whatever deploy/slurm/README.md gives to `corpusdiff run` is an option of it."""
    from corpusdiff.cli.corpus import run

    known = {name for parameter in run.params for name in parameter.opts}
    page = (DEPLOY / "README.md").read_text()
    table = [cell for line in page.splitlines() if line.startswith("| `--") for cell in line.split("|")[1:2]]
    commands = [line for line in page.splitlines() if re.match(r"corpusdiff run|sbatch .*corpusdiff\.sbatch", line)]
    given = [re.sub(r".*corpusdiff\.sbatch", "", line) for line in commands] + table
    options = {option for text in given for option in re.findall(r"(?<![\w=-])--[a-z-]+", text)}
    assert options >= {"--cluster", "--workers", "--partition", "--walltime", "--listen", "--tls", "--wait-workers"}
    assert options <= known
