"""Workers on three hosts by SSH: their links cut, their clocks wrong, their workers and the driver killed."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from fault_runs import TESTS, Run, checked, kill, make_recordings, process_table, same_corpus, wait_for
from fault_table import record
from needs import needs
from netns_hosts import Hosts, netns_hosts

from corpusdiff.cluster.hosts import HostsCluster
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.errors import CorpusdiffError, UsageError

on_hosts = needs("ip", "ssh", "sshd", "ssh-keygen", root=True)

#: Takes a second and a half for each track, so that a run outlasts a cut of a minute; or until a file is there.
LINGER = """
import os, time, hooks
def linger(track):
    hooks.begun(track)
    time.sleep(1.5)
def wait(track):
    hooks.begun(track)
    while not os.path.exists(os.environ["CORPUSDIFF_TEST_COUNT"] + ".go"):
        time.sleep(0.02)
"""

#: libfaketime 0.9.10 turns the monotonic time until which Python 3.11 sleeps into an invalid one.
SLEEP = """
import select, time
time.sleep = lambda seconds: select.select([], [], [], seconds) and None
"""


class Site(NamedTuple):
    """Hosts, recordings, what the serial runner made of them, and a folder for files of this test."""

    hosts: Hosts
    source: Path
    reference: Path
    folder: Path

    @property
    def starts(self) -> Path:
        """Where workers write down each track that they begin."""
        return self.folder / "starts"

    def run(self, *options: str, hook: str | None = None, file: Path | None = None) -> Run:
        """A run on the hosts with one worker each, or as `file` says; with a hook on the hosts."""
        if hook is not None:
            env = {
                "CORPUSDIFF_TEST_HOOK": hook,
                "CORPUSDIFF_TEST_COUNT": str(self.starts),
                "PYTHONPATH": f"{TESTS}:{self.folder}",
            }
            options += ("--prologue", "export " + " ".join(f"{name}={value}" for name, value in env.items()))
        file = file or self.hosts.file(self.folder / "hosts", "workers=1")
        cluster = f"hosts:{file}"
        return Run(
            self.source, self.folder / "out", "--cluster", cluster, *options, env={"CORPUSDIFF_SSH": self.hosts.ssh}
        )

    def same(self, why: str) -> None:
        """Assert that the corpus is the serial runner's, to the byte."""
        same_corpus(self.folder / "out", self.reference, why)

    def n_begun(self) -> int:
        """Starts of tracks so far."""
        return len(self.starts.read_text().split()) if self.starts.exists() else 0

    def go(self) -> None:
        """Let the tracks that wait, and all others, be done."""
        Path(f"{self.starts}.go").touch()

    def again(self) -> int:
        """Tracks begun more often than once."""
        return self.n_begun() - checked(self.reference).n_rows


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Hosts, recordings and a serial run's corpus, for all tests."""
    folder = tmp_path_factory.mktemp("hosts")
    source = make_recordings(folder / "recordings")
    with Run(source, folder / "reference", "--cluster", "none") as run:
        assert run.finish() == 0, run.said
    (folder / "net").mkdir()
    with netns_hosts(folder / "net") as hosts:
        yield hosts, source, folder / "reference"


@pytest.fixture
def site(places, tmp_path):
    """The same with a folder of the test's own; whatever happens, cables are mended and nothing stays on the hosts."""
    (tmp_path / "lingering.py").write_text(LINGER)
    hosts = places[0]
    yield Site(*places, tmp_path)
    for host in hosts.each:
        host.link.mend()
    wait_for(lambda: not hosts.pids(), f"the end of {hosts.pids()}")


def busy(site, run, n_commits=3):
    """Wait until all hosts work and so many shards are committed."""
    wait_for(lambda: run.ended or all(host.workers() for host in site.hosts.each), "workers on all hosts")
    run.await_commits(n_commits)
    assert not run.ended, run.said


