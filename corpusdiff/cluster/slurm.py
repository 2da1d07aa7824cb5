"""Dask workers as jobs of Slurm, with the scheduler in this process: on a login node, or in a job of its own."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import dask
from distributed import Client

from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.cluster.settings import signals_blocked
from corpusdiff.cluster.slurm_spec import SECTION, dask_settings, job_options, listening, log_pattern
from corpusdiff.errors import CorpusdiffError, UsageError
from corpusdiff.runner import Notify

if TYPE_CHECKING:
    from corpusdiff.cluster.slurm_jobs import Office, SLURMCluster

#: How long idle workers may take to leave at the end, in seconds.
_LEAVE_S = 15.0

_LOOK_EVERY_S = 0.1


class SlurmCluster:
    """Clients of a scheduler of ours and of workers in Slurm jobs, which end with the last of them.

    Each job is one worker of one thread. Jobs that end are replaced: cancelled, lost with their node, at the end of
    their time, which their workers leave before.

    Parameters
    ----------
    options : of which all but those of Kubernetes concern it
    notify : takes notices for the user; called from two threads

    Raises UsageError without Slurm's commands, without dask-jobqueue, for options that are not in order.
    """

    #: Jobs may wait in the queue for days.
    wait_workers_s = float("inf")

    def __init__(self, options: ClusterOptions, notify: Notify) -> None:
        if shutil.which("sbatch") is None:
            raise UsageError(
                "--cluster slurm: there is no sbatch on the PATH: give the command where jobs are submitted, on a "
                "login node of the cluster or in a job"
            )
        _check_installed()
        if options.workers is None:
            raise UsageError("--cluster slurm: say how many jobs of one worker to run, --workers N")
        self._options = options
        self._n_jobs = options.workers
        self._notify = notify
        self._name = f"corpusdiff-{uuid4().hex[:8]}"
        self._logs = log_pattern(options.sbatch)
        self._job = job_options(options, self._name, self._logs)
        self._listen = listening(options.listen)
        self._security = _security(options.tls)
        self._stack = ExitStack()
        self._cluster: SLURMCluster | None = None
        self._client: Client | None = None
        self._office: Office | None = None

    def open(self) -> Client:
        """A client of a new scheduler with its first worker; what was before is ended.

        Raises UsageError where Slurm refuses the jobs; CorpusdiffError where they end before their workers come, or
        none comes in the time that the options give.
        """
        from corpusdiff.cluster.slurm_jobs import Keeper, Office

        self._end(kill=True)
        _make_folder(self._logs)
        office = self._office = Office(self._name, self._logs, self._notify)
        try:
            self._cluster = self._started(office)
            self._client = Client(self._cluster, set_as_default=False)
            self._cluster.adapt(
                Adaptive=Keeper, minimum_jobs=self._n_jobs, maximum_jobs=self._n_jobs, interval="1s", office=office
            )
            self._notify(
                f"{self._n_jobs} Slurm jobs asked for, all named {office.name}; scheduler at "
                f"{self._cluster.scheduler_address}, dashboard at {self._cluster.dashboard_link}"
            )
            self._await_worker(self._client, office)
        except BaseException:
            self._end(kill=True)
            raise
        return self._client

    def close(self, *, kill: bool) -> None:
        """End the workers and cancel their jobs; with `kill` at once, whatever they do."""
        self._end(kill=kill)

    def _started(self, office: Office) -> SLURMCluster:
        """A scheduler, and no job yet. Dask's own settings for Slurm, the user's or the site's, do not count."""
        from corpusdiff.cluster.slurm_jobs import SLURMCluster, WorkerJob

        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="corpusdiff-dask-"))
        self._stack.enter_context(dask.config.set(dask_settings(folder)))
        try:
            with signals_blocked():  # the loop's thread submits and cancels jobs, whatever the terminal sends
                return SLURMCluster(
                    job_cls=WorkerJob,  # type: ignore[arg-type]  # it wants an instance, and takes a class
                    config_name=SECTION,
                    name=office.name,
                    security=self._security,
                    scheduler_options={"dashboard_address": "127.0.0.1:0", **self._listen},
                    silence_logs="critical",  # what goes wrong comes back as a result or is in the jobs' logs
                    office=office,
                    **self._job,
                )
        except (RuntimeError, OSError) as error:
            raise UsageError(
                f"the scheduler cannot listen ({error.__cause__ or error}): name an address or interface of this "
                "machine that the nodes reach, --listen ADDRESS"
            ) from error

    def _await_worker(self, client: Client, office: Office) -> None:
        wait_s = self.wait_workers_s if self._options.wait_workers_s is None else self._options.wait_workers_s
        start = time.monotonic()
        while not client.nthreads():
            if not office.n_submitted and office.refusal is not None:
                raise UsageError(
                    f"--cluster slurm: Slurm refused the job: {office.refusal}. Look at --partition, --account, "
                    "--walltime, --worker-memory and --sbatch"
                )
            if office.n_early >= max(3, self._n_jobs):
                raise CorpusdiffError(
                    f"{office.n_early} Slurm jobs ended before a worker came, the last: {office.last_words}. The nodes "
                    f"must have {sys.executable} and reach {self._address}; --listen says where this driver is "
                    "found, --prologue what a job needs first"
                )
            if time.monotonic() - start >= wait_s:
                raise CorpusdiffError(
                    f"no worker came in {wait_s:.0f} s; Slurm has of our jobs: {_states(office)}. Wait longer with "
                    "--wait-workers, or give the same command again later. If jobs run, the nodes do not reach "
                    f"{self._address}: see --listen"
                )
            time.sleep(_LOOK_EVERY_S)

    @property
    def _address(self) -> str:
        return str(self._cluster.scheduler_address) if self._cluster is not None else ""

    def _end(self, *, kill: bool) -> None:
        """End scheduler and jobs. Workers that are idle leave by themselves, so that their jobs end well."""
        office, self._office = self._office, None
        try:
            if office is not None:
                office.closing = True
                _cancel(office, () if kill else ("--state=PENDING",))
            if self._client is not None:
                self._client.close()
            if self._cluster is not None:
                self._cluster.close()
            if office is not None and not kill:
                _await_end(office)
        finally:
            if office is not None:
                _cancel(office, ())
            self._client = self._cluster = None
            self._stack.close()


