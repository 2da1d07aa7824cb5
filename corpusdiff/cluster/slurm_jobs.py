"""Slurm jobs of one worker each: submitted a few at a time, looked after, replaced when they end."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed.deploy.adaptive import Adaptive
from distributed.deploy.spec import ProcessInterface

from corpusdiff.cluster.settings import signals_blocked
from corpusdiff.runner import Notify

with signals_blocked():  # as it loads, it takes over Ctrl-C, which would end the run without a word
    _on_ctrl_c = signal.getsignal(signal.SIGINT)
    from dask_jobqueue.slurm import SLURMCluster, SLURMJob

    signal.signal(signal.SIGINT, _on_ctrl_c)

__all__ = ["Keeper", "Office", "SLURMCluster", "WorkerJob", "said", "slurm"]

#: So many of Slurm's commands run at once: a login node is everybody's.
_AT_ONCE = 8

#: How long a command of Slurm's may take, in seconds; a busy controller takes its time.
_COMMAND_S = 60.0

#: How often the queue is looked at while workers are missing, in seconds; the pause grows, more where jobs end early.
_FIRST_LOOK_S, _LONGEST_LOOK_S, _LONGEST_PAUSE_S = 5.0, 60.0, 600.0

#: How often to say that there is no worker, in seconds.
_SAY_EVERY_S = 60.0

#: States of a job that is not over.
_ALIVE = {"PENDING", "RUNNING", "CONFIGURING", "SUSPENDED", "RESIZING", "REQUEUED", "REQUEUE_HOLD", "SIGNALING"}


def slurm(*command: str) -> str:
    """What a command of Slurm's prints, out of reach of the terminal's Ctrl-C.

    Raises OSError where it fails, with what it said.
    """
    try:
        found = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_S,
            start_new_session=True, check=True,
        )  # fmt: skip
    except subprocess.CalledProcessError as error:
        raise OSError(f"{command[0]}: {said(error.stderr)}") from error
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{command[0]} did not answer in {_COMMAND_S:.0f} s") from error
    return found.stdout


def said(text: str) -> str:
    """What sbatch complains of, in a line.

    >>> said("sbatch: error: invalid partition specified: nowhere")
    'invalid partition specified: nowhere'
    """
    lines = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in text.splitlines()]
    return "; ".join(line for line in lines if line) or "nothing was said"


@dataclass
class Office:
    """What the jobs of one cluster have in common, and what is known of them.

    Parameters
    ----------
    name : of the jobs
    logs : their log files, as sbatch's ``--output``
    notify : takes notices for the user
    """

    name: str
    logs: str
    notify: Notify
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    closing: bool = False  # nothing more is submitted, and one command cancels all
    n_submitted: int = 0
    n_early: int = 0  # jobs that ended before their worker came
    refusing: bool = False  # Slurm took no more: so it is not asked for the others, until the next look
    refusal: str | None = None
    last_words: str = ""  # of the job that ended early last
    queue: Mapping[str, str] = field(default_factory=dict)  # state and its reason by number of job

    def look(self) -> None:
        """Ask for the jobs that are not over. Raises OSError."""
        lines = slurm("squeue", "--noheader", f"--name={self.name}", "--format=%i|%T|%r").splitlines()
        jobs = [line.strip().split("|", 2) for line in lines if line.count("|") >= 2]
        self.queue = {
            job: state if reason in {"", "None"} else f"{state} ({reason})"
            for job, state, reason in jobs
            if state in _ALIVE
        }

    def states(self) -> str:
        """What the jobs do, for a message."""
        counts = Counter(self.queue.values())
        return ", ".join(f"{n} {state}" for state, n in counts.most_common()) or "no jobs in the queue"

    def remember_end(self, job_id: str) -> None:
        """Note the last line in the log of a job that ended before its worker came."""
        self.n_early += 1
        log = Path(self.logs.replace("%j", job_id))
        try:
            lines = log.read_text(errors="replace").split("\n")[-50:]
        except OSError as error:
            self.last_words = f"job {job_id}, without a log ({error})"
            return
        last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
        self.last_words = f"job {job_id}, whose log {log} ends with: {last[:300].rstrip('.')}"


class WorkerJob(SLURMJob):
    """A job with one worker. One that Slurm refuses stays without a number until `Keeper` replaces it."""

    def __init__(
        self, scheduler: str | None = None, name: str | None = None, *, office: Office, **options: Any
    ) -> None:
        security = options.pop("security", None)
        if security is not None:  # dask-jobqueue would pass the paths on without quotes
            files = security.get_tls_config_for_role("worker")
            tls = [part for key in ("ca_file", "cert", "key") for part in _flag(key, files[key])]
            options["worker_extra_args"] = [*options["worker_extra_args"], *tls]
        super().__init__(scheduler, name, **options)  # type: ignore[no-untyped-call]
        self._office = office
        self.joined = False

    async def start(self) -> None:
        """Submit it."""
        office = self._office
        async with office.slots:
            if not (office.closing or office.refusing):
                try:
                    await super().start()  # type: ignore[no-untyped-call]
                    office.n_submitted += 1
                except (RuntimeError, ValueError, OSError) as error:
                    office.refusing, office.refusal = True, _refusal(error)
        await ProcessInterface.start(self)

    async def close(self) -> None:
        """Cancel it, if it is not over."""
        if not self._office.closing:
            async with self._office.slots:
                await super().close()  # type: ignore[no-untyped-call]
        await ProcessInterface.close(self)


def _flag(key: str, path: str) -> tuple[str, str]:
    return f"--tls-{key.replace('_', '-')}", shlex.quote(path)


def _refusal(error: Exception) -> str:
    """What Slurm said, out of dask-jobqueue's message."""
    _, found, stderr = str(error).partition("stderr:\n")
    return said(stderr if found else str(error))


