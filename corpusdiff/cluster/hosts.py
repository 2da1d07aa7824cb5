"""Dask workers on hosts that SSH reaches, with the scheduler in this process."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import dask
import psutil
from distributed import Client, LocalCluster

from corpusdiff.cluster.hosts_file import Host, read_hosts
from corpusdiff.cluster.hosts_links import HostLink, remote_command, ssh_command
from corpusdiff.cluster.hosts_remote import Settings
from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.cluster.settings import ONE_THREAD
from corpusdiff.cluster.tls import security
from corpusdiff.errors import UsageError
from corpusdiff.runner import Notify

#: How often hosts are told that the driver is there, in seconds.
_BEAT_EVERY_S = 5.0

#: How long a host may take to answer at the start, and its first worker to come, in seconds.
_ANSWER_S, _WORKER_S = 120.0, 120.0

#: How long SSH may take to end with its host's workers, in seconds.
_END_S = 15.0

_LOOK_EVERY_S = 0.05


class HostsCluster:
    """Clients of a scheduler of ours with workers on other hosts, which end with the last of them.

    Each host has one SSH connection, made again when it ends, and at its far end a loop that starts an ended worker
    again. Hosts that cannot be reached are tried again for as long as the run lasts.

    Parameters
    ----------
    hosts_file : see `read_hosts`
    options : of which workers, spool, certificates, where to listen and the prologue concern it
    notify : takes notices for the user; called from several threads

    Raises UsageError for a file that is not one of hosts, and for certificates that are not in order.
    """

    #: Hosts and networks come back after minutes: without any worker for so long, somebody must look.
    wait_workers_s = 1800.0

    def __init__(self, hosts_file: str, options: ClusterOptions, notify: Notify) -> None:
        self._hosts = read_hosts(hosts_file)
        self._options = options
        self._notify = notify
        self._security = None if options.tls is None else security(options.tls)
        self._folder = tempfile.mkdtemp(prefix="corpusdiff-dask-", dir=options.spool)
        self._cluster: LocalCluster | None = None
        self._client: Client | None = None
        self._links: list[HostLink] = []
        self._ended = threading.Event()

    def open(self) -> Client:
        """A client of a new scheduler, with the first workers; the one before is ended.

        Raises UsageError where SSH is missing, a host lacks what it needs, no host can be reached, or no worker
        reaches us.
        """
        self._end(kill=True)
        try:
            self._cluster = self._scheduler()
            self._client = Client(self._cluster, set_as_default=False)
            self._connect_hosts(self._cluster.scheduler_address)
            self._await_workers(self._client, self._cluster.scheduler_address)
        except BaseException:
            self._end(kill=True)
            raise
        self._notify(
            f"{self._n_promised()} workers on {sum(link.n_workers > 0 for link in self._links)} hosts, scheduler at "
            f"{self._cluster.scheduler_address}, dashboard at {self._cluster.dashboard_link}"
        )
        return self._client

    def close(self, *, kill: bool) -> None:
        """End the workers; with `kill` at once, whatever they do."""
        self._end(kill=kill)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _scheduler(self) -> LocalCluster:
        host = self._listen()
        with dask.config.set({"temporary-directory": self._folder}):
            try:
                return LocalCluster(
                    n_workers=0,
                    processes=True,
                    host=host,
                    protocol="tcp://" if self._security is None else "tls://",
                    security=self._security,
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,  # as for local workers: what they do comes back as results
                )
            except (RuntimeError, OSError) as error:
                raise UsageError(
                    f"the scheduler cannot listen at {host} ({error.__cause__ or error}): name an address or interface "
                    "of this machine that the hosts reach, --listen ADDRESS"
                ) from error

    def _listen(self) -> str:
        """Address at which the hosts find us."""
        wanted = self._options.listen
        if wanted is None:
            return _address_toward(self._hosts[0])
        interfaces = psutil.net_if_addrs()
        if wanted in interfaces:
            of_ip = [each.address for each in interfaces[wanted] if each.family == socket.AF_INET]
            if not of_ip:
                raise UsageError(f"--listen {wanted}: the interface has no IPv4 address; name an address instead")
            return of_ip[0]
        return wanted

    def _connect_hosts(self, scheduler: str) -> None:
        options = self._options
        self._ended = threading.Event()
        for host in self._hosts:
            settings = Settings(
                scheduler,
                host.workers or options.workers,
                host.name.rpartition("@")[2],
                host.address,
                options.spool,
                options.tls,
                ONE_THREAD,
            )
            self._links.append(HostLink(host, remote_command(host, settings, options.prologue), self._notify))
        threading.Thread(target=self._beat, args=(self._ended, self._links), daemon=True).start()
        until = time.monotonic() + _ANSWER_S
        for link in self._links:
            link.settled.wait(max(0.0, until - time.monotonic()))
        problems = [link.problem for link in self._links if link.hopeless and link.problem]
        if problems:
            raise UsageError("; ".join(dict.fromkeys(problems)))
        away = [link for link in self._links if not link.n_workers]
        reasons = [link.problem or f"host {link.host.name} did not answer in {_ANSWER_S:.0f} s" for link in away]
        if len(away) == len(self._links):
            raise UsageError("; ".join(reasons))
        for reason in reasons:
            self._notify(f"{reason}. Going on without it, and trying again")

    @staticmethod
    def _beat(ended: threading.Event, links: list[HostLink]) -> None:
        while not ended.wait(_BEAT_EVERY_S):
            for link in links:
                link.beat()

    def _await_workers(self, client: Client, scheduler: str) -> None:
        """Wait for all workers that hosts have promised, at most so long; then for one at least there must be."""
        until = time.monotonic() + _WORKER_S
        while (n_workers := len(client.nthreads())) < self._n_promised():
            all_fail = all(link.last_death for link in self._links if link.n_workers)
            if time.monotonic() > until or (all_fail and not n_workers):
                break
            time.sleep(_LOOK_EVERY_S)
        if not n_workers:
            raise UsageError(self._no_workers(scheduler))

    def _n_promised(self) -> int:
        return sum(link.n_workers for link in self._links)

    def _no_workers(self, scheduler: str) -> str:
        for link in self._links:
            if link.last_death:
                return f"no worker started: one of host {link.host.name} ended with {link.last_death}"
        return (
            f"no worker has reached the scheduler at {scheduler} in {_WORKER_S:.0f} s: open this machine's ports to "
            "the hosts, or name the address or interface that they reach, --listen ADDRESS"
        )

    def _end(self, *, kill: bool) -> None:
        self._ended.set()
        for link in self._links:
            if kill:
                link.hang_up()
            else:
                link.quit()
        until = time.monotonic() + _END_S
        for link in self._links:
            link.join(max(0.0, until - time.monotonic()))
        self._links = []
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()
        self._client = self._cluster = None


def _address_toward(host: Host) -> str:
    """Address of this machine on the way to a host. Raises UsageError for a host that has none."""
    name = host.address or _hostname(host)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(name, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError as error:
        raise UsageError(
            f"host {name} cannot be reached ({error}): look at its name, or say at which address or interface of "
            "this machine the hosts find it, --listen ADDRESS"
        ) from error


def _hostname(host: Host) -> str:
    """The name behind a name of SSH's configuration."""
    command = [*ssh_command(), "-G", "--", host.name]
    try:
        found = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or error
        raise UsageError(
            f"`{' '.join(command)}` fails ({said}): install OpenSSH's client, or mend its settings"
        ) from error
    return next(line.removeprefix("hostname ") for line in found.splitlines() if line.startswith("hostname "))
