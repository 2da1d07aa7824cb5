"""What the user said about Slurm, as dask-jobqueue and Dask's scheduler take it."""

from __future__ import annotations

import ipaddress
import math
import re
import shlex
import sys
from pathlib import Path
from typing import Any, NamedTuple

import dask
import psutil
from dask.utils import parse_bytes

from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.cluster.settings import ONE_THREAD, SETTINGS
from corpusdiff.errors import UsageError

#: What a job asks for unless told otherwise: memory for a track's own limit and for the worker beside it.
MEMORY, WALLTIME = "5GiB", "01:00:00"

#: Folder of the jobs' logs, under the folder that the command is given in.
LOGS = "corpusdiff-slurm"

#: A worker without a scheduler ends after so long, in seconds: so jobs end whose driver was killed.
_DEATH_S = 60

#: A job whose worker went is replaced after so long, in seconds; its nanny may bring the worker back before.
_LOST_S = 15

#: Our section of dask-jobqueue's settings. Those of the user or the site for Slurm would count where it says nothing.
SECTION = "corpusdiff"
_NOTHING = dict.fromkeys(
    ("account", "env-extra", "extra", "interface", "job-cpu", "job-extra", "log-directory", "queue",
     "shared-temp-directory"),
)  # fmt: skip


class Lifetime(NamedTuple):
    """How long a worker works, in seconds: `span_s`, give or take `stagger_s`."""

    span_s: int
    stagger_s: int

    @classmethod
    def under(cls, walltime_s: int) -> Lifetime:
        """So that workers of one start do not end together, and each ends before Slurm ends its job.

        >>> Lifetime.under(3600), Lifetime.under(60)
        (Lifetime(span_s=3060, stagger_s=360), Lifetime(span_s=39, stagger_s=6))
        """
        reserve_s = min(180, walltime_s // 4)  # to start, and to leave
        stagger_s = min(600, walltime_s // 10)
        return cls(walltime_s - reserve_s - stagger_s, stagger_s)


def seconds(walltime: str) -> int:
    """A time limit as Slurm writes it. Raises UsageError for another, and for less than its smallest, a minute.

    >>> seconds("01:30:00"), seconds("90"), seconds("1-12"), seconds("2-00:30")
    (5400, 5400, 129600, 174600)
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", walltime)
    if found:
        days, *rest = (None if part is None else int(part) for part in found.groups())
        given = [part for part in rest if part is not None]
        units = (3600, 60, 1) if days is not None or len(given) == 3 else (60, 1)
        total = (days or 0) * 86400 + sum(part * unit for part, unit in zip(given, units, strict=False))
        if total >= 60:
            return total
    raise UsageError(f"--walltime {walltime}: expected HH:MM:SS or D-HH:MM:SS, and a minute at least")


def listening(wanted: str | None) -> dict[str, str]:
    """Where the scheduler listens, as it takes it: where Dask finds the way out of this machine, unless told.

    >>> listening("127.0.0.1")
    {'host': '127.0.0.1'}

    Raises UsageError for what is no address and no interface.
    """
    if wanted is None:
        return {}
    interfaces = psutil.net_if_addrs()
    if wanted in interfaces:
        return {"interface": wanted}
    try:
        ipaddress.ip_address(wanted)
    except ValueError:
        raise UsageError(
            f"--listen {wanted}: expected an IP address of this machine or one of its interfaces, "
            f"{', '.join(sorted(interfaces))}"
        ) from None
    return {"host": wanted}


def log_pattern(lines: tuple[str, ...]) -> str:
    """sbatch's ``--output`` for the jobs: the user's, or files in a folder of ours.

    >>> log_pattern(("--qos=low", "--output=/logs/%j.txt"))
    '/logs/%j.txt'
    """
    for line in lines:
        found = re.match(r"(?:--output[= ]|-o ?)(.+)", line)
        if found:
            return found[1].strip("\"'")
    return str(Path.cwd() / LOGS / "%j.log")


def dask_settings(folder: str) -> dict[str, Any]:
    """Dask's settings in the driver beside `SETTINGS`; `folder` is for its temporary files."""
    return {
        f"jobqueue.{SECTION}": _NOTHING,
        "temporary-directory": folder,
        "distributed.dashboard.link": "http://127.0.0.1:{port}/status",  # it listens there only
        "distributed.deploy.lost-worker-timeout": f"{_LOST_S}s",
    }


def job_options(options: ClusterOptions, name: str, logs: str) -> dict[str, Any]:
    """What a job is made of, for dask-jobqueue.

    Parameters
    ----------
    options : what the user said
    name : of all jobs of a cluster
    logs : sbatch's ``--output``

    Raises UsageError for a time or an amount of memory that is none.
    """
    walltime = options.walltime or WALLTIME
    lifetime = Lifetime.under(seconds(walltime))
    memory = _memory(options.memory or MEMORY)
    return {
        "cores": 1,
        "processes": 1,
        "memory": memory,
        "job_mem": f"{math.ceil(parse_bytes(memory) / 2**20)}M",  # dask-jobqueue would round it up to whole GiB
        "queue": options.partition,
        "account": options.account,
        "walltime": walltime,
        "job_name": name,
        # We replace jobs ourselves: one that Slurm starts again would come beside the other.
        "job_extra_directives": ["--no-requeue", f'--output="{logs}"', *options.sbatch],
        "job_script_prologue": _prologue(options),
        "python": f"exec {shlex.quote(sys.executable)}",  # so that the job's signals reach it
        "shebang": "#!/usr/bin/env bash",
        "worker_command": "distributed.cli.dask_worker",
        "death_timeout": _DEATH_S,
        "local_directory": '"${TMPDIR:-/tmp}"' if options.spool is None else shlex.quote(options.spool),
        "worker_extra_args": [
            *("--memory-limit", "0"),  # the later one counts: nothing to spill, and a pause looks like a hang
            *("--lifetime", f"{lifetime.span_s}s"),
            *("--lifetime-stagger", f"{lifetime.stagger_s}s"),
            "--no-dashboard",
        ],
    }


def _prologue(options: ClusterOptions) -> list[str]:
    """What a job does before its worker starts; what we export comes after what the user does."""
    settings = SETTINGS if options.tls is None else SETTINGS | {"distributed.comm.require-encryption": True}
    return [
        "unset ${!DASK_@}",  # settings of the shell that gave the command
        *options.prologue,
        *(f"export {name}={value}" for name, value in ONE_THREAD.items()),
        f"export DASK_INTERNAL_INHERIT_CONFIG={dask.config.serialize(settings)}",
    ]


def _memory(wanted: str) -> str:
    try:
        if parse_bytes(wanted) > 0:
            return wanted
    except ValueError:
        pass
    raise UsageError(f"--worker-memory {wanted}: expected an amount with its unit, as 4GiB")
