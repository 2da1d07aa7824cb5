"""The Dask runner on real workers, and what may happen to them."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from corpusdiff.cluster.local import OwnCluster
from corpusdiff.cluster.runner import DaskRunner
from corpusdiff.cluster.settings import settings
from corpusdiff.errors import CorpusdiffError, Interrupted, StoreError
from corpusdiff.runner import Retry, SerialRunner, ShardLost, StopFlag
from corpusdiff.shards import ShardTask

sys.path.insert(0, str(Path(__file__).parent))  # also for Dask workers, which are given this path
import fake_shards

SOON = Retry(tries=2, alone=1, backoff_s=0.05)


class Shared:
    """A link to one cluster for all tests of this module."""

    def __init__(self, client):
        self.client = client

    def open(self):
        return self.client


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """A cluster of two workers."""
    with settings():
        cluster = OwnCluster(2, str(tmp_path_factory.mktemp("spool")), ignore)
        try:
            yield Shared(cluster.open())
        finally:
            cluster.close(kill=True)


@pytest.fixture
def make(link):
    """Makes a runner of a shard function on the shared cluster."""

    def make(run_shard, **options):
        link.client.wait_for_workers(2, timeout=30)
        return DaskRunner(run_shard, link, **{"retry": SOON, "notify": ignore, **options})

    return make


def tasks(folder, n):
    """Tasks of `n` shards."""
    return (ShardTask(str(folder), 0, "digest", shard) for shard in range(n))


def ignore(progress):
    """Take progress or a notice, do nothing."""


def shards(reports):
    """How often each shard was reported."""
    return Counter(report.shard for report in reports)


def once(n):
    """Each of `n` shards, once."""
    return Counter(range(n))


def test_dask_equals_serial(make, tmp_path):
    """Both runners give the same set of reports."""
    serial = list(SerialRunner(fake_shards.quick).run(tasks(tmp_path, 40), ignore, StopFlag()))
    dask = list(make(fake_shards.quick).run(tasks(tmp_path, 40), ignore, StopFlag()))
    assert sorted(dask, key=lambda report: report.shard) == serial


def test_no_shards_are_no_reports(make, tmp_path):
    """A corpus that is done already runs nothing."""
    assert list(make(fake_shards.quick).run(iter(()), ignore, StopFlag())) == []


def test_only_a_window_is_in_flight(make, link, tmp_path):
    """Tasks are taken as reports go out; nothing is kept of those that are done."""
    taken = 0

    def counted():
        nonlocal taken
        for task in tasks(tmp_path, 200):
            taken += 1
            yield task

    widest = 0
    for n_reports, _ in enumerate(make(fake_shards.quick, per_worker=4).run(counted(), ignore, StopFlag())):
        widest = max(widest, taken - n_reports)
        assert len(link.client.futures) <= 2 * 8 + 1
    assert taken == 200
    assert widest <= 8 + 1
    assert not link.client.futures


def test_progress_reaches_the_driver(make, tmp_path):
    """Events from inside shards arrive while they run, in the caller's thread, and none after the report."""
    told, threads, reported = [], set(), set()

    def listen(progress):
        told.append(progress)
        threads.add(threading.get_ident())
        assert progress.shard not in reported

    for report in make(fake_shards.slow, progress_s=0.1).run(tasks(tmp_path, 3), listen, StopFlag()):
        reported.add(report.shard)
    assert {progress.shard for progress in told} == {0, 1, 2}
    assert len(told) > 6
    assert threads == {threading.get_ident()}


def test_a_killed_worker_loses_nothing(make, link, tmp_path):
    """kill -9 of workers while shards run: every shard is still reported exactly once."""
    notices, reports = [], []
    run = make(fake_shards.slow, retry=Retry(), notify=notices.append).run(tasks(tmp_path, 12), ignore, StopFlag())
    for report in run:
        reports.append(report)
        if len(reports) in (2, 5):
            busy = {mark.name.rsplit("-", 2)[1] for mark in fake_shards.marks(tmp_path, "start")}
            alive = {str(pid) for pid in link.client.run(os.getpid).values()}
            os.kill(int((busy & alive).pop()), signal.SIGKILL)
    assert shards(reports) == once(12)
    assert 1 <= len(notices) <= 2
    assert all("its worker died; try 1 of 8" in notice for notice in notices)


