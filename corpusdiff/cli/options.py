"""What several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def job_by_default(default: str) -> Callable[[F], F]:
    """`--job` with that default, and `--set`."""

    def add(command: F) -> F:
        job = click.option(
            "--job", default=default, show_default=True, metavar="NAME|FILE", help="Ready job or job file."
        )
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
