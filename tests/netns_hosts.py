"""Hosts made of network namespaces: each has an address, a link to a common bridge, and an SSH server of its own.

They share the machine's file system, as hosts of a cluster share storage. Needs the superuser, iproute2 and OpenSSH.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fault_runs import kill, process_table, wait_for

#: Where OpenSSH's server wants an empty folder of root's.
_PRIVSEP = Path("/run/sshd")

_SSHD = """
Port 22
ListenAddress {address}
HostKey {folder}/host_key
PidFile {folder}/{name}.pid
AuthorizedKeysFile {folder}/key.pub
AuthenticationMethods publickey
PermitRootLogin yes
StrictModes no
UsePAM no
LogLevel VERBOSE
"""

_SSH = """
Host {hosts}
    User root
    IdentityFile {folder}/key
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    GlobalKnownHostsFile none
    StrictHostKeyChecking yes
"""


def ip(*words: str) -> str:
    """Run `ip`; what it prints."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Link:
    """A host's cable: the switch's end of its veth pair, and the switch."""

    port: str
    bridge: str

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told: the carrier stays."""
        ip("link", "set", self.port, "nomaster")

    def mend(self) -> None:
        """Everything passes again."""
        ip("link", "set", self.port, "master", self.bridge)


@dataclass(frozen=True)
class NetnsHost:
    """One host.

    Parameters
    ----------
    name : as SSH knows it
    namespace : as the kernel does
    address : in the hosts' network
    link : its cable
    """

    name: str
    namespace: str
    address: str
    link: Link

    def pids(self) -> list[int]:
        """Processes on this host, its SSH server's own left out."""
        servers = {process.pid for process in process_table() if process.line.startswith(("sshd", "/usr/sbin/sshd"))}
        return [int(pid) for pid in ip("netns", "pids", self.namespace).split() if int(pid) not in servers]

    def workers(self) -> list[int]:
        """Its Dask workers."""
        return self._running("dask worker")

    def loops(self) -> list[int]:
        """What keeps its workers running."""
        return self._running("corpusdiff.cluster.hosts_remote")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on this host, not through SSH."""
        words = ["ip", "netns", "exec", self.namespace, *command]
        return subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    def _running(self, what: str) -> list[int]:
        here = set(self.pids())
        return [process.pid for process in process_table() if process.pid in here and what in process.line]


@dataclass(frozen=True)
class Hosts:
    """The hosts, and how to get there.

    Parameters
    ----------
    each : in order
    here : this machine's address in their network
    ssh : the command that reaches them, for CORPUSDIFF_SSH
    """

    each: tuple[NetnsHost, ...]
    here: str
    ssh: str

    def __getitem__(self, number: int) -> NetnsHost:
        return self.each[number]

    def file(self, path: Path, *settings: str, of: dict[int, str] | None = None) -> Path:
        """A hosts file, `settings` on each line, and what is said of single ones."""
        lines = [" ".join([host.name, *settings, (of or {}).get(i, "")]) for i, host in enumerate(self.each)]
        path.write_text("# made by a test\n" + "\n".join(lines) + "\n")
        return path

    def pids(self) -> list[int]:
        """Processes on all hosts, SSH servers left out."""
        return [pid for host in self.each for pid in host.pids()]


@contextmanager
def netns_hosts(folder: Path, n: int = 3) -> Iterator[Hosts]:
    """`n` hosts on one bridge with this machine, while the block runs; their keys and logs are in `folder`.

    Their network is 198.18.X.0/24 of the range for benchmarks (RFC 2544), X this process's own.
    """
    tag = f"cd{os.getpid() % 0xFFFFF:x}"
    net = f"198.18.{os.getpid() % 256}"
    bridge = f"{tag}b"
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    with ExitStack() as stack:
        ip("link", "add", bridge, "type", "bridge")
        stack.callback(ip, "link", "del", bridge)
        ip("addr", "add", f"{net}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        hosts = tuple(_host(stack, folder, i, tag, net) for i in range(n))
        public = (folder / "host_key.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text("".join(f"{host.address} {' '.join(public)}\n" for host in hosts))
        config = "".join(f"Host {host.name}\n    HostName {host.address}\n" for host in hosts)
        (folder / "ssh_config").write_text(config + _SSH.format(hosts=f"{tag}*", folder=folder))
        made = Hosts(hosts, f"{net}.1", shlex.join(["ssh", "-F", str(folder / "ssh_config")]))
        stack.callback(_end, made)
        for host in hosts:
            _await_ssh(made, host)
        yield made


def _host(stack: ExitStack, folder: Path, i: int, tag: str, net: str) -> NetnsHost:
    namespace, port, inner = f"{tag}n{i}", f"{tag}p{i}", f"{tag}i{i}"
    ip("netns", "add", namespace)
    stack.callback(ip, "netns", "del", namespace)
    ip("link", "add", port, "type", "veth", "peer", "name", inner, "netns", namespace)
    ip("link", "set", port, "master", f"{tag}b", "up")
    address = f"{net}.{10 + i}"
    ip("-n", namespace, "addr", "add", f"{address}/24", "dev", inner)
    for device in ("lo", inner):
        ip("-n", namespace, "link", "set", device, "up")
    name = f"{tag}h{i}"
    config = folder / f"{name}.sshd"
    config.write_text(_SSHD.format(address=address, folder=folder, name=name))
    _PRIVSEP.mkdir(mode=0o755, exist_ok=True)
    server = subprocess.Popen(
        [
            "ip",
            "netns",
            "exec",
            namespace,
            "/usr/sbin/sshd",
            "-D",
            "-f",
            str(config),
            "-E",
            str(folder / f"{name}.log"),
        ],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    stack.callback(_end_server, server, namespace)
    return NetnsHost(name, namespace, address, Link(port, f"{tag}b"))


def _end_server(server: subprocess.Popen[bytes], namespace: str) -> None:
    """End the server and all that runs in its namespace, whatever the test left there."""
    server.kill()
    server.wait()
    while pids := ip("netns", "pids", namespace).split():
        for pid in pids:
            kill(int(pid))
        time.sleep(0.01)


def _end(hosts: Hosts) -> None:
    for host in hosts.each:
        host.link.mend()


def _await_ssh(hosts: Hosts, host: NetnsHost) -> None:
    def answers() -> bool:
        command = [*shlex.split(hosts.ssh), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host.name, "true"]
        return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False).returncode == 0

    wait_for(answers, f"the SSH server of {host.name}")


def main(folder: Path) -> None:
    """Make three hosts and wait for the end of stdin: to try something by hand."""
    with netns_hosts(folder) as hosts:
        print(f"export CORPUSDIFF_SSH={shlex.quote(hosts.ssh)}", *(host.name for host in hosts.each), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
