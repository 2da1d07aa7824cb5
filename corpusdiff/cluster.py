"""From ``--cluster SPEC`` to a runner: this machine's cores, a scheduler that is there, or no Dask at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from corpusdiff.errors import UsageError
from corpusdiff.runner import Notify, Runner, SerialRunner, ShardFunction, log_notice

if TYPE_CHECKING:
    from corpusdiff.cluster_existing import ExistingCluster
    from corpusdiff.cluster_local import OwnCluster


@contextmanager
def connect(
    spec: str,
    run_shard: ShardFunction,
    *,
    workers: int | None = None,
    spool: str | None = None,
    must_reach: Sequence[str] = (),
    notify: Notify = log_notice,
) -> Iterator[Runner]:
    """A runner for the block's duration.

    Parameters
    ----------
    spec : ``local``, ``none`` (serial, without Dask) or ``tcp://HOST:PORT``
    run_shard : what runs one shard; importable on the workers
    workers : worker processes of ``local``; None for one per core
    spool : folder for the workers' temporary files; None for the system's own
    must_reach : paths that every worker of ``tcp://`` must see
    notify : takes notices for the user

    Raises UsageError for another spec, a scheduler that does not answer, workers that are not fit.

    >>> with connect("slurm", print):
    ...     pass
    Traceback (most recent call last):
    corpusdiff.errors.UsageError: --cluster slurm: expected local, none (serial) or a scheduler's tcp://HOST:PORT
    """
    if spec == "none":
        if workers is not None:
            raise UsageError("--cluster none works in this process alone: leave --workers out")
        yield SerialRunner(run_shard, notify=notify)
    elif spec == "local":
        from corpusdiff.cluster_local import OwnCluster
        from corpusdiff.cluster_settings import settings

        with settings(), _runner(OwnCluster(workers, spool, notify), run_shard, notify) as runner:
            yield runner
    elif spec.startswith("tcp://"):
        from corpusdiff.cluster_existing import ExistingCluster

        if workers is not None:
            raise UsageError(f"--workers is for --cluster local: {spec} has the workers that it has")
        with _runner(ExistingCluster(spec, must_reach, notify), run_shard, notify) as runner:
            yield runner
    else:
        raise UsageError(f"--cluster {spec}: expected local, none (serial) or a scheduler's tcp://HOST:PORT")


@contextmanager
def _runner(link: OwnCluster | ExistingCluster, run_shard: ShardFunction, notify: Notify) -> Iterator[Runner]:
    from corpusdiff.runner_dask import DaskRunner

    n_in_flight = 0
    try:
        runner = DaskRunner(run_shard, link, notify=notify, wait_workers_s=link.wait_workers_s)
        try:
            yield runner
        finally:
            n_in_flight = runner.n_in_flight
    finally:
        link.close(kill=n_in_flight > 0)
