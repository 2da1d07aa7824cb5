"""What several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from corpusdiff.cluster.options import ClusterOptions
from corpusdiff.manifests import FORMATS, Reading

#: A folder, file, glob or URL that the shell completes as it does files; what it is, is looked at later.
ANYWHERE = click.Path(readable=False)

F = TypeVar("F", bound=Callable[..., Any])


def complete_jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of ready jobs for the shell, and files where none begins so."""
    del ctx, param
    from corpusdiff.jobfile import ready_jobs

    found = [CompletionItem(name) for name in ready_jobs() if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def job_by_default(default: str) -> Callable[[F], F]:
    """`--job` with that default, and `--set`."""

    def add(command: F) -> F:
        job = click.option(
            "--job", default=default, show_default=True, metavar="NAME|FILE", shell_complete=complete_jobs,
            help="Ready job (`corpusdiff jobs` lists them) or job file.",
        )  # fmt: skip
        sets = click.option(
            "--set",
            "sets",
            multiple=True,
            metavar="KEY=VALUE",
            help="Change one value of the job, e.g. source.sr=8000.",
        )
        return job(sets(command))

    return add


job_options = job_by_default("asr")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")

quiet = click.option("--quiet", "-q", is_flag=True, help="Say nothing but errors.")

#: Rows of a corpus by the language that rules of a job are written in too.
where = click.option(
    "--where",
    metavar="EXPR",
    help="Only rows for which this holds, e.g. 'snr_db < 10 and status == \"ok\"': `corpusdiff expressions` says more.",
)


def cluster_options(command: F) -> F:
    """`--cluster` and what its kinds take; the command gets ``cluster``, and the rest as one `ClusterOptions`."""

    @wraps(command)
    def gathered(*args: Any, **options: Any) -> Any:
        taken = {name: options.pop(name) for name in _OF_CLUSTERS}
        return command(*args, cluster_options=ClusterOptions(spool=options.pop("spool"), **taken), **options)

    wrapped = gathered
    for option in reversed(_CLUSTER_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[return-value]  # a command with more options is one still


def reading_options(command: F) -> F:
    """How to read SOURCE; the command gets one ``reading``."""

    @wraps(command)
    def gathered(*args: Any, allow_roots: Sequence[str], source_format: str | None, **options: Any) -> Any:
        return command(*args, reading=Reading(allow_roots, source_format), **options)

    roots = click.option("--allow-root", "allow_roots", multiple=True, metavar="DIR|URL",
                         help="Folder outside of a manifest's own in which its files may lie.")  # fmt: skip
    form = click.option("--source-format", type=click.Choice(FORMATS), metavar="FORMAT",
                        help=f"What SOURCE is, where name and content do not say: {', '.join(FORMATS)}.")  # fmt: skip
    return roots(form(gathered))  # type: ignore[return-value]  # a command with more options is one still


_CLUSTER_OPTIONS = (
    click.option(
        "--cluster", default="local", show_default=True, metavar="SPEC",
        help="Where to work: local, none (serial), slurm, kubernetes, hosts:FILE, tcp://... or tls://...",
    ),
    click.option("--workers", type=click.IntRange(1), help="Worker processes  [default: the cores of this machine]."),
    click.option("--spool", type=click.Path(exists=True, file_okay=False), help="Folder for temporary files."),
    click.option("--wait-workers", "wait_workers_s", type=click.FloatRange(0), metavar="SECONDS",
                 help="End the run after so long without any worker."),
    click.option("--tls", type=click.Path(exists=True, file_okay=False), metavar="DIR",
                 help="Encrypt the links, with what `corpusdiff certificates` made."),
    click.option("--listen", metavar="ADDRESS", help="Where workers of other hosts find this driver: IP or interface."),
    click.option("--worker-memory", "memory", metavar="SIZE", help="Memory that each worker asks for, e.g. 4GiB."),
    click.option("--partition", help="Slurm: partition of the workers' jobs."),
    click.option("--account", help="Slurm: account of the workers' jobs."),
    click.option("--walltime", metavar="HH:MM:SS", help="Slurm: time limit of the workers' jobs, which are renewed."),
    click.option("--sbatch", multiple=True, metavar="LINE", help="Slurm: a further option, e.g. --constraint=avx512."),
    click.option("--prologue", multiple=True, metavar="COMMAND", help="Slurm, hosts: shell command before a worker."),
    click.option("--namespace", help="Kubernetes: where the workers are made."),
    click.option("--image", help="Kubernetes: container image of the workers."),
)  # fmt: skip

_OF_CLUSTERS = ("workers", "wait_workers_s", "tls", "listen", "memory", "partition", "account", "walltime", "sbatch",
                "prologue", "namespace", "image")  # fmt: skip
