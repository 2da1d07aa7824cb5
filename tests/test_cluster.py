"""Clusters: what specs mean, how they start and end, and who hears the terminal's signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile as sf
from distributed import LocalCluster

from corpusdiff.cluster import connect
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.errors import CorpusdiffError, UsageError
from corpusdiff.runner import Retry, SerialRunner, StopFlag
from corpusdiff.shards import ShardTask

sys.path.insert(0, str(Path(__file__).parent))  # also for Dask workers, which are given this path
import fake_shards

DRIVER = """
import sys
sys.path.insert(0, {tests!r})
import fake_shards
from corpusdiff.cluster import connect
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.errors import CorpusdiffError
from corpusdiff.runner import StopFlag
from corpusdiff.shards import ShardTask

def drive():
    stop = StopFlag()
    tasks = (ShardTask({out!r}, 0, "digest", shard) for shard in range({n}))
    cluster = connect({spec!r}, fake_shards.{run_shard}, ClusterOptions(workers={workers}, spool={out!r}))
    with stop.on_signals(), cluster as runner:
        for report in runner.run(tasks, lambda progress: None, stop):
            print(report.shard, flush=True)

if __name__ == "__main__":
    try:
        drive()
    except CorpusdiffError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
"""


def ignore(progress):
    """Take progress or a notice, do nothing."""


def tasks(folder, n):
    """Tasks of `n` shards."""
    return (ShardTask(str(folder), 0, "digest", shard) for shard in range(n))


@pytest.fixture
def drive(tmp_path):
    """Starts a driver in a process group of its own, as a shell does."""
    with ExitStack() as stack:

        def drive(run_shard, n, spec="local", workers=2):
            script = tmp_path / "driver.py"
            script.write_text(
                DRIVER.format(
                    tests=str(Path(__file__).parent),
                    out=str(tmp_path),
                    n=n,
                    spec=spec,
                    workers=workers,
                    run_shard=run_shard,
                )
            )
            process = subprocess.Popen(
                [sys.executable, "-W", "error", str(script)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.callback(end_group, process)
            return process

        yield drive


def end_group(process):
    """Leave nothing behind, whatever the test found."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def wait_for(condition, timeout_s=30):
    """Wait until `condition()` is true."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def group_of(process):
    """The processes of a driver's group that are alive."""
    found = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == process.pid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


@pytest.mark.parametrize("spec", ["nomad", "", "http://127.0.0.1:1", "tcp:/127.0.0.1:1"])
def test_another_spec_is_refused(spec):
    """What is not supported is a usage error that lists what is."""
    with pytest.raises(UsageError, match="expected local, none"), connect(spec, fake_shards.quick):
        pass


@pytest.mark.parametrize("spec", ["none", "tcp://127.0.0.1:1"])
def test_workers_are_for_local_only(spec):
    """A number of workers that would have no effect is refused."""
    with pytest.raises(UsageError, match="--workers"), connect(spec, fake_shards.quick, ClusterOptions(workers=2)):
        pass