def test_a_shard_that_always_kills_its_worker_is_named(make, tmp_path):
    """It is tried with the others, then alone, then given up; the others are done, and none was charged."""
    notices, reports = [], []
    run = make(fake_shards.kills_worker, notify=notices.append).run(tasks(tmp_path, 20), ignore, StopFlag())
    with pytest.raises(ShardLost, match=r"shard 3 \(its worker died\)") as caught:
        fake_shards.collect(run, reports)
    assert caught.value.shards == (3,)
    assert shards(reports) == once(20) - Counter([3])
    assert len(fake_shards.marks(tmp_path, "start", 3)) == SOON.tries + SOON.alone
    assert all(notice.startswith("shard 3:") for notice in notices)


def test_io_errors_are_tried_again(make, tmp_path):
    """OSError once, then fine: every shard is reported once."""
    run = make(fake_shards.oserror_once).run(tasks(tmp_path, 20), ignore, StopFlag())
    assert shards(run) == once(20)


@pytest.mark.parametrize(
    ("run_shard", "error", "text"),
    [
        (fake_shards.store_error, StoreError, "disk full"),
        (fake_shards.bug, CorpusdiffError, "shard 1: KeyError: 'oops'.*bug"),
        (fake_shards.unpicklable_bug, CorpusdiffError, "shard 1: .*UnpicklableError: no way"),
    ],
)
def test_other_errors_end_the_run(make, tmp_path, run_shard, error, text):
    """A StoreError or a bug is no matter of trying again; the worker's traceback comes along."""
    with pytest.raises(error, match=text) as caught:
        list(make(run_shard).run(tasks(tmp_path, 20), ignore, StopFlag()))
    source = caught.value.__cause__ or caught.value
    assert "fake_shards.py" in "".join(source.__notes__)


def test_draining_finishes_what_runs_and_starts_nothing(make, tmp_path):
    """After a request to stop, shards that run are reported and the error says how many are left."""
    stop, reports, notices = StopFlag(), [], []
    runner = make(fake_shards.slow, notify=notices.append)
    run = runner.run(tasks(tmp_path, 30), ignore, stop)
    with pytest.raises(Interrupted) as caught:
        fake_shards.collect(run, reports, after=2, then=stop.request)
    started, ended = (fake_shards.marks(tmp_path, what) for what in ("start", "end"))
    assert len(started) == len(ended) == len(reports) < 8
    assert f"with {30 - len(reports)} shards to go" in str(caught.value)
    assert runner.n_in_flight == 0
    assert any("finishing" in notice for notice in notices)


def test_draining_has_an_end(make, link, tmp_path):
    """A shard that takes longer than the time for draining is left behind, and counted as left."""
    stop = StopFlag()
    runner = make(fake_shards.very_slow, drain_s=0.3)
    request_soon(stop, tmp_path)
    with pytest.raises(Interrupted, match="9 shards to go"):
        list(runner.run(tasks(tmp_path, 9), ignore, stop))
    assert runner.n_in_flight > 0
    link.client.restart(timeout=30)


def request_soon(stop, folder):
    """Request a stop as soon as two shards run."""

    def wait():
        while len(fake_shards.marks(folder, "start")) < 2:
            time.sleep(0.02)
        stop.request()

    threading.Thread(target=wait, daemon=True).start()


def test_leaving_early_drops_what_is_in_flight(make, link, tmp_path):
    """A consumer that closes the iterator leaves no future behind."""
    with closing(make(fake_shards.slow).run(tasks(tmp_path, 30), ignore, StopFlag())) as run:
        next(run)
    assert not link.client.futures


def test_two_runs_at_once_do_not_mix(make, tmp_path):
    """Two drivers on one scheduler each get their own reports."""
    counts = {}

    def drive(name, n):
        run = make(fake_shards.quick, progress_s=0.0).run(tasks(tmp_path, n), ignore, StopFlag())
        counts[name] = shards(run)

    threads = [threading.Thread(target=drive, args=(n, n)) for n in (15, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == {15: once(15), 25: once(25)}
