"""A real Slurm of several nodes on this machine: its daemons, key, socket and state in a temporary folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from fault_runs import Process, kill, process_table, wait_for

#: What a test with it needs of the machine; it must be the superuser's.
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")

#: Where Debian has the daemons, which are on no user's PATH.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))

#: How long daemons may take to end, in seconds.
_END_S = 10.0

_CONF = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
# a job that is requeued waits until the old credentials are void: two minutes, unless told otherwise
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=1
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=10
SlurmdTimeout=10
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdSpoolDir={folder}/slurmd-%n
{nodes}
PartitionName=short Nodes=ALL Default=YES MaxTime=UNLIMITED DefaultTime=60
"""


class SlurmHere:
    """Daemons that run, and what commands and jobs need to find them.

    Parameters
    ----------
    folder : for all that they write
    n_nodes : nodes of two cores, ``n1``, ``n2`` and so on, in one partition ``short``
    """

    def __init__(self, folder: Path, n_nodes: int) -> None:
        self.folder = folder
        self.nodes = [f"n{i + 1}" for i in range(n_nodes)]
        self.env = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all daemons, and wait until every node is idle."""
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        host = socket.gethostname().partition(".")[0]
        ports = _free_ports(1 + len(self.nodes))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=65536"
            for node, port in zip(self.nodes, ports[1:], strict=True)
        )
        conf = _CONF.format(host=host, port=ports[0], folder=self.folder, nodes=nodes)
        (self.folder / "slurm.conf").write_text(conf)
        (self.folder / "cgroup.conf").write_text("CgroupAutomount=no\nCgroupPlugin=cgroup/v1\n")
        own = [f"--{name}={self.folder}/munge.{name.partition('-')[0]}" for name in ("socket", "pid-file", "seed-file")]
        self._launch("munged", "--foreground", "--force", f"--key-file={key}", *own, "--num-threads=2")
        wait_for((self.folder / "munge.socket").exists, "munged")
        self._launch("slurmctld", "-D", "-i")
        for node in self.nodes:
            self.start_node(node)
        wait_for(self.is_idle, "idle nodes")

    def is_idle(self) -> bool:
        """Whether every node is there, and none has a job. All daemons must run."""
        for name, daemon in self._daemons.items():
            assert daemon.poll() is None, (name, (self.folder / f"{name}.log").read_text())
        return self._said("sinfo", "-h", "-o", "%T").split() == ["idle"]

    def start_node(self, node: str) -> None:
        """Start a node, the first time or after `kill_node`."""
        self._launch("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node: str) -> int:
        """Kill -9 what a node runs, daemon and jobs, as a loss of power does; how many jobs it had."""
        jobs = self.queue("-w", node, "-t", "R")
        daemon = self._daemons[node]
        daemon.kill()
        daemon.wait()
        while victims := [process.pid for process in process_table() if self._is_on(process, node, jobs)]:
            for pid in victims:
                kill(pid)
        return len(jobs)

    def queue(self, *options: str) -> list[str]:
        """Numbers of the jobs in the queue, all or those that the options of squeue say."""
        return self._said("squeue", "-h", "-o", "%i", *options).split()

    def command(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """What a command of Slurm says. Raises CalledProcessError where it fails."""
        environment = os.environ | self.env | dict(env or {})
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def cancel_all(self) -> None:
        """Cancel all jobs, and wait for their end."""
        with suppress(subprocess.CalledProcessError):
            self.command("scancel", "--user=root")
            wait_for(lambda: not self.queue(), f"the end of jobs {self.queue()}")

    def stop(self) -> None:
        """End all daemons and what is left of jobs."""
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(_END_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in self.processes():
            kill(process.pid)

    def processes(self) -> Iterator[Process]:
        """What runs in jobs here, and what runs them."""
        for process in process_table():
            if f"SLURM_CONF={self.env['SLURM_CONF']}" in _environment(process.pid) and process.pid != os.getpid():
                yield process

    def _is_on(self, process: Process, node: str, jobs: list[str]) -> bool:
        environment = _environment(process.pid)
        return f"SLURM_CONF={self.env['SLURM_CONF']}" in environment and (
            f"SLURMD_NODENAME={node}" in environment
            or any(process.line.startswith(f"slurmstepd: [{job}.") for job in jobs)
        )

    def _said(self, *command: str) -> str:
        try:
            return self.command(*command)
        except subprocess.CalledProcessError:
            return ""  # the controller is not up yet, or no longer

    def _launch(self, program: str, *options: str, name: str | None = None) -> None:
        found = shutil.which(program, path=_PATH)
        assert found is not None, f"{program} is not installed"
        with (self.folder / f"{name or program}.log").open("ab") as log:
            self._daemons[name or program] = subprocess.Popen(
                [found, *options],
                env=os.environ | self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _environment(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    return []


def _free_ports(n: int) -> list[int]:
    with_ports = [socket.socket() for _ in range(n)]
    for one in with_ports:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in with_ports]
    for one in with_ports:
        one.close()
    return ports


@contextmanager
def slurm_here(n_nodes: int = 4) -> Iterator[SlurmHere]:
    """A Slurm for the block's duration. Its folder is short, for the socket's sake."""
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        here = SlurmHere(Path(folder), n_nodes)
        try:
            here.start()
            yield here
        finally:
            here.stop()
