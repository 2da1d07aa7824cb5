"""Commands on clusters: certificates."""

from __future__ import annotations

import click

from corpusdiff.cli.group import main


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
    from corpusdiff.cluster_tls import make_certificates

    make_certificates(folder, hosts)
    click.echo(f"ca.pem, cert.pem and key.pem are in {folder}: copy it to every host, readable by you alone")
