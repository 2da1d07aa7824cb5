"""Commands on jobs."""

from __future__ import annotations

import click

from corpusdiff.cli.group import main
from corpusdiff.cli.options import complete_jobs


@main.command()
@click.argument("name", required=False, shell_complete=complete_jobs)
@click.option("--response", is_flag=False, flag_value="-", metavar="[FILE]",
              help="Measure the frequency response of its chains: a table, or FILE (.html, .csv, .json).")  # fmt: skip
def jobs(name: str | None, response: str | None) -> None:
    """List the ready jobs, or print one to start your own from.

    With --response NAME may be a job file too.

    \b
    Examples:
      corpusdiff jobs
      corpusdiff jobs asr > my.toml
      corpusdiff jobs asr --response asr.html
    """
    if response is not None:
        if name is None:
            raise click.UsageError("--response: of which job? Give its NAME too")
        _respond(name, response)
        return
    from corpusdiff.jobfile import load_job, ready_jobs

    ready = ready_jobs()
    if name is None:
        for job_name in sorted(ready):
            click.echo(f"{job_name:>16}  {load_job(job_name).description}")
    elif name in ready:
        click.echo(ready[name].read_text(), nl=False)
    else:
        raise click.UsageError(f"no ready job {name!r}: there are {', '.join(sorted(ready))}")


def _respond(name: str, path: str) -> None:
    from corpusdiff.jobfile import load_job
    from corpusdiff.response import job_responses, response_lines, write_responses

    job = load_job(name)
    found = job_responses(job)
    if path == "-":
        for line in response_lines(found):
            click.echo(line)
    else:
        write_responses(found, job, path)
