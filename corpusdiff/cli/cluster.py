"""Commands on this machine and on clusters: doctor, certificates."""

from __future__ import annotations

import json
import sys

import click

from corpusdiff.cli.group import main
from corpusdiff.cli.options import ANYWHERE, as_json


@main.command()
@click.argument("out", required=False, type=ANYWHERE)
@as_json
def doctor(out: str | None, *, as_json: bool) -> None:
    """Look at this machine, and at OUT where it is given: what is there, what is missing, how to get it.

    Exits 1 where something is in trouble. What is only absent is needed for some things alone.

    \b
    Examples:
      corpusdiff doctor
      corpusdiff doctor s3://bucket/corpus
    """
    from corpusdiff.doctor import examine

    found = list(examine(out))
    for finding in found:
        if as_json:
            click.echo(json.dumps(finding.to_dict()))
            continue
        remedy = f": {finding.remedy}" if finding.remedy else ""
        click.echo(f"{finding.state:>8}  {finding.what:<17}  {finding.found}{remedy}")
    sys.exit(1 if any(finding.state == "trouble" for finding in found) else 0)


@main.command()
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--host", "hosts", multiple=True, metavar="NAME", help="Name or address that a certificate holds for.")
def certificates(folder: str, hosts: tuple[str, ...]) -> None:
    """Make the certificates by which driver, scheduler and workers trust each other, in FOLDER, for --tls.

    Whoever has FOLDER can send work to the workers: keep it as you keep a private SSH key.

    \b
    Examples:
      corpusdiff certificates ~/corpusdiff-tls
      corpusdiff run recordings/ corpus/ --cluster slurm --workers 64 --tls ~/corpusdiff-tls
    """
    from corpusdiff.cluster.tls import make_certificates

    make_certificates(folder, hosts)
    click.echo(f"ca.pem, cert.pem and key.pem are in {folder}: copy it to every host, readable by you alone")
