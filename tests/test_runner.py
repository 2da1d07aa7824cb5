"""The serial runner, requests to stop, and the early end of a hopeless run."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from corpusdiff.errors import CorpusdiffError, Interrupted, StoreError
from corpusdiff.runner import Retry, SerialRunner, ShardLost, StopFlag, stop_when_most_fail
from corpusdiff.shards import ShardTask

sys.path.insert(0, str(Path(__file__).parent))  # also for Dask workers, which are given this path
import fake_shards

SOON = Retry(tries=2, alone=1, backoff_s=0.01)


def tasks(folder, n):
    """Tasks of `n` shards."""
    return (ShardTask(str(folder), 0, "digest", shard) for shard in range(n))


def ignore(progress):
    """Take progress, do nothing."""


def test_serial_runs_every_shard_in_order(tmp_path):
    """Each shard is reported once, with its progress before."""
    told = []
    runner = SerialRunner(fake_shards.quick)
    reports = list(runner.run(tasks(tmp_path, 5), told.append, StopFlag()))
    assert [report.shard for report in reports] == [0, 1, 2, 3, 4]
    assert [progress.shard for progress in told] == [0, 1, 2, 3, 4]


def test_serial_tries_io_errors_again(tmp_path):
    """An OSError that goes away is a notice, no failure."""
    notices = []
    runner = SerialRunner(fake_shards.oserror_once, retry=SOON, notify=notices.append)
    assert len(list(runner.run(tasks(tmp_path, 7), ignore, StopFlag()))) == 7
    assert notices == [f"shard {n}: OSError: [Errno 5] Input/output error; try 1 of 3" for n in (0, 3, 6)]


def test_serial_names_what_it_lost_after_the_rest(tmp_path):
    """A shard whose I/O error stays is named when everything else is done."""
    runner = SerialRunner(fake_shards.oserror_always, retry=SOON, notify=ignore)
    reports = []
    with pytest.raises(ShardLost, match=r"after 3 tries: shard 2 \(OSError: .*Stale") as caught:
        fake_shards.collect(runner.run(tasks(tmp_path, 5), ignore, StopFlag()), reports)
    assert [report.shard for report in reports] == [0, 1, 3, 4]
    assert caught.value.shards == (2,)
    assert caught.value.exit_code == 1


def test_serial_gives_up_when_nothing_can_be_read(tmp_path):
    """With three shards lost the trouble is general: the rest is not tried one by one."""
    seen = []

    def broken(task, on_progress):
        seen.append(task.shard)
        raise OSError(116, "Stale file handle")

    with pytest.raises(ShardLost) as caught:
        list(SerialRunner(broken, retry=SOON, notify=ignore).run(tasks(tmp_path, 50), ignore, StopFlag()))
    assert caught.value.shards == (0, 1, 2)
    assert set(seen) == {0, 1, 2}


def test_serial_stops_at_a_damaged_store(tmp_path):
    """A StoreError ends the run as it is."""
    with pytest.raises(StoreError, match="disk full"):
        list(SerialRunner(fake_shards.store_error).run(tasks(tmp_path, 9), ignore, StopFlag()))


def test_serial_drains(tmp_path):
    """After a request to stop the shard that runs is reported, and the error says what is left."""
    stop = StopFlag()
    reports = []
    run = SerialRunner(fake_shards.quick).run(tasks(tmp_path, 5), ignore, stop)
    with pytest.raises(Interrupted, match="3 shards to go"):
        fake_shards.collect(run, reports, after=2, then=stop.request)
    assert [report.shard for report in reports] == [0, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_leaves_at_once(number):
    """One signal sets the flag; the next leaves the block; the old handlers come back."""
    before = signal.getsignal(number)
    stop = StopFlag()
    wishes = []
    with pytest.raises(Interrupted), stop.on_signals():  # noqa: PT012  # the block is what is tested
        os.kill(os.getpid(), number)
        wishes.append((stop.draining, stop.aborting))
        os.kill(os.getpid(), number)
        wishes.append("still here")
    assert wishes == [(True, False)]
    assert signal.getsignal(number) is before


def failing(n, n_failed):
    """Reports of `n` shards of ten tracks of which `n_failed` fail."""
    for shard in range(n):
        task = ShardTask("out", 0, "digest", shard)
        yield fake_shards.report(task, n_ok=10 - n_failed, n_failed=n_failed, reasons={"decode": n_failed})


def test_a_hopeless_run_stops_early():
    """When most of the first tracks fail the run stops, and says why."""
    passed = []
    with pytest.raises(CorpusdiffError, match=r"30 of the first 50 tracks failed: decode 30 .*bad header"):
        fake_shards.collect(stop_when_most_fail(failing(100, 6), n_tracks=1000, first=50), passed)
    assert len(passed) == 5


@pytest.mark.parametrize(("n_failed", "n_tracks"), [(5, 1000), (10, 50)])
def test_a_run_with_hope_or_few_tracks_goes_to_its_end(n_failed, n_tracks):
    """Half the tracks may fail; and a corpus not larger than the sample is not judged."""
    assert len(list(stop_when_most_fail(failing(20, n_failed), n_tracks=n_tracks, first=50))) == 20