class Keeper(Adaptive):
    """Keeps the number of jobs. Dask replaces those whose worker went; this one, those whose worker never came.

    Parameters
    ----------
    cluster, options : as of `Adaptive`
    office : what is known of the jobs
    """

    def __init__(self, cluster: Any, *, office: Office, **options: Any) -> None:
        self._office = office
        self._pause_s = _FIRST_LOOK_S
        self._next_look = time.monotonic() + _FIRST_LOOK_S
        self._said = time.monotonic()
        super().__init__(cluster, **options)

    async def target(self) -> int:
        """Always the same."""
        return int(self.minimum)

    async def adapt(self) -> None:
        """Called every second or so: look after the jobs, then let Dask submit what is missing."""
        missing = self._missing()
        if missing and time.monotonic() >= self._next_look:
            self._next_look = float("inf")
            try:
                await self._look_after(missing)
            finally:
                self._next_look = time.monotonic() + self._pause_s
        await super().adapt()

    def _missing(self) -> dict[Any, WorkerJob]:
        """Jobs whose worker never came, by the worker's name."""
        cluster: Any = self.cluster  # a SpecCluster
        there = {worker.name for worker in cluster.scheduler.workers.values()}
        if there:
            self._said = time.monotonic()
        missing = {}
        for name, job in cluster.workers.items():
            if job.joined:
                continue
            if name in there:
                job.joined = True
                self._pause_s = _FIRST_LOOK_S
            else:
                missing[name] = job
        return missing

    async def _look_after(self, missing: Mapping[Any, WorkerJob]) -> None:
        office = self._office
        cluster: Any = self.cluster
        numbers = {name: job.job_id for name, job in missing.items()}
        try:
            await asyncio.to_thread(office.look)
        except OSError as error:
            office.notify(f"the jobs' states are not known: {error}")
            return
        over = [name for name, number in numbers.items() if number not in office.queue and not missing[name].joined]
        early = [number for name in over if (number := numbers[name])]
        for number in early:
            office.remember_end(number)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S if over else _LONGEST_LOOK_S)
        if early:
            office.notify(f"{len(early)} jobs ended before their worker came, the last: {office.last_words}")
        if len(over) > len(early) and office.n_submitted:
            office.notify(f"Slurm took {len(over) - len(early)} jobs less than wanted: {office.refusal}. Asking again")
        for name in over:
            job = cluster.workers.pop(name, None)
            cluster.worker_spec.pop(name, None)  # another will have another name
            if job is not None:
                await ProcessInterface.close(job)
        office.refusing = False
        self._say_states()

    def _say_states(self) -> None:
        now = time.monotonic()
        if now - self._said >= _SAY_EVERY_S:
            self._said = now
            self._office.notify(f"no workers; Slurm has of our jobs: {self._office.states()}")
