"""The command that brings a corpus to others."""

from __future__ import annotations

import json
from typing import Any

import click

from corpusdiff.cli.group import main
from corpusdiff.cli.options import ANYWHERE, as_json, cluster_options, quiet, where


@main.command()
@click.argument("out", type=ANYWHERE)
@click.argument("dest", type=ANYWHERE)
@click.option("--to", required=True, metavar="FORMAT",
              help="files, flac, wav, opus, mp3, ogg; nemo, nemo-tarred, lhotse, shar, webdataset, kaldi, audiofolder, "
              "parquet.")  # fmt: skip
@where
@click.option("--output", metavar="NAME", help="Which of the job's outputs  [default: the first].")
@click.option("--per-part", type=click.IntRange(1), default=1000, show_default=True, metavar="N",
              help="Tracks of one tar or one Parquet file.")  # fmt: skip
@cluster_options
@quiet
@as_json
def export(out: str, dest: str, **options: Any) -> None:
    """Write the tracks of the corpus OUT to DEST as others read them.

    Audio that the corpus holds in the form that is asked for is copied, byte for byte. The same command goes on where
    it was interrupted.

    \b
    Examples:
      corpusdiff export corpus/ shar/ --to shar
      corpusdiff export corpus/ s3://bucket/train --to webdataset --where 'duration_s < 20 and snr_db > 5'
      corpusdiff export corpus/ wav/ --to wav
    """
    from corpusdiff.export.export import ExportRequest
    from corpusdiff.export.export import export as run_export

    found = run_export(ExportRequest(out, dest, **options))
    if options["as_json"]:
        click.echo(json.dumps({"event": "end", **found}))
        return
    for name, value in {} if options["quiet"] else found.items():
        click.echo(f"{name:>12}  {value}")