def _check_installed() -> None:
    try:
        import corpusdiff.cluster.slurm_jobs  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--cluster slurm needs a package more ({error}): pip install 'corpusdiff[slurm]'") from error


def _make_folder(logs: str) -> None:
    """Of the jobs' logs: where it is missing, Slurm does not start the job."""
    folder = Path(logs).parent
    if "%" in str(folder):
        return  # sbatch's own names, which only it knows
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"no folder for the jobs' logs ({error}): give the command in a folder that this machine and the nodes "
            "share, or name one with --sbatch --output=FOLDER/%j.log"
        ) from error


def _security(folder: str | None) -> Any:
    if folder is None:
        return None
    from corpusdiff.cluster.tls import security

    return security(folder)


def _states(office: Office) -> str:
    try:
        office.look()
    except OSError as error:
        return f"unknown ({error})"
    return office.states()


def _cancel(office: Office, which: tuple[str, ...]) -> None:
    from corpusdiff.cluster.slurm_jobs import slurm

    if not office.n_submitted:
        return
    try:
        slurm("scancel", f"--name={office.name}", *which)
    except OSError as error:
        office.notify(f"{error}. Cancel what is left of our jobs: scancel --name={office.name}")


def _await_end(office: Office) -> None:
    until = time.monotonic() + _LEAVE_S
    while _states(office) and office.queue and time.monotonic() < until:
        time.sleep(5 * _LOOK_EVERY_S)
