"""Commands on jobs."""

from __future__ import annotations

import click

from corpusdiff.cli.group import main


@main.command()
@click.argument("name", required=False)
def jobs(name: str | None) -> None:
    """List the ready jobs, or print one to start your own from.

    \b
    Examples:
      corpusdiff jobs
      corpusdiff jobs asr > my.toml
    """
    from corpusdiff.jobfile import load_job, ready_jobs

    ready = ready_jobs()
    if name is None:
        for job_name in sorted(ready):
            click.echo(f"{job_name:>16}  {load_job(job_name).description}")
    elif name in ready:
        click.echo(ready[name].read_text(), nl=False)
    else:
        raise click.UsageError(f"no ready job {name!r}: there are {', '.join(sorted(ready))}")
