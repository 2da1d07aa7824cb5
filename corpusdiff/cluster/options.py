"""What the ways of getting workers may need to know, in one value."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class ClusterOptions:
    """What the user said about the workers; `cluster.connect` refuses what does not concern the cluster in question.

    Parameters
    ----------
    workers : number of worker processes; None for one per core (``local``), one per host's core (``hosts:``)
    spool : folder for the workers' temporary files; None for the system's own
    must_reach : OUT and the source's root, which every worker must see
    tls : folder with ca.pem, cert.pem and key.pem; None for unencrypted links
    listen : address or interface on which a scheduler in this process listens for workers of other hosts
    memory : memory that a worker's job asks for, as ``4GiB``
    wait_workers_s : end the run after so many seconds without any worker; None for the cluster's own patience
    partition, account, walltime : what a Slurm job asks for; walltime as ``HH:MM:SS``
    sbatch : further lines of a Slurm job, as ``--constraint=avx512``
    prologue : shell commands that a Slurm job or a host runs before its worker
    namespace, image : where Kubernetes makes the workers, and of what
    """

    workers: int | None = None
    spool: str | None = None
    must_reach: tuple[str, ...] = ()
    tls: str | None = None
    listen: str | None = None
    memory: str | None = None
    wait_workers_s: float | None = None
    partition: str | None = None
    account: str | None = None
    walltime: str | None = None
    sbatch: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()
    namespace: str | None = None
    image: str | None = None

    def given(self) -> tuple[str, ...]:
        """Names of what the user asked of this cluster in particular, in order.

        >>> ClusterOptions(workers=2, spool="/tmp", partition="long").given()
        ('workers', 'partition')
        """
        for_all = {"spool", "must_reach", "wait_workers_s"}
        return tuple(
            item.name for item in fields(self) if item.name not in for_all and getattr(self, item.name) != item.default
        )


#: The user said nothing.
NO_OPTIONS = ClusterOptions()