@on_hosts
@pytest.mark.faults_short
def test_hosts_whose_clocks_differ_make_the_same_corpus(site):
    """Of three hosts one is an hour ahead and one behind; nothing stays on any of them."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        pytest.skip("libfaketime not installed")
    (site.folder / "sitecustomize.py").write_text(SLEEP)
    wrappers = {}
    for i, offset in ((1, "+3600"), (2, "-3600")):
        wrapper = site.folder / f"python{i}"
        clock = f"LD_PRELOAD={library} FAKETIME={offset} FAKETIME_DONT_FAKE_MONOTONIC=1"
        clock += f" PYTHONPATH=$PYTHONPATH:{site.folder}"
        wrapper.write_text(f'#!/bin/sh\nexec env {clock} {shlex.quote(sys.executable)} "$@"\n')
        wrapper.chmod(0o755)
        wrappers[i] = f"python={wrapper}"
        then = float(site.hosts[i].run(str(wrapper), "-c", "import time; print(time.time())").stdout)
        assert abs(then - time.time() - int(offset)) < 60
    file = site.hosts.file(site.folder / "hosts", "workers=1", of=wrappers)
    with site.run(hook="hooks:slow", file=file) as run:
        busy(site, run)
        for i in (1, 2):
            for pid in site.hosts[i].workers():
                assert "libfaketime" in Path(f"/proc/{pid}/maps").read_text()
        assert run.finish() == 0, run.said
    site.same("clocks an hour apart")
    assert not site.hosts.pids()
    record("clocks two hours apart", "hosts", 2, 0, f"{site.again()} tracks again")


@on_hosts
@pytest.mark.faults_short
def test_a_link_cut_for_12_s_costs_nothing(site):
    """The connections survive: the same workers go on, and no track is begun twice."""
    with site.run(hook="hooks:slow") as run:
        busy(site, run)
        workers = site.hosts[1].workers()
        site.hosts[1].link.cut()
        time.sleep(12)
        assert not run.ended, "the run must wait for the shard that is on the host"
        site.hosts[1].link.mend()
        assert site.hosts[1].workers() == workers
        assert run.finish() == 0, run.said
        assert "try 1" not in run.said
    site.same("a cut of 12 s")
    assert site.again() == 0
    record("link of a host cut for 12 s", "hosts", 1, 0, "0 tracks again")


@on_hosts
@pytest.mark.faults
def test_a_link_cut_for_60_s_loses_nothing(site):
    """The others take over the host's shard; its old workers end by themselves, new ones join when it is back."""
    with site.run(hook="lingering:linger") as run:
        busy(site, run, 1)
        workers, loops = site.hosts[1].workers(), site.hosts[1].loops()
        site.hosts[1].link.cut()
        cut_at = time.monotonic()
        wait_for(lambda: not site.hosts[1].pids(), "the end of what is on the host")
        assert 30 < time.monotonic() - cut_at < 59
        time.sleep(60 - (time.monotonic() - cut_at))
        site.hosts[1].link.mend()
        wait_for(lambda: run.ended or site.hosts[1].workers(), "new workers")
        assert set(site.hosts[1].loops()).isdisjoint(loops)
        assert set(site.hosts[1].workers()).isdisjoint(workers)
        assert run.finish() == 0, run.said
        assert f"host {site.hosts[1].name} is back, with 1 workers" in run.said
        assert "its worker died; try 1 of" in run.said
    site.same("a cut of 60 s")
    record("link of a host cut for 60 s", "hosts", 1, 0, f"{site.again()} tracks again")


@on_hosts
@pytest.mark.faults
def test_a_host_that_cannot_be_reached_at_the_start_comes_later(site):
    """The run says so, goes on without it, and takes it when it is there."""
    site.hosts[2].link.cut()
    with site.run("--stall", "600", hook="lingering:wait") as run:
        wait_for(lambda: run.ended or site.n_begun() == 2, "a track in each worker")
        assert "Going on without it" in run.said
        assert not site.hosts[2].workers()
        site.hosts[2].link.mend()
        wait_for(lambda: run.ended or site.hosts[2].workers(), "workers on the host")
        site.go()
        assert run.finish() == 0, run.said
        assert f"host {site.hosts[2].name} is back" in run.said
    site.same("a host that was late")
    record("host down at the start, up later", "hosts", 1, 0, f"{site.again()} tracks again")


@on_hosts
@pytest.mark.faults_short
def test_killed_workers_loops_and_connections_are_started_again(site):
    """kill -9 of a worker, of what watches over a host's workers, and of SSH's end here, each on another host."""
    file = site.hosts.file(site.folder / "hosts", "workers=2")
    with site.run("--stall", "600", hook="lingering:wait", file=file) as run:
        wait_for(lambda: run.ended or site.n_begun() == 6, "a track in each worker")
        worker, loop = site.hosts[0].workers()[0], site.hosts[1].loops()[0]
        connection = next(
            process.pid
            for process in process_table()
            if process.session == run.process.pid
            and process.line.startswith("ssh ")
            and site.hosts[2].name in process.line
        )
        before = [set(host.workers()) for host in site.hosts.each]
        for pid in (worker, loop, connection):
            assert kill(pid)
        lost = (1, 2, 2)
        for host, old, n_lost in zip(site.hosts.each, before, lost, strict=True):
            wait_for(
                lambda host=host, old=old, n_lost=n_lost: (
                    run.ended or (len(set(host.workers()) - old) == n_lost and len(host.workers()) == 2)
                ),
                f"new workers on {host.name}",
            )
        site.go()
        assert run.finish() == 0, run.said
        assert "ended (exit code -9" in run.said
        assert run.said.count("is back, with 2 workers") == 2
    site.same("kills on hosts")
    assert site.again() == 5, "one track of each of five workers"
    record("kill -9 of a worker, a host's loop, SSH", "hosts", 3, 0, f"{site.again()} tracks again")


