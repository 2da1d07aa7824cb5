"""From ``--cluster SPEC`` to a runner: this machine's cores, a batch system, other hosts, a scheduler that is there,
or no Dask at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

from corpusdiff.cluster.options import NO_OPTIONS, ClusterOptions
from corpusdiff.errors import UsageError
from corpusdiff.runner import Notify, Runner, SerialRunner, ShardFunction, log_notice

#: What each cluster takes of the options; all take a spool folder, what must be reached, and patience.
TAKES: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "local": frozenset({"workers"}),
    "slurm": frozenset(
        {"workers", "tls", "listen", "memory", "partition", "account", "walltime", "sbatch", "prologue"}
    ),
    "kubernetes": frozenset({"workers", "memory", "namespace", "image", "tls"}),
    "hosts": frozenset({"workers", "tls", "listen", "prologue"}),
    "tcp": frozenset(),
    "tls": frozenset({"tls"}),
}

_EXPECTED = (
    "expected local, none (serial), slurm, kubernetes, hosts:FILE, or a scheduler's tcp://HOST:PORT or tls://HOST:PORT"
)


@contextmanager
def connect(
    spec: str,
    run_shard: ShardFunction,
    options: ClusterOptions = NO_OPTIONS,
    notify: Notify = log_notice,
) -> Iterator[Runner]:
    """A runner for the block's duration.

    Parameters
    ----------
    spec : ``local``, ``none`` (serial, without Dask), ``slurm``, ``kubernetes``, ``hosts:FILE``, ``tcp://HOST:PORT`` or
        ``tls://HOST:PORT``
    run_shard : what runs one shard; importable on the workers
    options : what the user said about the workers
    notify : takes notices for the user

    Raises UsageError for another spec, options that are not for it, a scheduler that does not answer, workers that
    are not fit.

    >>> with connect("nomad", print):
    ...     pass
    Traceback (most recent call last):
    corpusdiff.errors.UsageError: --cluster nomad: expected local, none (serial), slurm, kubernetes, hosts:FILE, \
or a scheduler's tcp://HOST:PORT or tls://HOST:PORT
    """
    kind, rest = _parsed(spec)
    _check_options(kind, spec, options)
    if kind == "none":
        yield SerialRunner(run_shard, notify=notify)
        return
    from corpusdiff.cluster.settings import settings

    ours = kind not in {"tcp", "tls"}
    with settings() if ours else nullcontext():
        link = _link(kind, spec, rest, options, notify)
        with _runner(link, run_shard, options, notify, elsewhere=kind != "local") as runner:
            yield runner


def check_spec(spec: str, options: ClusterOptions) -> None:
    """Refuse what `connect` would refuse, before anything is read. Raises UsageError."""
    _check_options(_parsed(spec)[0], spec, options)


def _parsed(spec: str) -> tuple[str, str]:
    """The kind of cluster, and what comes after it."""
    kind, separator, rest = spec.partition(":")
    if kind in {"tcp", "tls"} and rest.startswith("//") and len(rest) > 2:
        return kind, rest
    if kind == "hosts" and rest:
        return kind, rest
    if not separator and kind in TAKES.keys() - {"tcp", "tls", "hosts"}:
        return kind, ""
    raise UsageError(f"--cluster {spec}: {_EXPECTED}")


def _check_options(kind: str, spec: str, options: ClusterOptions) -> None:
    for name in options.given():
        if name not in TAKES[kind]:
            takers = ", ".join(sorted(taker for taker, names in TAKES.items() if name in names))
            raise UsageError(f"--{_FLAGS.get(name, name)} is for --cluster {takers}, not for {spec}: leave it out")
    if kind == "tls" and options.tls is None:
        raise UsageError(f"--cluster {spec}: give the folder of its certificates, --tls DIR")


_FLAGS = {"memory": "worker-memory", "wait_workers_s": "wait-workers"}


class ClusterLink(Protocol):
    """A cluster as `DaskRunner` and `connect` use it."""

    wait_workers_s: float

    def open(self):  # type: ignore[no-untyped-def]  # a distributed.Client, which this module does not load
        """A connected client; ends the one before. Raises CorpusdiffError."""
        ...

    def close(self, *, kill: bool) -> None:
        """End or leave the workers; with `kill` at once, whatever they do."""
        ...


def _link(kind: str, spec: str, rest: str, options: ClusterOptions, notify: Notify) -> ClusterLink:
    if kind == "local":
        from corpusdiff.cluster.local import OwnCluster

        return OwnCluster(options.workers, options.spool, notify)
    if kind == "slurm":
        from corpusdiff.cluster.slurm import SlurmCluster

        return SlurmCluster(options, notify)
    if kind == "kubernetes":
        from corpusdiff.cluster.kubernetes import KubernetesCluster

        return KubernetesCluster(options, notify)
    if kind == "hosts":
        from corpusdiff.cluster.hosts import HostsCluster

        return HostsCluster(rest, options, notify)
    from corpusdiff.cluster.existing import ExistingCluster

    return ExistingCluster(spec, options, notify)


@contextmanager
def _runner(
    link: ClusterLink, run_shard: ShardFunction, options: ClusterOptions, notify: Notify, *, elsewhere: bool
) -> Iterator[Runner]:
    from corpusdiff.cluster.fitness import Fitness
    from corpusdiff.cluster.runner import DaskRunner

    n_in_flight = 0
    try:
        wait_s = link.wait_workers_s if options.wait_workers_s is None else options.wait_workers_s
        fitness = Fitness(options.must_reach) if elsewhere else None
        runner = DaskRunner(run_shard, link, notify=notify, wait_workers_s=wait_s, fitness=fitness)
        try:
            yield runner
        finally:
            n_in_flight = runner.n_in_flight
    finally:
        link.close(kill=n_in_flight > 0)