def test_none_is_serial_and_imports_no_dask(tmp_path):
    """Without a cluster Dask is not even imported."""
    with connect("none", fake_shards.quick) as runner:
        assert isinstance(runner, SerialRunner)
    code = (
        "import sys\nfrom corpusdiff.cluster import connect\n"
        "with connect('none', print): pass\nprint([m for m in sys.modules if m in ('dask', 'distributed')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_workers_have_one_thread_and_hear_no_signals(tmp_path):
    """Workers get one BLAS thread, block the terminal's signals, and write under the spool folder."""
    notices = []
    with connect(
        "local", fake_shards.environment, ClusterOptions(workers=2, spool=str(tmp_path)), notices.append
    ) as runner:
        assert len(list(tmp_path.iterdir())) == 1
        (report, *_) = runner.run(tasks(tmp_path, 2), ignore, StopFlag())
    found = {name: value for name, value, _ in report.examples}
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["blocked"] == "True"
    assert list(tmp_path.iterdir()) == []
    assert len(notices) == 1
    assert notices[0].startswith("2 workers on this machine, ")
    assert "dashboard at http://127.0.0.1" in notices[0] or "corpusdiff[dashboard]" in notices[0]


def test_nothing_listens_to_the_network(tmp_path):
    """Scheduler, workers and dashboard of an own cluster are for this machine alone."""
    ours = psutil.Process()
    before = {connection.laddr for connection in ours.net_connections()}
    with connect("local", fake_shards.quick, ClusterOptions(workers=1), ignore):
        processes = [ours, *ours.children(recursive=True)]
        opened = {
            connection.laddr
            for process in processes
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
    assert opened - before
    assert {address.ip for address in opened - before} == {"127.0.0.1"}


def test_the_driver_keeps_its_own_signals(tmp_path):
    """Starting a cluster leaves the driver's signal mask as it was."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with connect("local", fake_shards.quick, ClusterOptions(workers=1), ignore):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_normal_end_is_silent(drive):
    """With every warning an error, a run ends with exit code 0 and only the notice of its start on stderr."""
    process = drive("quick", 20)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert sorted(map(int, out.split())) == list(range(20))
    assert len(err.splitlines()) == 1, err
    assert "2 workers on this machine" in err
    wait_for(lambda: group_of(process) == [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains(drive, tmp_path, number):
    """A signal to the whole process group: shards that run finish, no other starts, exit code 130."""
    process = drive("slow", 40)
    wait_for(lambda: len(fake_shards.marks(tmp_path, "end")) >= 2)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    n_done = len(out.split())
    assert len(fake_shards.marks(tmp_path, "start")) == len(fake_shards.marks(tmp_path, "end")) == n_done < 12
    assert f"stopped with {40 - n_done} shards to go" in err
    assert "Traceback" not in err
    wait_for(lambda: group_of(process) == [])


def test_the_second_signal_aborts(drive, tmp_path):
    """The second Ctrl-C ends driver and busy workers at once, without noise."""
    process = drive("very_slow", 40)
    wait_for(lambda: len(fake_shards.marks(tmp_path, "start")) == 2)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    asked = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - asked < 5
    assert process.returncode == 130, err
    assert "finishing the shards that run" in err
    assert "Traceback" not in err
    wait_for(lambda: group_of(process) == [])
    assert not list(tmp_path.glob("corpusdiff-dask-*"))


def test_a_serial_run_drains_and_aborts(drive, tmp_path):
    """Without Dask the signals mean the same."""
    process = drive("slow", 40, spec="none", workers=None)
    wait_for(lambda: len(fake_shards.marks(tmp_path, "end")) >= 1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert len(fake_shards.marks(tmp_path, "start")) == len(out.split())


def test_a_killed_driver_leaves_no_worker(drive, tmp_path):
    """kill -9 of the driver takes its workers with it."""
    process = drive("very_slow", 4)
    wait_for(lambda: len(fake_shards.marks(tmp_path, "start")) == 2)
    process.kill()
    wait_for(lambda: group_of(process) == [])


@pytest.fixture
def scheduler(tmp_path):
    """A cluster that somebody else started."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", local_directory=str(tmp_path / "dask")
    ) as cluster:
        yield cluster


def test_an_existing_cluster_is_used_and_left(scheduler, tmp_path):
    """Shards run on the workers that are there, which then stay; paths they cannot see are refused."""
    address = scheduler.scheduler_address
    with connect(address, fake_shards.quick, ClusterOptions(must_reach=(str(tmp_path),)), ignore) as runner:
        assert len(list(runner.run(tasks(tmp_path, 9), ignore, StopFlag()))) == 9
    with (
        pytest.raises(UsageError, match="does not see /no/such/folder"),
        connect(address, fake_shards.quick, ClusterOptions(must_reach=("/no/such/folder",)), ignore),
    ):
        pass
    assert len(scheduler.scheduler_info["workers"]) == 1


def test_no_workers_are_reported_and_then_an_error(scheduler, tmp_path):
    """Without workers the run says so each minute, and ends when it was told how long to wait."""
    notices = []
    scheduler.scale(0)
    wait_for(lambda: not scheduler.scheduler_info["workers"])
    with connect(scheduler.scheduler_address, fake_shards.quick, notify=notices.append) as runner:
        runner.say_every_s, runner.wait_workers_s = 1.0, 5.0
        with pytest.raises(CorpusdiffError, match=r"no workers for \d s: start some"):
            list(runner.run(tasks(tmp_path, 3), ignore, StopFlag()))
    assert any(notice.endswith("waiting for some to connect") for notice in notices)


def test_workers_that_come_late_do_the_work(scheduler, tmp_path):
    """A run that began without workers goes on when one connects."""
    scheduler.scale(0)
    wait_for(lambda: not scheduler.scheduler_info["workers"])
    with connect(scheduler.scheduler_address, fake_shards.quick, notify=ignore) as runner:
        runner.say_every_s = 0.1
        runner.notify = lambda _: scheduler.scale(1)
        assert len(list(runner.run(tasks(tmp_path, 9), ignore, StopFlag()))) == 9


def test_a_scheduler_that_comes_back_is_used_again(tmp_path):
    """kill -9 of the scheduler while shards run: a new one at its address is given what is left."""
    port = free_port()
    address = f"tcp://127.0.0.1:{port}"
    with ExitStack() as stack:
        first = start_dask(stack, "scheduler", "--port", str(port), "--no-dashboard")
        start_dask(stack, "worker", address, "--nthreads", "1", "--no-dashboard", "--local-directory", str(tmp_path))
        runner = stack.enter_context(connect(address, fake_shards.slow, notify=ignore))
        runner.retry = Retry(backoff_s=0.1)
        reports = []

        def replace():
            first.kill()
            first.wait()
            start_dask(stack, "scheduler", "--port", str(port), "--no-dashboard")
            options = ("--nthreads", "4", "--no-dashboard", "--local-directory", str(tmp_path))
            start_dask(stack, "worker", address, *options)

        fake_shards.collect(runner.run(tasks(tmp_path, 8), ignore, StopFlag()), reports, after=2, then=replace)
    assert sorted(report.shard for report in reports) == list(range(8))


def free_port():
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_dask(stack, role, *options):
    """A scheduler or a worker, killed when `stack` is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dask", role, *options],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

    def end():
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    stack.callback(end)
    return process


def test_no_scheduler_at_the_address(monkeypatch):
    """An address where nothing answers is a usage error that says how to start something there."""
    monkeypatch.setattr("corpusdiff.cluster.existing._ANSWER_S", 0.5)
    with (
        pytest.raises(UsageError, match="no Dask scheduler answers"),
        connect("tcp://127.0.0.1:1", fake_shards.quick),
    ):
        pass


LOADED = """
import sys
from click.testing import CliRunner
from corpusdiff.cli import main

done = CliRunner().invoke(main, ["run", sys.argv[1], sys.argv[2], "--cluster", "none", "--quiet"])
assert done.exit_code == 0, done.output
print("pandas" in sys.modules)
import pandas
import pyarrow as pa
print(len(pandas.DataFrame({"a": [1, 2]})), pa.table({"a": [1, None]}).column("a").to_pylist())
"""


def test_a_run_loads_no_pandas(tmp_path):
    """Arrow would, a third of a second of every run; whoever imports it in the same process has it all the same."""
    pytest.importorskip("pandas")
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", np.random.default_rng(1).normal(0, 0.1, 16000), 16000)
    command = [sys.executable, "-c", LOADED, tmp_path / "in", tmp_path / "out"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == ["False", "2 [1, None]"]
