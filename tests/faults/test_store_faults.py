"""A slow, failing, forgetful or absent object store under a whole run: the same corpus as on a disk in peace."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from fault_ledger import Ledger
from fault_runs import Run, kill
from servers import BUCKET, Proxy, S3Server

from corpusdiff.store.generations import plan_key
from corpusdiff.store.objects import open_objects

SERIAL = ("--cluster", "none")
LOCAL = ("--workers", "2")

#: What is done to requests, by the fault's name in the table. Shares are of requests.
FAULTS = {
    "50 ms latency": {"latency_s": 0.05},
    "500, 503, SlowDown": {"errors": 0.1},
    "torn uploads": {"tear": 0.1},
    "lost answers": {"lose": 0.1},
    "answers cut short": {"truncate": 0.1},
    "409 to conditional puts": {"conflict": 0.2},
    "all of it": {
        "latency_s": 0.01,
        "errors": 0.04,
        "tear": 0.04,
        "lose": 0.04,
        "truncate": 0.04,
        "conflict": 0.04,
        "stale_lists": True,
    },
}

*SINGLE, TOGETHER = FAULTS
SHORT = pytest.mark.faults_short

#: The command in a hurry: an answer may take 1 s in place of 120, and little is tried again.
IMPATIENT = """
from corpusdiff import cli, runner
from corpusdiff.store import clients, remote

if __name__ == "__main__":
    clients._TIMEOUT_S = 1
    remote._PAUSES_S = (0.1, 0.1, 0.1)
    runner.Retry.pause_s = lambda self, failures: 0.1
    cli.main()
"""


@pytest.fixture(scope="module")
def server():
    """An S3 server, in the environment of this process and of what it starts."""
    with S3Server() as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.env.items():
            patch.setenv(name, value)
        yield server


class Trial:
    """Runs into a place of its own in the bucket, and what they cost.

    Parameters
    ----------
    reference : what they must make
    folder : for the count of tracks begun
    """

    def __init__(self, reference, folder):
        self.reference = reference
        self.out = f"s3://{BUCKET}/{uuid.uuid4().hex}/out"
        self.ledger = Ledger(folder, "S3")

    def run(self, proxy, *options, hook="count", **more):
        """The command, whose store is behind the proxy; this process has it directly."""
        return Run(self.reference.source, self.out, *options, hook=hook, env=proxy.env | self.ledger.env, **more)

    def settle(self, fault, times):
        """Assert that there is one row for each track and the corpus is the reference's; a row for the table."""
        self.ledger.settle(f"store: {fault}", times, self.out, self.reference.out)


@pytest.fixture
def trial(reference, server, tmp_path):
    """A place for runs."""
    return Trial(reference, tmp_path)


def through(trial, server, fault, seed, options):
    """A run with a fault from start to end."""
    with Proxy(server.port, seed=seed) as proxy, trial.run(proxy, *options) as run:
        proxy.switch(**FAULTS[fault])
        assert run.finish() == 0, run.said
        assert "Traceback" not in run.said
    times = proxy.injected.total() or len(proxy.requests)
    assert times > 5, proxy.injected
    trial.settle(fault, times)


@pytest.mark.parametrize(
    "fault", [*(pytest.param(fault, marks=pytest.mark.faults) for fault in SINGLE), pytest.param(TOGETHER, marks=SHORT)]
)
def test_a_run_through_a_bad_network(trial, server, fault):
    """It ends well, once, with the bytes of a local disk."""
    through(trial, server, fault, 1, LOCAL)


@pytest.mark.faults
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("fault", [*SINGLE[1:], TOGETHER])
def test_more_runs_through_a_bad_network(trial, server, fault, seed):
    """With other dice, and the serial runner every other time."""
    through(trial, server, fault, seed, SERIAL if seed % 2 else LOCAL)


@pytest.mark.parametrize(
    ("seed", "share"),
    [
        pytest.param(1, 0.01, marks=SHORT),
        pytest.param(2, 0.05, marks=pytest.mark.faults),
        pytest.param(3, 0.05, marks=pytest.mark.faults),
    ],
)
def test_requests_that_nobody_answers(trial, server, seed, share):
    """They are given up after a while, and made again."""
    with (
        Proxy(server.port, seed=seed) as proxy,
        trial.run(proxy, *SERIAL, program=("-c", IMPATIENT)) as run,
    ):
        proxy.switch(hang=share)
        assert run.finish() == 0, run.said
        assert "Traceback" not in run.said
    assert proxy.injected["hang"] > 0
    trial.settle("no answer", proxy.injected["hang"])


