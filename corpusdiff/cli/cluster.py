"""Commands on this machine and on clusters: doctor, certificates."""

from __future__ import annotations

import json
import sys

import click
from click.core import ParameterSource

from corpusdiff.cli.group import main
from corpusdiff.cli.options import ANYWHERE, as_json, cluster_options
from corpusdiff.cluster.options import ClusterOptions


@main.command()
@click.argument("out", required=False, type=ANYWHERE)
@cluster_options
@as_json
@click.pass_context
def doctor(
    context: click.Context, out: str | None, cluster: str, cluster_options: ClusterOptions, *, as_json: bool
) -> None:
    """Look at this machine, and at OUT and --cluster where given: what is there, what is missing, how to get it.

    Exits 1 where something is in trouble. What is only absent is needed for some things alone.

    \b
    Examples:
      corpusdiff doctor
      corpusdiff doctor s3://bucket/corpus
      corpusdiff doctor corpus/ --cluster slurm --partition cpu --workers 1
    """
    from corpusdiff.doctor import examine

    given = context.get_parameter_source("cluster") is not ParameterSource.DEFAULT
    found = list(examine(out, cluster if given else None, cluster_options))
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