@on_hosts
@pytest.mark.faults_short
def test_a_killed_driver_leaves_nothing_on_the_hosts(site):
    """No process and no file of the workers; the same command goes on."""
    site_tmp = site.folder / "tmp"
    site_tmp.mkdir()
    options = ("--prologue", f"export TMPDIR={site_tmp}")
    with site.run(*options, hook="hooks:slow") as run:
        busy(site, run)
        assert list(site_tmp.iterdir())
        kill(run.process.pid)
        wait_for(lambda: not site.hosts.pids(), "the hosts to be empty")
        wait_for(lambda: not list(site_tmp.iterdir()), "the hosts' temporary files to go")
        assert run.finish() == -signal.SIGKILL
    begun = checked(site.folder / "out").pending
    assert begun, "killed too late for this test"
    with site.run(*options, hook="hooks:slow") as run:
        assert run.finish() == 0, run.said
    site.same("a killed driver")
    record("kill -9 of the driver", "hosts", 1, 0, f"{site.again()} tracks again")


@on_hosts
@pytest.mark.faults
def test_ctrl_c_drains_and_empties_the_hosts(site):
    """Exit code 130, the shards that run are committed, nothing stays, and the same command goes on."""
    with site.run(hook="hooks:slow") as run:
        busy(site, run)
        run.signal(signal.SIGINT)
        assert run.finish() == 130, run.said
        assert "finishing the shards that run" in run.said
        assert "Traceback" not in run.said
    assert not site.hosts.pids()
    with site.run() as run:
        assert run.finish() == 0, run.said
    site.same("Ctrl-C")


@on_hosts
@pytest.mark.faults_short
@pytest.mark.parametrize(
    ("settings", "prologue", "says"),
    [
        ("python=/nowhere/python", "", "has no|no /nowhere/python .*python=PATH"),
        ("python={bare}", "", "has no corpusdiff of this version.*install it there"),
        ("", "echo broken >&2; exit 3", "no workers .broken.: try `ssh"),
    ],
)
def test_a_host_that_lacks_something_is_named_with_the_remedy(site, monkeypatch, settings, prologue, says):
    """At the start, by its name, before any work is given to the others; nothing stays on them."""
    bare = site.folder / "bare-python"
    bare.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S -I "$@"\n')
    bare.chmod(0o755)
    monkeypatch.setenv("CORPUSDIFF_SSH", site.hosts.ssh)
    file = site.hosts.file(site.folder / "hosts", "workers=1", of={1: settings.format(bare=bare)})
    cluster = HostsCluster(str(file), ClusterOptions(prologue=(prologue,) if prologue else ()), print)
    with pytest.raises(UsageError, match=rf"host {site.hosts[1].name}: .*({says})"):
        cluster.open()
    cluster.close(kill=True)


@on_hosts
@pytest.mark.faults_short
def test_hosts_that_cannot_be_used_are_a_usage_error(site, monkeypatch, tmp_path):
    """No SSH, no way there, a key that is not taken, a host key that is not known, an address that is not ours."""

    def said(file, **options):
        cluster = HostsCluster(str(file), ClusterOptions(**options), print)
        with pytest.raises(UsageError) as found:
            cluster.open()
        cluster.close(kill=True)
        return str(found.value)

    file = site.hosts.file(tmp_path / "hosts", "workers=1")
    folder = Path(shlex.split(site.hosts.ssh)[-1]).parent
    here = site.hosts.here
    monkeypatch.setenv("CORPUSDIFF_SSH", "/nowhere/ssh")
    assert "install OpenSSH's client" in said(file, listen=here)
    assert "install OpenSSH's client" in said(file)
    config = (folder / "ssh_config").read_text()
    (tmp_path / "no_key").write_text(config.replace(f"{folder}/key", "/dev/null"))
    monkeypatch.setenv("CORPUSDIFF_SSH", f"ssh -F {tmp_path / 'no_key'}")
    assert f"host {site.hosts[0].name} does not let us in" in said(file)
    (tmp_path / "unknown").write_text(config.replace("known_hosts", "other_hosts"))
    monkeypatch.setenv("CORPUSDIFF_SSH", f"ssh -F {tmp_path / 'unknown'}")
    assert f"`ssh {site.hosts[0].name} true` must work" in said(file)
    monkeypatch.setenv("CORPUSDIFF_SSH", f"{site.hosts.ssh} -o ConnectTimeout=2")
    assert "--listen ADDRESS" in said(file, listen="192.0.2.77")
    for host in site.hosts.each:
        host.link.cut()
    assert f"host {site.hosts[2].name} cannot be reached" in said(file)


@on_hosts
@pytest.mark.faults
def test_workers_that_do_not_find_the_driver_are_a_usage_error(site, monkeypatch):
    """A driver that listens where the hosts do not reach it says what to change."""
    monkeypatch.setenv("CORPUSDIFF_SSH", site.hosts.ssh)
    monkeypatch.setattr("corpusdiff.cluster.hosts._WORKER_S", 5.0)
    cluster = HostsCluster(str(site.hosts.file(site.folder / "hosts", "workers=1")), ClusterOptions(listen="lo"), print)
    with pytest.raises(CorpusdiffError, match="--listen ADDRESS"):
        cluster.open()
    cluster.close(kill=True)