@pytest.mark.parametrize("options", [pytest.param(SERIAL, marks=SHORT), pytest.param(LOCAL, marks=pytest.mark.faults)])
def test_a_store_that_answers_old_listings(trial, server, options):
    """Killed half way, the same command is shown the empty folder of the start, and ends with the corpus."""
    with Proxy(server.port) as proxy:
        with trial.run(proxy, *options, hook="slow") as run:
            run.await_commits(5)
            kill(run.process.pid)
            run.finish()
        proxy.switch(stale_lists=True)
        with trial.run(proxy, *options) as run:
            assert run.finish() == 0, run.said
            assert "Traceback" not in run.said
    assert proxy.injected["stale"] > 0
    trial.settle("old listings", proxy.injected["stale"])


@pytest.mark.parametrize(
    ("phase", "options"),
    [
        pytest.param(0, SERIAL, marks=SHORT),
        pytest.param(4, LOCAL, marks=pytest.mark.faults),
        pytest.param(4, SERIAL, marks=pytest.mark.faults),
        pytest.param(12, LOCAL, marks=pytest.mark.faults),
    ],
)
def test_a_store_that_refuses_from_some_moment_on(trial, server, phase, options):
    """Rights withdrawn before the plan or later: exit 1 and one clear line; given back, the same command finishes."""
    with Proxy(server.port) as proxy:
        proxy.switch(forbid=phase == 0)
        with trial.run(proxy, *options, hook="slow") as run:
            run.await_commits(phase)
            proxy.switch(forbid=True)
            assert run.finish() == 1, run.said
        errors = [line for line in run.said.splitlines() if line.startswith("corpusdiff: ")]
        assert len(errors) == 1, run.said
        assert f"{trial.out}/" in errors[0]
        assert "not allowed" in errors[0]
        assert "Traceback" not in run.said
        proxy.switch(forbid=False)
        with trial.run(proxy, *options) as run:
            assert run.finish() == 0, run.said
    trial.settle("no rights for a while", 1)


@pytest.mark.faults
def test_a_store_that_is_away_for_a_while(trial, server):
    """Every connection is reset for 5 s in the middle of the run, which goes on."""
    with Proxy(server.port) as proxy, trial.run(proxy, *LOCAL, hook="slow") as run:
        run.await_commits(3)
        with proxy.with_faults(down=True):
            time.sleep(5.0)
        assert run.finish() == 0, run.said
        assert "Traceback" not in run.said
    trial.settle("away for 5 s", 1)


@pytest.mark.faults
@pytest.mark.parametrize("n_commits", [0, 3])
def test_a_store_that_goes_away(trial, server, n_commits):
    """At once or later: exit 1, one clear line that says what to do; when it is back, the same command finishes."""
    with Proxy(server.port) as proxy:
        proxy.switch(down=n_commits == 0)
        with trial.run(proxy, *SERIAL, hook="slow", program=("-c", IMPATIENT)) as run:
            run.await_commits(n_commits)
            proxy.switch(down=True)
            assert run.finish() == 1, run.said
        errors = [line for line in run.said.splitlines() if line.startswith("corpusdiff: ")]
        assert len(errors) == 1, run.said
        assert "same command again" in errors[0]
        assert "Traceback" not in run.said
        proxy.switch(down=False)
        with trial.run(proxy, *SERIAL) as run:
            assert run.finish() == 0, run.said
    trial.settle("gone", 1)


@SHORT
def test_a_store_that_overwrites(trial, server):
    """It is refused before any work is done; with the option that says so, a run alone makes the same corpus."""
    with Proxy(server.port) as proxy:
        proxy.switch(forgetful=True)
        with trial.run(proxy, *LOCAL) as run:
            assert run.finish() == 1, run.said
        assert "overwrites an object" in run.said
        assert "--store-overwrites" in run.said
        with trial.run(proxy, *LOCAL, "--store-overwrites") as run:
            assert run.finish() == 0, run.said
    made = json.loads(open_objects(trial.out, write=False).read(plan_key(0)))["made"]
    assert made["store_overwrites"] is True
    trial.settle("overwrites, said so", 1)


@pytest.mark.faults
def test_two_drivers_at_once_on_a_store(trial, server):
    """Both exit 0, and there is one corpus."""
    with Proxy(server.port) as proxy, trial.run(proxy, *LOCAL) as one:
        proxy.switch(latency_s=0.01)
        with trial.run(proxy, *SERIAL) as other:
            assert (one.finish(), other.finish()) == (0, 0), one.said + other.said
    trial.settle("two drivers at once", 1)
